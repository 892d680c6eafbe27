/* XXH64 against its own vectors (github.com/Cyan4973/xxHash: cli/xsum_sanity_check.c, seeds 0 and
 * PRIME32, over the generator of that file), and that every flipped bit shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"

enum { N = 2367 };
static const uint64_t PRIME32 = 2654435761u, PRIME64 = 11400714785074694797u;

static void fill(unsigned char *bytes, size_t n)
{
    uint64_t gen = PRIME32;
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)(gen >> 56);
        gen *= PRIME64;
    }
}

static void test_vectors(void **state)
{
    (void)state;
    unsigned char bytes[N];
    fill(bytes, sizeof bytes);
    static const struct {
        size_t len;
        uint64_t seed, hash;
    } vectors[] = {
        {0, 0, 0xEF46DB3751D8E999u},
        {0, 2654435761u, 0xAC75FDA2929B17EFu},
        {1, 0, 0xE934A84ADB052768u},
        {1, 2654435761u, 0x5014607643A9B4C3u},
        {4, 0, 0x9136A0DCA57457EEu},
        {14, 0, 0x8282DCC4994E35C8u},
        {14, 2654435761u, 0xC3BD6BF63DEB6DF0u},
        {222, 0, 0xB641AE8CB691C174u},
        {222, 2654435761u, 0x20CB8AB7AE10C14Au},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        assert_int_equal(hash64(bytes, vectors[i].len, vectors[i].seed), vectors[i].hash);
    assert_int_equal(hash64("a", 1, 0), 0xD24EC4F1A98C6E5Bu);
    assert_int_equal(hash64("abc", 3, 0), 0x44BC2CF5AD770999u);
}

static void test_every_bit_counts(void **state)
{
    (void)state;
    unsigned char bytes[203];
    fill(bytes, sizeof bytes);
    uint64_t whole = hash64(bytes, sizeof bytes, 7);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_int_not_equal(hash64(bytes, sizeof bytes, 7), whole);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    for (size_t len = 0; len < sizeof bytes; len++)
        assert_int_not_equal(hash64(bytes, len, 7), whole);
}

static void write_file(const char *path, size_t n, char last)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 1; i < n; i++) assert_int_equal(fputc('x', f), 'x');
    fputc(last, f);
    assert_int_equal(fclose(f), 0);
}

static void test_files(void **state)
{
    (void)state;
    char path[] = "/tmp/hearth-test-hash-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    uint64_t a, b;
    struct error error;
    write_file(path, 1000, 'x');
    assert_int_equal(hash_file(path, &a, &error), OK);
    assert_int_equal(hash_file(path, &b, &error), OK);
    assert_int_equal(a, b);
    write_file(path, 1000, 'y');
    assert_int_equal(hash_file(path, &b, &error), OK);
    assert_int_not_equal(a, b);
    write_file(path, 1001, 'x');
    assert_int_equal(hash_file(path, &b, &error), OK);
    assert_int_not_equal(a, b);
    unlink(path);
    assert_int_equal(hash_file(path, &b, &error), ERR_NOT_FOUND);
    assert_int_equal(hash_file("/tmp", &b, &error), ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_bit_counts),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
