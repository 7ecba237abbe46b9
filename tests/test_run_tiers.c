/* Weights that do not fit into memory: the same bits as if they did, after cancelling and rewinding too; failing disks,
 * files that are cut, and memory that is taken away end in an error or are overcome. */
#include "base/error.h"
#include "run/budget.h"
#include "run/kv.h"
#include "run/session.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_CTX = 64, N_PROMPT = 40, SMALL_PIECE = 128 << 10 };

static char folder[] = "/tmp/stile_test_tiers_XXXXXX";
static char path[256];
static struct stile_model *model;

static void must(int code, const struct stile_error *error)
{
    if (code != 0) fail_msg("%s", error->message);
}

static int setup(void **state)
{
    (void)state;
    struct stile_error error = {0};
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    if (stile_shape_write("smollm2-135m", "q4_0", path, NULL, NULL, &error) != 0) return -1;
    return stile_model_open(&model, path, &error);
}

static int teardown(void **state)
{
    (void)state;
    stile_model_close(model);
    unlink(path);
    return rmdir(folder);
}

static int32_t token(size_t i)
{
    return (int32_t)(i * 7919 % 49152);
}

/* ---- sessions ---------------------------------------------------------------------------------- */

static struct stile_session *session_of(uint64_t memory_limit_bytes, const char *place, uint32_t n_threads,
                                        uint32_t n_batch, const volatile int *cancel)
{
    struct stile_session *session;
    struct stile_error error;
    struct stile_session_options options = {.n_ctx = N_CTX,
                                            .n_batch = n_batch,
                                            .n_threads = n_threads,
                                            .cancel = cancel,
                                            .memory_limit_bytes = memory_limit_bytes,
                                            .place = place};
    must(stile_session_create(&session, model, &options, &error), &error);
    return session;
}

/* A prompt in one or many batches, two tokens, back by one, and another. */
static uint64_t work(struct stile_session *session)
{
    int32_t tokens[N_PROMPT];
    struct stile_error error;
    for (size_t i = 0; i < N_PROMPT; i++)
        tokens[i] = token(i);
    must(stile_rewind(session, 0, &error), &error);
    must(stile_eval(session, tokens, N_PROMPT, &error), &error);
    for (size_t i = 0; i < 2; i++)
        must(stile_eval(session, &tokens[i], 1, &error), &error);
    must(stile_rewind(session, N_PROMPT + 1, &error), &error);
    must(stile_eval(session, &tokens[9], 1, &error), &error);
    return stile_logits_hash(session);
}

/* What a session needs beside its weights. */
static uint64_t needed(uint32_t n_threads, uint32_t n_batch)
{
    struct stile_memory memory;
    struct stile_session_options options = {.n_ctx = N_CTX, .n_threads = n_threads, .n_batch = n_batch};
    struct stile_error error;
    must(stile_model_memory(model, &options, &memory, &error), &error);
    return memory.kv_bytes + memory.activations_bytes + memory.other_bytes;
}

static void the_same_bits(void **state)
{
    (void)state;
    static const struct {
        uint32_t n_threads, n_batch;
        uint64_t weights_bytes;
        const char *place;
    } ways[] = {
        {1, 0, 20 << 20, NULL},         {2, 7, 20 << 20, NULL},           {5, 0, 40 << 20, NULL},
        {2, 0, 40 << 20, "*=streamed"}, {2, 0, 200 << 20, "*=resident"},  {3, 16, 200 << 20, "blk.*=streamed"},
        {2, 5, 70 << 20, NULL},         {2, 0, 60 << 20, "*q*=resident"},
    };
    struct stile_session *mapped = session_of(0, NULL, 2, 0, NULL);
    struct stile_tiers tiers;
    uint64_t expected = work(mapped);
    assert_false(stile_session_tiers(mapped, &tiers));
    stile_session_free(mapped);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct stile_session *session = session_of(needed(ways[i].n_threads, ways[i].n_batch) + ways[i].weights_bytes,
                                                   ways[i].place, ways[i].n_threads, ways[i].n_batch, NULL);
        assert_int_equal(work(session), expected);
        if (i == 0) assert_int_equal(work(session), expected);
        assert_true(stile_session_tiers(session, &tiers));
        assert_int_equal(tiers.absent_bytes, 0);
        assert_true(tiers.memory_bytes <= ways[i].weights_bytes);
        uint64_t once = tiers.resident_bytes, always = tiers.streamed_bytes * tiers.n_passes;
        assert_true(tiers.read_bytes >= once + always && tiers.n_passes >= 4);
        /* no more than alignment, and what was read for the next pass */
        assert_true(tiers.read_bytes <= (once + always) * 11 / 10 + tiers.memory_bytes + (1 << 20));
        stile_session_free(session);
    }
}

