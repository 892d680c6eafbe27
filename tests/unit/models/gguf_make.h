/* Makes GGUF files for tests, right ones and wrong ones. Header only: each test is one program. */
#ifndef HEARTH_TESTS_GGUF_MAKE_H
#define HEARTH_TESTS_GGUF_MAKE_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"

enum {
    MAKE_U8,
    MAKE_I8,
    MAKE_U16,
    MAKE_I16,
    MAKE_U32,
    MAKE_I32,
    MAKE_F32,
    MAKE_BOOL,
    MAKE_STRING,
    MAKE_ARRAY,
    MAKE_U64
};

struct make {
    struct buf b;
    uint64_t n_kv, n_tensors, data_bytes;
    uint64_t alignment;
};

__attribute__((unused)) static void make_raw(struct make *m, const void *data, size_t len)
{
    buf_append(&m->b, data, len);
}

__attribute__((unused)) static void make_u32(struct make *m, uint32_t v)
{
    for (int i = 0; i < 4; i++) buf_putc(&m->b, (char)(v >> (8 * i)));
}

__attribute__((unused)) static void make_u64(struct make *m, uint64_t v)
{
    for (int i = 0; i < 8; i++) buf_putc(&m->b, (char)(v >> (8 * i)));
}

__attribute__((unused)) static void make_str(struct make *m, const char *s)
{
    make_u64(m, strlen(s));
    make_raw(m, s, strlen(s));
}

__attribute__((unused)) static void make_begin(struct make *m)
{
    *m = (struct make){.alignment = 32};
    buf_init(&m->b, 256 << 20);
    make_raw(m, "GGUF", 4);
    make_u32(m, 3);
    make_u64(m, 0); /* counts: make_finish */
    make_u64(m, 0);
}

__attribute__((unused)) static void make_key(struct make *m, const char *key, uint32_t type)
{
    make_str(m, key);
    make_u32(m, type);
    m->n_kv++;
}

__attribute__((unused)) static void make_text(struct make *m, const char *key, const char *value)
{
    make_key(m, key, MAKE_STRING);
    make_str(m, value);
}

__attribute__((unused)) static void make_number(struct make *m, const char *key, uint32_t value)
{
    make_key(m, key, MAKE_U32);
    make_u32(m, value);
}

__attribute__((unused)) static void make_texts(struct make *m, const char *key, uint64_t n)
{
    make_key(m, key, MAKE_ARRAY);
    make_u32(m, MAKE_STRING);
    make_u64(m, n);
    for (uint64_t i = 0; i < n; i++) {
        char text[32];
        snprintf(text, sizeof(text), "t%llu", (unsigned long long)i);
        make_str(m, text);
    }
}

/* An f32 tensor of n elements, behind the ones before. */
__attribute__((unused)) static void make_tensor(struct make *m, const char *name, uint64_t n)
{
    make_str(m, name);
    make_u32(m, 1);
    make_u64(m, n);
    make_u32(m, 0);
    make_u64(m, m->data_bytes);
    m->data_bytes += (4 * n + m->alignment - 1) / m->alignment * m->alignment;
    m->n_tensors++;
}

/* Counts into the header, padding and `data_bytes` zeros (or other bytes) behind it. */
__attribute__((unused)) static void make_finish(struct make *m, char fill)
{
    for (int i = 0; i < 8; i++) {
        m->b.data[8 + i] = (char)(m->n_tensors >> (8 * i));
        m->b.data[16 + i] = (char)(m->n_kv >> (8 * i));
    }
    while (m->n_tensors && m->b.len % m->alignment) buf_putc(&m->b, 0);
    for (uint64_t i = 0; i < m->data_bytes; i++) buf_putc(&m->b, fill);
}

/* The keys of a small chat model. */
__attribute__((unused)) static void make_chat_keys(struct make *m, const char *name)
{
    make_text(m, "general.architecture", "llama");
    make_text(m, "general.name", name);
    make_number(m, "general.file_type", 15);
    make_number(m, "llama.context_length", 4096);
    make_number(m, "llama.embedding_length", 64);
    make_number(m, "llama.block_count", 2);
    make_texts(m, "tokenizer.ggml.tokens", 10);
    make_text(m, "tokenizer.chat_template", "{% if tools %}{{ messages }}{% endif %}");
}

__attribute__((unused)) static void make_chat(struct make *m, const char *name, uint64_t elements)
{
    make_begin(m);
    make_chat_keys(m, name);
    make_tensor(m, "token_embd.weight", elements);
    make_finish(m, 'x');
}

/* Part `no` (from 0) of a model in `count` files. */
__attribute__((unused)) static void make_part(struct make *m, uint32_t no, uint32_t count)
{
    char name[32];
    make_begin(m);
    if (no == 0) make_chat_keys(m, "split");
    make_number(m, "split.no", no);
    make_number(m, "split.count", count);
    snprintf(name, sizeof(name), "blk.%u.weight", no);
    make_tensor(m, name, 100);
    make_finish(m, 'x');
}

__attribute__((unused)) static void make_write(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, data, len) != (ssize_t)len) abort();
    close(fd);
}

__attribute__((unused)) static void make_save(struct make *m, const char *path)
{
    make_write(path, m->b.data, m->b.len);
    buf_free(&m->b);
}

/* A temporary folder, and the end of it with all that is in it. */
__attribute__((unused)) static void make_dir(char dst[64])
{
    snprintf(dst, 64, "/tmp/hearth-test-XXXXXX");
    if (!mkdtemp(dst)) abort();
}

__attribute__((unused)) static void make_dir_remove(const char *dir)
{
    char command[128];
    snprintf(command, sizeof(command), "chmod -R u+w %s; rm -rf %s", dir, dir);
    if (system(command) != 0) abort();
}

#endif
