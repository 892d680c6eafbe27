/* `hearth bench`: measures what a model costs on this machine and keeps it for `hearth serve`.
 *
 * Links the engine directly: a hub in between would disturb what is measured. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/str.h"
#include "cmd/cmd_int.h"
#include "cmd/hubfile.h"
#include "cmd/interrupt.h"
#include "hub/hub.h"
#include "provider/local.h"
#include "provider/tuning.h"
#include "sched/measure.h"

enum { TEXT_MAX = 1 << 20, PARALLEL_DEFAULT = 16, SECONDS_DEFAULT = 60, SECONDS_MAX = 3600 };

static const struct cmd_option options[] = {
    {"seconds", 0, "N", CMD_NO_KEY, NULL, "About how long to measure (60).", COMPLETE_NONE},
    {"parallel", 0, "N", CMD_NO_KEY, NULL, "Most sequences to try together (16).", COMPLETE_NONE},
    {"threads", 't', "N", CMD_NO_KEY, NULL, "Measure with this many threads only.", COMPLETE_NONE},
    {"no-save", 0, NULL, CMD_NO_KEY, NULL, "Print the result without keeping it.", COMPLETE_NONE},
    {"json", 0, NULL, CMD_NO_KEY, NULL, "Print JSON.", COMPLETE_NONE},
};

struct bench {
    const struct cmd_call *call;
    struct engine *engine;
    struct models *models;
    struct model_info info;
    struct engine_model *model;
    struct measure_params params;
    struct measure result;
    char data_dir[FS_PATH_MAX];
};

/* ---- measuring ------------------------------------------------------------------------------ */

static bool on_progress(void *ctx, const char *what)
{
    (void)ctx;
    if (isatty(STDERR_FILENO)) fprintf(stderr, "measuring: %s ...\n", what);
    return !interrupt_seen();
}

static bool on_load(float fraction, void *ctx)
{
    (void)fraction;
    (void)ctx;
    return !interrupt_seen();
}

static enum err read_options(struct bench *b, struct error *error)
{
    const struct cmd_args *args = b->call->args;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t seconds = SECONDS_DEFAULT, parallel = PARALLEL_DEFAULT, threads = 0;
    enum err e = cmd_opt_int(args, "seconds", 1, SECONDS_MAX, &seconds, error);
    if (!e) e = cmd_opt_int(args, "parallel", 1, SHAPE_WIDTH_MAX, &parallel, error);
    if (!e) e = cmd_opt_int(args, "threads", 1, 1024, &threads, error);
    b->params = (struct measure_params){.n_threads = (int32_t)threads,
                                        .max_threads = cores > 1 ? (int32_t)cores : 1,
                                        .n_parallel = (int32_t)parallel,
                                        .budget_ms = seconds * 1000,
                                        .on_progress = on_progress};
    return e;
}

static void warn_of_hub(const struct bench *b)
{
    char url[256];
    if (hubfile_read(b->data_dir, url, sizeof url))
        fprintf(stderr,
                "hearth: a hub is running (%s); while it works the numbers here come out too "
                "slow\n",
                url);
}

static enum err open_model(struct bench *b, struct error *error)
{
    const struct config *c = b->call->config;
    const char *lib_dir = config_str(c, CONFIG_LIB_DIR);
    const char *name = b->call->args->n_rest ? b->call->args->rest[0] : "";
    enum err e = models_open(config_str(c, CONFIG_MODELS_DIR), config_str(c, CONFIG_BUILTIN_DIR),
                             &b->models, error);
    if (!e) {
        e = *name ? models_resolve(b->models, name, true, &b->info, error)
                  : local_resolve_name(b->models, config_str(c, CONFIG_DEFAULT_MODEL), "", &b->info,
                                       error);
    }
    if (!e) e = engine_open_llama(*lib_dir ? lib_dir : NULL, &b->engine, error);
    if (e) return e;
    struct engine_model_params params = {.path = b->info.path,
                                         .n_gpu_layers = (int32_t)config_int(c, CONFIG_GPU_LAYERS),
                                         .use_mmap = true,
                                         .on_progress = on_load};
    e = engine_model_load(b->engine, &params, &b->model, error);
    b->params.model = b->model;
    return e;
}