static void too_little_memory(void **state)
{
    (void)state;
    struct stile_session *session = NULL;
    struct stile_error error;
    struct stile_session_options options = {.n_ctx = N_CTX, .memory_limit_bytes = 1 << 20};
    assert_int_equal(stile_session_create(&session, model, &options, &error), STILE_ERROR_MEMORY);
    assert_non_null(strstr(error.message, "at least"));
    assert_null(session);
    options = (struct stile_session_options){.n_ctx = N_CTX, .place = "blk.0.*=fast"};
    assert_int_equal(stile_session_create(&session, model, &options, &error), STILE_ERROR_ARGUMENT);
    struct stile_model *made;
    must(stile_model_synthesize(&made, "smollm2-135m", "q4_0", &error), &error);
    options = (struct stile_session_options){.n_ctx = N_CTX, .memory_limit_bytes = 60 << 20};
    assert_int_equal(stile_session_create(&session, made, &options, &error), STILE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "file"));
    stile_model_close(made);
}

/* Stopped in the middle of a pass, again and again; then all is as it was. */
static void cancelled(void **state)
{
    (void)state;
    volatile int cancel = 0;
    struct stile_session *session = session_of(needed(2, 0) + (30 << 20), NULL, 2, 0, &cancel);
    struct stile_error error;
    uint64_t expected = work(session);
    for (int i = 0; i < 5; i++) {
        int32_t one = token(3);
        cancel = 1;
        assert_int_equal(stile_eval(session, &one, 1, &error), STILE_ERROR_CANCELLED);
        cancel = 0;
        if (i % 2) must(stile_eval(session, &one, 1, &error), &error);
    }
    assert_int_equal(work(session), expected);
    stile_session_free(session);
}

/* Cut while it is used, and made whole again. */
static void file_cut(void **state)
{
    (void)state;
    char copy[sizeof path + 8], command[2 * sizeof path + 64];
    struct stile_model *whole = model;
    struct stile_error error;
    snprintf(copy, sizeof copy, "%s.copy", path);
    snprintf(command, sizeof command, "cp %s %s", path, copy);
    assert_int_equal(system(command), 0);
    must(stile_model_open(&model, copy, &error), &error);
    struct stile_session *session = session_of(needed(2, 0) + (30 << 20), NULL, 2, 0, NULL);
    work(session);
    int32_t one = token(3);
    assert_int_equal(truncate(copy, 20 << 20), 0);
    /* the first pass may have been read ahead, but then it is seen that the file has changed */
    assert_int_equal(stile_eval(session, &one, 1, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, copy));
    assert_int_equal(stile_eval(session, &one, 1, &error), STILE_ERROR_IO);
    unlink(copy);
    assert_int_equal(stile_eval(session, &one, 1, &error), STILE_ERROR_IO);
    stile_session_free(session);
    stile_model_close(model);
    /* replaced by another file before the session begins */
    assert_int_equal(system(command), 0);
    must(stile_model_open(&model, copy, &error), &error);
    assert_int_equal(unlink(copy), 0);
    assert_int_equal(system(command), 0);
    struct stile_session_options options = {.n_ctx = N_CTX, .place = "*=streamed"};
    assert_int_equal(stile_session_create(&session, model, &options, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, "replaced"));
    stile_model_close(model);
    unlink(copy);
    model = whole;
}

