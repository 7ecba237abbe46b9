/* bench_start.c - how long it takes to begin: opening a model, and from nothing to the first token. */
#include "base/clock.h"
#include "lab/bench_private.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_PROMPT = 5 };

/* Drops all files with weights. */
static bool drop_folder(DIR *folder, const char *path)
{
    static const char suffix[] = ".safetensors";
    bool dropped = true;
    for (const struct dirent *entry; (entry = readdir(folder));) {
        char file[PATH_MAX];
        size_t n = strlen(entry->d_name), n_suffix = sizeof suffix - 1;
        if (n < n_suffix || strcmp(entry->d_name + n - n_suffix, suffix) != 0) continue;
        dropped &=
            (size_t)snprintf(file, sizeof file, "%s/%s", path, entry->d_name) < sizeof file && host_drop_file(file);
    }
    closedir(folder);
    return dropped;
}

/* Drops the file, all files of a sharded set ("x-00001-of-00003.gguf"), or those of a folder from the page cache. */
static bool drop_model(const char *name)
{
    char path[PATH_MAX];
    unsigned n_shards;
    if (stile_model_find(name, path, sizeof path, NULL) != STILE_OK) return false;
    DIR *folder = opendir(path);
    if (folder) return drop_folder(folder, path);
    static const char shape[] = "00001-of-00003.gguf";
    size_t n = strlen(path);
    char *tail = path + (n < sizeof shape - 1 ? n : n - (sizeof shape - 1));
    if (sscanf(tail, "%*5u-of-%5u.gguf", &n_shards) != 1) return host_drop_file(path);
    bool dropped = true;
    for (unsigned i = 1; i <= n_shards; i++) {
        char number[16];
        snprintf(number, sizeof number, "%05u", i);
        memcpy(tail, number, 5);
        dropped &= host_drop_file(path);
    }
    return dropped;
}

/* Opens the model; with tokens to evaluate goes on to the first logits. */
static int repeat_start(struct bench *bench, struct bench_subject *subject, struct bench_result *test, uint32_t i,
                        double *time_s, struct stile_error *error)
{
    const struct bench_plan *plan = bench->plan;
    const char *name = plan->models[subject - bench->subjects].path;
    const struct stile_session_options options = {.n_ctx = bench->n_ctx,
                                                  .n_batch = test->batch,
                                                  .n_threads = test->threads,
                                                  .kv_format = plan->kv_format,
                                                  .isa = plan->isa,
                                                  .memory_limit_bytes = plan->memory_limit_bytes,
                                                  .place = plan->place,
                                                  .cancel = plan->cancel};
    struct stile_model *model = NULL;
    struct stile_session *session = NULL;
    if (plan->cold && !drop_model(name)) test->not_cold = true;
    uint64_t begin_ns = clock_ns();
    int failed = stile_model_open(&model, name, error);
    if (!failed && test->n_tokens) {
        bench_fill_tokens(bench->tokens, test->n_tokens, stile_model_info(model)->n_vocab, i);
        failed = stile_session_create(&session, model, &options, error);
        if (!failed) failed = stile_eval(session, bench->tokens, test->n_tokens, error);
    }
    *time_s = (double)(clock_ns() - begin_ns) / 1e9;
    stile_session_free(session);
    stile_model_close(model);
    return failed;
}

static int run_start(struct bench *bench, const char *name, uint32_t n_tokens, struct stile_error *error)
{
    const struct bench_plan *plan = bench->plan;
    struct bench_result test = {.metric = BENCH_SECONDS,
                                .n_tokens = n_tokens,
                                .threads = plan->threads.values[0],
                                .batch = plan->batches.values[0],
                                .n_ctx = bench->n_ctx};
    double time_s;
    size_t n_samples = 0;
    int failed = 0;
    snprintf(test.test, sizeof test.test, "%s%s", name, plan->cold ? "-cold" : "");
    /* The first run of each counts where the file is dropped anyway; otherwise it brings the file in. */
    for (size_t m = 0; m < plan->n_models && !failed && !plan->cold; m++)
        failed = repeat_start(bench, &bench->subjects[m], &test, 0, &time_s, error);
    if (!failed) failed = bench_repeat_all(bench, &test, repeat_start, &n_samples, error);
    /* Only now, since a file in use would stay in the page cache. */
    int closed = 0;
    for (size_t m = 0; m < plan->n_models && !closed && n_samples > 0; m++)
        closed = stile_model_open(&bench->subjects[m].model, plan->models[m].path, failed ? NULL : error);
    if (!closed) bench_report(bench, &test, n_samples);
    for (size_t m = 0; m < plan->n_models; m++) {
        stile_model_close(bench->subjects[m].model);
        bench->subjects[m].model = NULL;
    }
    return failed ? failed : closed;
}

int bench_start(struct bench *bench, struct stile_error *error)
{
    int failed = run_start(bench, "load", 0, error);
    return failed ? failed : run_start(bench, "first-token", FIRST_PROMPT, error);
}