static void close_model(struct bench *b)
{
    engine_model_free(b->model);
    if (b->engine) engine_close(b->engine);
    models_free(b->models);
}

/* ---- printing ------------------------------------------------------------------------------- */

static void put_text(const struct bench *b, struct buf *out)
{
    const struct measure *m = &b->result;
    const struct shape_profile *p = &m->profile;
    char machine[256];
    tuning_machine(b->engine, machine, sizeof machine);
    buf_printf(out, "%s on %s\n\nthreads    one stream   prompt\n", b->info.id, machine);
    for (size_t i = 0; i < m->n_threads; i++)
        buf_printf(out, "%7d%c  %6.1f tok/s  %6.0f tok/s\n", m->threads[i].n,
                   m->threads[i].n == p->n_threads ? '*' : ' ', 1e3 / m->threads[i].decode_ms,
                   m->threads[i].prefill_tokens_per_s);
    buf_puts(out, "\ntogether   a token for each   all of them\n");
    for (size_t i = 0; i < m->n_widths; i++)
        buf_printf(out, "%8d  %12.1f ms  %8.1f tok/s\n", m->widths[i].n, m->widths[i].ms,
                   m->widths[i].n * 1e3 / m->widths[i].ms);
    buf_puts(out, "\nubatch     prompt\n");
    for (size_t i = 0; i < m->n_ubatches; i++)
        buf_printf(out, "%6d%c  %6.0f tok/s\n", m->ubatches[i].n,
                   m->ubatches[i].n == p->n_ubatch ? '*' : ' ', m->ubatches[i].tokens_per_s);
    char bytes[32];
    buf_printf(out, "\nKV type    one stream   prompt       a token   (behind %d tokens)\n",
               m->kv_depth);
    for (size_t i = 0; i < m->n_kvs; i++)
        buf_printf(out, "%6s%c  %7.1f tok/s  %6.0f tok/s  %9s\n", engine_kv_name(m->kvs[i].type),
                   m->kvs[i].type == p->kv_type ? '*' : ' ', 1e3 / m->kvs[i].decode_ms,
                   m->kvs[i].prefill_tokens_per_s,
                   str_from_bytes(bytes, sizeof bytes, (uint64_t)m->kvs[i].bytes_per_token));
    buf_printf(out,
               "\na piece of a prompt: %.1f ms + %.2f ms a token, + %.3f ms a token for each 1,000 "
               "before it\n%d sequences together reach nearly all the speed there is\n",
               (double)p->prefill_fixed_ms, (double)p->prefill_token_ms,
               (double)p->prefill_context_ms, p->n_parallel);
}

static void put_json_kvs(const struct measure *m, struct jw *w)
{
    jw_kint(w, "kv_depth", m->kv_depth);
    jw_key(w, "kv_types");
    jw_arr(w);
    for (size_t i = 0; i < m->n_kvs; i++) {
        jw_obj(w);
        jw_kstr(w, "kv_type", engine_kv_name(m->kvs[i].type));
        jw_kdouble(w, "bytes_per_token", m->kvs[i].bytes_per_token);
        jw_kdouble(w, "decode_ms", m->kvs[i].decode_ms);
        jw_kdouble(w, "prefill_tokens_per_second", m->kvs[i].prefill_tokens_per_s);
        jw_obj_end(w);
    }
    jw_arr_end(w);
}