/* ---- disks that fail --------------------------------------------------------------------------- */

/* Of 1000 reads so many fail; some are slow, some short. */
static atomic_int failures_per_1000;
static atomic_uint random_state;

static ssize_t bad_pread(int fd, void *to, size_t size_bytes, off_t offset)
{
    unsigned n = atomic_fetch_add(&random_state, 1) * 2654435761u >> 8;
    if ((int)(n % 1000) < atomic_load(&failures_per_1000)) {
        errno = EIO;
        return -1;
    }
    if (n % 7 == 0) usleep(n % 300);
    if (n % 5 == 0 && size_bytes > READER_ALIGNMENT) size_bytes = READER_ALIGNMENT;
    return pread(fd, to, size_bytes, offset);
}

static atomic_bool hanging;

static ssize_t hung_pread(int fd, void *to, size_t size_bytes, off_t offset)
{
    while (atomic_load(&hanging))
        usleep(1000);
    return pread(fd, to, size_bytes, offset);
}

static volatile int cancel;

/* A backend on tiers, or on mapped weights. */
struct engine {
    struct tiers *tiers;
    struct cpu *cpu;
    struct kv kv;
    float *logits;
};

static void engine_open(struct engine *engine, struct tiers *tiers, int n_threads)
{
    const struct hparams *h = &model->model->hparams;
    struct stile_error error;
    struct cpu_options options = {.kernels = kernel_select(NULL),
                                  .n_threads = n_threads,
                                  .n_batch = 8,
                                  .n_ctx = N_CTX,
                                  .kv_format = FORMAT_F16,
                                  .weights = tiers ? tiers_weights(tiers) : NULL};
    *engine = (struct engine){.tiers = tiers, .logits = calloc(h->n_vocab, sizeof(float))};
    must(kv_create(&engine->kv, h, N_CTX, 8, FORMAT_F16, &error), &error);
    must(cpu_create(&engine->cpu, model->program, &options, &error), &error);
}

static void engine_close(struct engine *engine)
{
    cpu_free(engine->cpu);
    tiers_free(engine->tiers);
    kv_free(&engine->kv);
    free(engine->logits);
}

static int pass(struct engine *engine, uint32_t n_tokens, struct stile_error *error)
{
    int32_t tokens[8];
    for (size_t i = 0; i < n_tokens; i++)
        tokens[i] = token(i);
    struct cpu_batch batch = {
        .tokens = tokens, .n_tokens = n_tokens, .n_selected = 1, .logits = engine->logits, .kv = engine->kv.layers};
    batch.cancel = &cancel;
    int failed = engine->tiers ? tiers_begin_pass(engine->tiers, error) : 0;
    if (failed) return failed;
    failed = cpu_run(engine->cpu, &batch, error);
    return engine->tiers ? tiers_end_pass(engine->tiers, failed, error) : failed;
}

static struct tiers *tiers_of(uint64_t budget_bytes, const char *place, int n_threads,
                              ssize_t (*bad)(int fd, void *to, size_t size_bytes, off_t offset))
{
    struct tiers *tiers;
    struct placement *placement;
    struct stile_error error;
    uint64_t least;
    struct placement_request request = {budget_bytes, place, SMALL_PIECE};
    must(placement_create(&placement, model->program, &request, &least, &error), &error);
    struct tiers_options options = {
        .n_threads = n_threads, .reader = {.way = READER_FASTEST, .patience_ms = 200}, .cancel = &cancel};
    if (bad) {
        options.reader.n_in_flight = 4;
        options.reader.chunk_bytes = 64 << 10;
        options.reader.pread = bad;
    }
    must(tiers_create(&tiers, model->program, placement, &options, &error), &error);
    return tiers;
}

