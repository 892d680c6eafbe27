/* Fuzz target: grammars and JSON schemas from clients. The first byte says which of the two the
 * rest is. Holds: what the guards let through, libllama compiles or refuses without crashing,
 * looping or taking the process down; every refusal says what and where. Uses the built-in model.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 4096 };

static struct engine_model *model(void)
{
    static struct engine_model *m;
    if (m) return m;
    static struct engine *e; /* reachable, so that it is no leak */
    struct error error;
    struct engine_model_params params = {.path = HEARTH_SOURCE_DIR "/models/hearth-tiny.gguf",
                                         .use_mmap = true};
    enum err err = engine_open_llama(HEARTH_BINARY_DIR "/lib/hearth", &e, &error);
    if (!err) err = engine_model_load(e, &params, &m, &error);
    ht_assert(err == OK);
    return m;
}

/* The sampler parses the grammar; a prompt whose grammar was accepted must give one. */
static void sample_with(const struct engine_prompt *p)
{
    struct sampling s = {.top_p = 1, .repeat_penalty = 1, .seed = 1};
    struct engine_sampler *sampler;
    struct error error;
    enum err err = engine_sampler_new(model(), &s, p, &sampler, &error);
    ht_assert(err == OK || error.msg[0]);
    if (!err) engine_sampler_free(sampler);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_MAX || memchr(data, '\0', size)) return 0;
    char text[INPUT_MAX];
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    struct gen_request req = {.kind = GEN_RAW, .prompt = "x", .n = 1, .max_tokens = 1};
    if (data[0] == 's') {
        req.format = FORMAT_JSON_SCHEMA;
        req.schema = text;
    } else {
        req.format = FORMAT_GRAMMAR;
        req.grammar = text;
    }
    struct engine_prompt *p;
    struct error error;
    enum err err = engine_prompt_new(model(), &req, 100, &p, &error);
    ht_assert(err == OK || (error.code == err && error.msg[0] && error.param[0]));
    if (err) return 0;
    sample_with(p);
    engine_prompt_free(p);
    return 0;
}