static void put_json(const struct bench *b, struct buf *out)
{
    const struct measure *m = &b->result;
    char machine[256];
    struct jw w;
    tuning_machine(b->engine, machine, sizeof machine);
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "model", b->info.id);
    jw_kstr(&w, "machine", machine);
    jw_key(&w, "threads");
    jw_arr(&w);
    for (size_t i = 0; i < m->n_threads; i++) {
        jw_obj(&w);
        jw_kint(&w, "threads", m->threads[i].n);
        jw_kdouble(&w, "decode_ms", m->threads[i].decode_ms);
        jw_kdouble(&w, "prefill_tokens_per_second", m->threads[i].prefill_tokens_per_s);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_key(&w, "together");
    jw_arr(&w);
    for (size_t i = 0; i < m->n_widths; i++) {
        jw_obj(&w);
        jw_kint(&w, "sequences", m->widths[i].n);
        jw_kdouble(&w, "decode_ms", m->widths[i].ms);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    jw_key(&w, "ubatches");
    jw_arr(&w);
    for (size_t i = 0; i < m->n_ubatches; i++) {
        jw_obj(&w);
        jw_kint(&w, "ubatch", m->ubatches[i].n);
        jw_kdouble(&w, "prefill_tokens_per_second", m->ubatches[i].tokens_per_s);
        jw_obj_end(&w);
    }
    jw_arr_end(&w);
    put_json_kvs(m, &w);
    jw_key(&w, "best");
    jw_obj(&w);
    jw_kint(&w, "threads", m->profile.n_threads);
    jw_kint(&w, "ubatch", m->profile.n_ubatch);
    jw_kint(&w, "parallel", m->profile.n_parallel);
    jw_kstr(&w, "kv_type", engine_kv_name(m->profile.kv_type));
    jw_obj_end(&w);
    jw_obj_end(&w);
    buf_putc(out, '\n');
}

static int print_result(const struct bench *b)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    if (cmd_flag(b->call->args, "json"))
        put_json(b, &text);
    else
        put_text(b, &text);
    int status = cmd_print(&text);
    buf_free(&text);
    return status;
}

/* ---- the verb ------------------------------------------------------------------------------- */

static int run_bench(const struct cmd_call *call)
{
    struct bench b = {.call = call};
    struct error error;
    if (read_options(&b, &error)) return cmd_usage_error(call->verb, &error);
    interrupt_install_flag();
    enum err e = cmd_data_dir(call->config, b.data_dir, sizeof b.data_dir, &error);
    if (!e) {
        warn_of_hub(&b);
        e = open_model(&b, &error);
    }
    if (!e) e = measure_model(&b.params, &b.result, &error);
    int status = e ? cmd_fail(&error) : print_result(&b);
    if (!e && !cmd_flag(call->args, "no-save")) {
        e = tuning_store(b.data_dir, b.engine, &b.info, &b.result.profile, &error);
        if (e)
            status = cmd_fail(&error);
        else if (!cmd_flag(call->args, "json"))
            printf("kept in %s/tuning.json; `hearth serve` uses it from its next start on\n",
                   b.data_dir);
    }
    close_model(&b);
    return status;
}

const struct cmd_verb verb_bench = {
    .name = "bench",
    .args = "[MODEL]",
    .summary = "Measure a model on this machine, so that the hub knows its costs",
    .details =
        "Finds the best number of threads, what a step costs for one, two, ... sequences "
        "together, how fast prompts are read in pieces of several sizes, and what KV cells of "
        "each type take, in time and memory. `hearth serve` uses what was found: settings "
        "(HEARTH_ENGINE_THREADS, HEARTH_UBATCH, HEARTH_PARALLEL) still go first, and the type "
        "counts only with HEARTH_KV_TYPE=auto, because it changes answers. Without it the hub "
        "learns the same from its first requests. Best with nothing "
        "else running.\n\n"
        "  hearth bench\n"
        "  hearth bench qwen2.5:3b --seconds 30",
    .words = "",
    .complete = COMPLETE_MODEL,
    .max_args = 1,
    .flags = CMD_CONFIG | CMD_QUIET,
    .options = options,
    .n_options = sizeof(options) / sizeof(*options),
    .run = run_bench,
};