static void disks_that_fail(void **state)
{
    (void)state;
    size_t n_bytes = model->model->hparams.n_vocab * sizeof(float);
    struct stile_error error;
    struct engine mapped;
    engine_open(&mapped, NULL, 1);
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        struct engine engine;
        int n_good = 0, n_bad = 0;
        atomic_store(&failures_per_1000, 1000);
        engine_open(&engine, tiers_of(20 << 20, NULL, n_threads, bad_pread), n_threads);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(pass(&engine, 1, &error), STILE_ERROR_IO);
            assert_non_null(strstr(error.message, path));
            assert_non_null(strstr(error.message, strerror(EIO)));
        }
        for (int i = 0; i < 24; i++) {
            uint32_t n_tokens = i % 3 == 0 ? 8 : 1;
            atomic_store(&failures_per_1000, i < 20 ? i % 4 : 0);
            must(pass(&mapped, n_tokens, &error), &error);
            if (pass(&engine, n_tokens, &error) == 0) {
                assert_memory_equal(engine.logits, mapped.logits, n_bytes);
                n_good++;
            } else {
                n_bad++;
                assert_int_not_equal(i, 23); /* what was read ahead is gone by now: the disk is well again */
            }
        }
        assert_true(n_bad > 0 && n_good > 4);
        engine_close(&engine);
    }
    engine_close(&mapped);
}

/* Memory is given back while running: the rest is streamed, and the bits stay. */
static void memory_is_taken_away(void **state)
{
    (void)state;
    size_t n_bytes = model->model->hparams.n_vocab * sizeof(float);
    struct stile_error error;
    struct engine mapped, engine;
    struct tiers_stats before, after;
    engine_open(&mapped, NULL, 1);
    must(pass(&mapped, 1, &error), &error);
    engine_open(&engine, tiers_of(60 << 20, NULL, 2, NULL), 2);
    tiers_stats(engine.tiers, &before);
    for (int i = 0; i < 6; i++) { /* while loading, too */
        tiers_shrink(engine.tiers, 6 << 20);
        must(pass(&engine, 1, &error), &error);
        assert_memory_equal(engine.logits, mapped.logits, n_bytes);
    }
    tiers_stats(engine.tiers, &after);
    assert_true(after.memory_bytes <= before.memory_bytes - (36 << 20));
    assert_true(after.memory_bytes >= before.memory_bytes - (40 << 20));
    assert_int_equal(before.tier_bytes[TIER_RESIDENT] + before.tier_bytes[TIER_STREAMED],
                     after.tier_bytes[TIER_RESIDENT] + after.tier_bytes[TIER_STREAMED]);
    /* almost nothing is free any more, then there is enough */
    budget_keep(engine.tiers, &(struct machine_memory){.total_bytes = 1u << 30, .available_bytes = 1 << 20}, true);
    must(pass(&engine, 1, &error), &error);
    assert_memory_equal(engine.logits, mapped.logits, n_bytes);
    tiers_stats(engine.tiers, &before);
    assert_true(before.memory_bytes < after.memory_bytes);
    budget_keep(engine.tiers, &(struct machine_memory){.total_bytes = 1u << 30, .available_bytes = 100 << 20}, true);
    tiers_stats(engine.tiers, &after);
    assert_int_equal(before.memory_bytes, after.memory_bytes);
    tiers_shrink(engine.tiers, 1 << 30); /* more than there is */
    must(pass(&engine, 1, &error), &error);
    assert_memory_equal(engine.logits, mapped.logits, n_bytes);
    tiers_stats(engine.tiers, &after);
    assert_int_equal(after.tier_bytes[TIER_RESIDENT], 0);
    engine_close(&engine);
    engine_close(&mapped);
}

/* Others need their memory no more: what was given back is taken again, bit by bit, and not beyond what it was. */
static void memory_is_free_again(void **state)
{
    (void)state;
    const struct machine_memory much = {.total_bytes = 1u << 30, .available_bytes = 130 << 20};
    size_t n_bytes = model->model->hparams.n_vocab * sizeof(float);
    struct stile_error error;
    struct engine mapped, engine;
    struct tiers_stats before, after = {0};
    engine_open(&mapped, NULL, 1);
    must(pass(&mapped, 1, &error), &error);
    engine_open(&engine, tiers_of(60 << 20, NULL, 2, NULL), 2);
    tiers_stats(engine.tiers, &before);
    must(pass(&engine, 1, &error), &error);
    tiers_shrink(engine.tiers, 30 << 20);
    must(pass(&engine, 1, &error), &error);
    tiers_grow(engine.tiers, 1000); /* too little for any piece */
    for (int i = 0; i < 5; i++) {
        uint64_t bytes = after.memory_bytes;
        tiers_stats(engine.tiers, &after);
        if (i == 1 || i == 2) assert_in_range(after.memory_bytes - bytes, 10 << 20, (130 - 80) << 18);
        budget_keep(engine.tiers, &much, false);
        budget_keep(engine.tiers, &much, true);
        for (int k = 0; k < 2; k++) {
            must(pass(&engine, 1, &error), &error);
            assert_memory_equal(engine.logits, mapped.logits, n_bytes);
        }
    }
    tiers_stats(engine.tiers, &after);
    assert_int_equal(after.memory_bytes, before.memory_bytes);
    assert_memory_equal(after.tier_bytes, before.tier_bytes, sizeof before.tier_bytes);
    assert_int_equal(after.absent_bytes, 0);
    uint64_t read_bytes = after.read_bytes;
    must(pass(&engine, 1, &error), &error);
    must(pass(&engine, 1, &error), &error);
    tiers_stats(engine.tiers, &after); /* resident ones are not read any more */
    assert_true(after.read_bytes - read_bytes <= 3 * after.tier_bytes[TIER_STREAMED] * 11 / 10);
    engine_close(&engine);
    engine_close(&mapped);
}

static void *cancel_soon(void *unused)
{
    (void)unused;
    usleep(100000);
    cancel = 1;
    return NULL;
}

/* A pass that waits for a disk that does not answer can be cancelled, and so can the next one; if the disk does answer
 * again, all is well; if not, the tiers are freed all the same. */
static void disks_that_hang(void **state)
{
    (void)state;
    size_t n_bytes = model->model->hparams.n_vocab * sizeof(float);
    struct stile_error error;
    struct engine mapped, engine;
    engine_open(&mapped, NULL, 1);
    must(pass(&mapped, 1, &error), &error);
    engine_open(&engine, tiers_of(20 << 20, NULL, 3, hung_pread), 3);
    for (int i = 0; i < 2; i++) {
        pthread_t other;
        must(pass(&engine, 1, &error), &error);
        assert_memory_equal(engine.logits, mapped.logits, n_bytes);
        atomic_store(&hanging, true);
        assert_int_equal(pthread_create(&other, NULL, cancel_soon, NULL), 0);
        while (pass(&engine, 1, &error) == 0) { /* what was read ahead may be enough for a pass */
        }
        assert_int_equal(error.code, STILE_ERROR_CANCELLED);
        pthread_join(other, NULL);
        assert_int_equal(pass(&engine, 1, &error), STILE_ERROR_CANCELLED);
        tiers_shrink(engine.tiers, 1 << 20);
        if (i > 0) break;
        atomic_store(&hanging, false);
        cancel = 0;
    }
    engine_close(&engine);
    cancel = 0;
    engine_close(&mapped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bits),
        cmocka_unit_test(too_little_memory),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(file_cut),
        cmocka_unit_test(disks_that_fail),
        cmocka_unit_test(memory_is_taken_away),
        cmocka_unit_test(memory_is_free_again),
        cmocka_unit_test(disks_that_hang), /* the last: its threads hang on */
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
