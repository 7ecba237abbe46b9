/* The cache of experts: the right bytes whatever there is room for, favourites that stay, failing disks. */
#include "base/threads.h"
#include "model/synthetic.h"
#include "run/expert_cache.h"
#include "run/loaded.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { EXPERTS = 16, USED = 4, LAYERS = 4, THREADS = 3, SMALL_PIECE = 16 << 10 };

/* Two sizes of pieces: some down projections are Q6_K. */
static const struct shape shape = {
    .id = "tiny",
    .name = "Tiny",
    .arch = "qwen3moe",
    .n_layers = LAYERS,
    .d_model = 256,
    .d_ff = 256,
    .n_heads = 4,
    .n_kv_heads = 2,
    .head_dim = 64,
    .n_vocab = 512,
    .n_experts = EXPERTS,
    .n_experts_used = USED,
    .d_ff_expert = 256,
    .pattern = "",
    .n_ctx = 4096,
    .notes = "",
    .source = "",
};

static char path[] = "/tmp/stile-expert-cache-XXXXXX";
static struct stile_model *model;

static int setup(void **state)
{
    (void)state;
    struct synthetic *synthetic;
    struct stile_error error = {0};
    int file = mkstemp(path);
    if (file < 0) return -1;
    close(file);
    if (synthetic_create(&synthetic, &shape, "q4_k_m", 1, &error) || synthetic_write(synthetic, path, NULL, &error) ||
        stile_model_open(&model, path, &error))
        fail_msg("%s", error.message);
    synthetic_free(synthetic);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stile_model_close(model);
    return unlink(path);
}

/* A cache, and what it needs. */
struct bench {
    struct placement *placement;
    struct reader *reader;
    struct shard_source source;
    struct expert_use *use;
    struct expert_cache *cache;
    int n_threads;
};

static size_t piece_bytes = SMALL_PIECE;
static volatile int cancel;

/* All experts' bytes in memory would be 1. */
static void start(struct bench *bench, double room, int n_threads, const struct reader_options *options,
                  const char *statistics)
{
    struct stile_error error = {0};
    uint64_t least;
    struct placement_request request = {64 << 20, "*_exps.weight=cached", piece_bytes};
    *bench = (struct bench){.n_threads = n_threads};
    if (placement_create(&bench->placement, model->program, &request, &least, &error)) fail_msg("%s", error.message);
    uint64_t all_bytes = 0;
    for (size_t i = 0; i < bench->placement->n_pieces; i++)
        if (bench->placement->pieces[i].tier == TIER_CACHED)
            all_bytes += reader_buffer_bytes(bench->placement->pieces[i].size_bytes);
    bench->placement->cache_bytes = (uint64_t)((double)all_bytes * room);
    if (reader_create(&bench->reader, options, &error)) fail_msg("%s", error.message);
    bench->source = (struct shard_source){bench->reader, reader_add_file(bench->reader, path, &error)};
    assert_int_equal(expert_use_create(&bench->use, LAYERS, EXPERTS, USED, &error), 0);
    if (statistics) assert_true(expert_use_load(bench->use, statistics));
    if (expert_cache_create(&bench->cache, model->program, bench->placement, &bench->source, n_threads, &cancel,
                            bench->use, &error))
        fail_msg("%s", error.message);
}

static void end(struct bench *bench)
{
    expert_cache_stop(bench->cache);
    expert_cache_free(bench->cache, !reader_stop(bench->reader));
    reader_free(bench->reader);
    expert_use_free(bench->use);
    placement_free(bench->placement);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* What all threads do, in the way of the backend: a layer's pieces in order, those that are there first. */
struct pass {
    struct bench *bench;
    struct threads *threads;
    uint32_t begins[LAYERS][EXPERTS + 1];
    const uint32_t *expected; /* (n_expected) experts, of each next layer */
    size_t n_expected;
    atomic_int n_wrong, n_missing;
};

static bool use_piece(struct pass *pass, size_t i, bool wait)
{
    const struct piece *piece = &pass->bench->placement->pieces[i];
    const struct weight *weight = model->program->ops[piece->op].weight;
    const void *rows = expert_cache_acquire(pass->bench->cache, i, wait);
    if (!rows) return false;
    const char *expected =
        (const char *)weight->data + piece->expert * weight->expert_bytes + piece->row_begin * weight->row_bytes;
    if (memcmp(rows, expected, piece->size_bytes) != 0) atomic_fetch_add(&pass->n_wrong, 1);
    expert_cache_release(pass->bench->cache, i);
    return true;
}

static void run_op(struct pass *pass, size_t i_op, const uint32_t *begins)
{
    const struct placement *placement = pass->bench->placement;
    size_t late[4096], n_late = 0, n = placement_expert_pieces(placement, model->program, i_op);
    for (size_t i = placement->first[i_op]; i < placement->first[i_op + 1]; i++) {
        size_t e = (i - placement->first[i_op]) / n;
        if (begins[e + 1] > begins[e] && !use_piece(pass, i, false)) late[n_late++] = i;
    }
    for (size_t i = 0; i < n_late; i++) {
        if (use_piece(pass, late[i], true)) continue;
        atomic_fetch_add(&pass->n_missing, 1);
        return;
    }
}

static void run_thread(void *argument, int i_thread, int n_threads)
{
    struct pass *pass = argument;
    (void)n_threads;
    for (size_t i = 0; i < model->program->n_ops; i++) {
        const struct op *op = &model->program->ops[i];
        if (op->kind == OP_ROUTE && i_thread == 0) {
            expert_cache_want(pass->bench->cache, op->layer, pass->begins[op->layer]);
            if (op->layer + 1 < LAYERS)
                expert_cache_expect(pass->bench->cache, op->layer + 1, pass->expected, pass->n_expected);
        }
        if (op->kind == OP_EXPERTS) run_op(pass, i, pass->begins[op->layer]);
        if (op->kind != OP_COMBINE) continue;
        threads_barrier(pass->threads);
        bool broken = atomic_load(&pass->n_missing) > 0;
        threads_barrier(pass->threads);
        if (broken) return;
    }
}

/* Every expert with this chance, but at least one. */
static void choose_randomly(struct pass *pass, uint32_t *random, uint32_t percent)
{
    for (int layer = 0; layer < LAYERS; layer++) {
        uint32_t *begins = pass->begins[layer], forced = next_random(random) % EXPERTS;
        for (uint32_t e = 0; e < EXPERTS; e++)
            begins[e + 1] = begins[e] + (next_random(random) % 100 < percent || e == forced ? USED : 0);
    }
}

static void run(struct pass *pass)
{
    expert_cache_begin(pass->bench->cache);
    threads_run(pass->threads, run_thread, pass);
}

static void start_pass(struct pass *pass, struct bench *bench)
{
    *pass = (struct pass){.bench = bench};
    assert_int_equal(threads_create(&pass->threads, bench->n_threads, NULL), 0);
}

static void check_bytes(double room, int n_threads, uint32_t percent)
{
    const struct reader_options options = {.way = READER_CACHED, .chunk_bytes = 8 << 10};
    struct bench bench;
    struct pass pass;
    uint32_t random = 7;
    start(&bench, room, n_threads, &options, NULL);
    start_pass(&pass, &bench);
    for (int i = 0; i < 12; i++) {
        static const uint32_t guesses[] = {3, 9, 3, 1, 12, 15, 0, 7, 8};
        choose_randomly(&pass, &random, percent);
        pass.expected = guesses;
        pass.n_expected = (size_t)i % 10;
        run(&pass);
        assert_int_equal(pass.n_missing, 0);
        assert_int_equal(pass.n_wrong, 0);
    }
    threads_free(pass.threads);
    end(&bench);
}

/* Whatever is guessed; from a frame or two for each size of pieces, so that batches go in portions, to room for all. */
static void any_room_gives_the_same_bytes(void **state)
{
    (void)state;
    static const double rooms[] = {0.01, 0.02, 0.05, 0.2, 0.5, 1.0};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        for (int n_threads = 1; n_threads <= 4; n_threads += THREADS)
            for (uint32_t percent = 25; percent <= 100; percent += 75)
                check_bytes(rooms[i], n_threads, percent);
}

static double hit_rate(const struct bench *bench)
{
    uint64_t wanted = 0, hit = 0;
    for (int layer = 0; layer < LAYERS; layer++) {
        wanted += bench->use->layers[layer].wanted_bytes;
        hit += bench->use->layers[layer].hit_bytes;
        bench->use->layers[layer] = (struct expert_layer_use){0};
    }
    return (double)hit / (double)wanted;
}

static void choose(struct pass *pass, const uint32_t experts[USED])
{
    for (int layer = 0; layer < LAYERS; layer++)
        for (uint32_t e = 0; e < EXPERTS; e++) {
            bool chosen = false;
            for (int i = 0; i < USED; i++)
                chosen |= experts[i] == e;
            pass->begins[layer][e + 1] = pass->begins[layer][e] + chosen;
        }
}

/* With room for half of them, four favourites outlast strangers that come and go, where the last recently used would have
 * gone. */
static void favourites_stay(void **state)
{
    (void)state;
    const struct reader_options options = {.way = READER_CACHED};
    struct bench bench;
    struct pass pass;
    start(&bench, 0.5, 2, &options, NULL);
    start_pass(&pass, &bench);
    choose(&pass, (const uint32_t[]){2, 5, 8, 11});
    for (int i = 0; i < 10; i++)
        run(&pass);
    assert_true(hit_rate(&bench) == 0.9);
    for (uint32_t i = 0; i < 3; i++) {
        choose(&pass, (const uint32_t[]){3 * i, 3 * i + 1, 12 + i, 13 + i});
        run(&pass);
    }
    hit_rate(&bench);
    choose(&pass, (const uint32_t[]){2, 5, 8, 11});
    run(&pass);
    assert_true(hit_rate(&bench) == 1);
    assert_int_equal(pass.n_wrong, 0);
    /* and what is given back is what is worth least */
    uint64_t before = expert_cache_resize(bench.cache, UINT64_MAX);
    uint64_t after = expert_cache_resize(bench.cache, before * 6 / 10);
    assert_true(after <= before * 6 / 10 && after > before / 2);
    run(&pass);
    assert_true(hit_rate(&bench) == 1);
    /* what is taken again is of use: the favourites, and others that were there once before */
    assert_int_equal(expert_cache_resize(bench.cache, UINT64_MAX), before);
    for (int i = 0; i < 2; i++) {
        choose(&pass, (const uint32_t[]){0, 6, 9, 12});
        hit_rate(&bench);
        run(&pass);
    }
    assert_true(hit_rate(&bench) == 1);
    choose(&pass, (const uint32_t[]){2, 5, 8, 11});
    run(&pass);
    assert_true(hit_rate(&bench) == 1);
    assert_int_equal(pass.n_wrong, 0);
    threads_free(pass.threads);
    end(&bench);
}

/* The favourites of an earlier session are there before anybody asks. */
static void starts_warm(void **state)
{
    (void)state;
    const struct reader_options options = {.way = READER_CACHED};
    char statistics[] = "/tmp/stile-expert-statistics-XXXXXX";
    struct bench bench;
    struct pass pass;
    struct stile_error error = {0};
    close(mkstemp(statistics));
    start(&bench, 0.5, 2, &options, NULL);
    start_pass(&pass, &bench);
    choose(&pass, (const uint32_t[]){9, 10, 12, 15});
    run(&pass);
    choose(&pass, (const uint32_t[]){1, 7, 12, 15});
    for (int i = 0; i < 3; i++)
        run(&pass);
    assert_int_equal(expert_use_store(bench.use, statistics, "tiny", &error), 0);
    threads_free(pass.threads);
    end(&bench);
    start(&bench, 0.25, 2, &options, statistics);
    start_pass(&pass, &bench);
    assert_int_equal(expert_cache_warm(bench.cache, &error), 0);
    for (int i = 0; i < 1000 && expert_cache_is_warming(bench.cache); i++)
        usleep(10000);
    assert_false(expert_cache_is_warming(bench.cache));
    choose(&pass, (const uint32_t[]){1, 7, 12, 15});
    run(&pass);
    assert_true(hit_rate(&bench) > 0.98); /* the room is rounded down to whole frames */
    assert_int_equal(pass.n_wrong, 0);
    threads_free(pass.threads);
    end(&bench);
    unlink(statistics);
}

/* Waits until nothing is being read. */
static void settle_down(const struct bench *bench)
{
    struct reader_stats before, now;
    do {
        reader_stats(bench->reader, &before);
        usleep(20000);
        reader_stats(bench->reader, &now);
    } while (now.busy_ns != before.busy_ns);
}

/* What is guessed right is there when it is wanted, and no hit of the cache; what is guessed wrong goes before anything
 * that was used. */
static void guesses(void **state)
{
    (void)state;
    const struct reader_options options = {.way = READER_CACHED};
    struct expert_cache_stats stats;
    struct bench bench;
    struct pass pass;
    uint32_t begins[EXPERTS + 1] = {0};
    uint64_t layer_bytes = 0;
    start(&bench, 0.5, 1, &options, NULL);
    start_pass(&pass, &bench);
    choose(&pass, (const uint32_t[]){2, 5, 8, 11});
    for (int i = 0; i < 3; i++)
        run(&pass);
    hit_rate(&bench);
    expert_cache_begin(bench.cache);
    expert_cache_expect(bench.cache, 1, (const uint32_t[]){3, 5, 4}, 3);
    settle_down(&bench);
    for (uint32_t e = 0; e < EXPERTS; e++)
        begins[e + 1] = begins[e] + (e == 3 || e == 5);
    expert_cache_want(bench.cache, 1, begins);
    for (size_t i = 0; i < bench.placement->n_pieces; i++) {
        const struct piece *piece = &bench.placement->pieces[i];
        if (piece->tier != TIER_CACHED || model->program->ops[piece->op].layer != 1) continue;
        if (piece->expert == 3) layer_bytes += piece->size_bytes;
        if (piece->expert == 3 || piece->expert == 5) assert_true(use_piece(&pass, i, false));
    }
    expert_cache_stats(bench.cache, &stats);
    assert_int_equal(stats.guessed_bytes, 2 * layer_bytes);
    assert_int_equal(stats.right_bytes, layer_bytes);
    assert_true(hit_rate(&bench) == 0.5);
    run(&pass);
    assert_true(hit_rate(&bench) == 1);
    assert_int_equal(pass.n_wrong, 0);
    threads_free(pass.threads);
    end(&bench);
}

static atomic_int failing; /* so many reads from now on fail */

static ssize_t bad_disk(int fd, void *to, size_t n, off_t offset)
{
    if (atomic_fetch_sub(&failing, 1) > 0) return errno = EIO, -1;
    return pread(fd, to, n, offset);
}

/* Ends the pass for all threads, with the reason; the next one works if the disk does. Also while warming up, and with
 * little room. */
static void failing_disk(void **state)
{
    (void)state;
    const struct reader_options options = {.way = READER_CACHED, .pread = bad_disk};
    static const double rooms[] = {0.01, 0.5};
    for (int i = 0; i < 2; i++) {
        struct bench bench;
        struct pass pass;
        struct stile_error error = {0};
        uint32_t random = 3;
        start(&bench, rooms[i], THREADS, &options, NULL);
        start_pass(&pass, &bench);
        atomic_store(&failing, 5);
        assert_int_equal(expert_cache_warm(bench.cache, &error), 0);
        for (int round = 0; round < 5; round++) {
            atomic_store(&failing, 1 << 30);
            for (int k = 0; k < 3; k++) { /* what lies in memory may be all that is wanted */
                choose_randomly(&pass, &random, 60);
                run(&pass);
            }
            if (pass.n_missing > 0) {
                assert_int_equal(expert_cache_failed(bench.cache, &error), STILE_ERROR_IO);
                assert_non_null(strstr(error.message, path));
            } else {
                assert_int_equal(round, -1);
            }
            atomic_store(&failing, 0);
            atomic_store(&pass.n_missing, 0);
            expert_cache_begin(bench.cache);
            while (expert_cache_is_warming(bench.cache))
                usleep(1000);
            run(&pass);
            assert_int_equal(expert_cache_failed(bench.cache, NULL), 0);
            assert_int_equal(pass.n_missing, 0);
            assert_int_equal(pass.n_wrong, 0);
        }
        threads_free(pass.threads);
        end(&bench);
    }
}

enum { LARGE_BYTES = 50000 /* a Q6_K matrix is larger, a Q4_K one smaller */ };
static atomic_bool held; /* reads of large matrices do not come */

static ssize_t held_disk(int fd, void *to, size_t n, off_t offset)
{
    while (n > LARGE_BYTES && atomic_load(&held))
        usleep(1000);
    return pread(fd, to, n, offset);
}

static void *let_go(void *unused)
{
    (void)unused;
    usleep(50000);
    atomic_store(&held, false);
    return NULL;
}

/* The only frame of its size is taken by a read of what this pass does not want; it goes on when that has come. */
static void warming_takes_the_only_frame(void **state)
{
    (void)state;
    const struct reader_options options = {.way = READER_CACHED, .pread = held_disk};
    struct bench bench;
    struct pass pass;
    struct stile_error error = {0};
    pthread_t other;
    piece_bytes = 64 << 10;
    start(&bench, 0.04, THREADS, &options, NULL);
    piece_bytes = SMALL_PIECE;
    start_pass(&pass, &bench);
    bench.use->total[2 * EXPERTS] = 1; /* the favourite; Q6_K begins with this layer */
    atomic_store(&held, true);
    assert_int_equal(expert_cache_warm(bench.cache, &error), 0);
    usleep(20000); /* so that the favourite is under way; the pass wants others */
    choose(&pass, (const uint32_t[]){12, 13, 14, 15});
    assert_int_equal(pthread_create(&other, NULL, let_go, NULL), 0);
    run(&pass);
    pthread_join(other, NULL);
    assert_int_equal(pass.n_missing, 0);
    assert_int_equal(pass.n_wrong, 0);
    threads_free(pass.threads);
    end(&bench);
}

static ssize_t hung_disk(int fd, void *to, size_t n, off_t offset)
{
    while (atomic_load(&held))
        usleep(1000);
    return pread(fd, to, n, offset);
}

static void *cancel_soon(void *unused)
{
    (void)unused;
    usleep(100000);
    cancel = 1;
    return NULL;
}

/* Whoever waits for it can be cancelled; it may answer again, or not. With much room or little, and while warming up. */
static void hanging_disk(void **state)
{
    (void)state;
    const struct reader_options options = {.way = READER_CACHED, .pread = hung_disk, .patience_ms = 100};
    static const double rooms[] = {0.01, 0.5};
    for (int i = 0; i < 2; i++) {
        struct bench bench;
        struct pass pass;
        pthread_t other;
        uint32_t random = 3;
        start(&bench, rooms[i], THREADS, &options, NULL);
        start_pass(&pass, &bench);
        assert_int_equal(expert_cache_warm(bench.cache, NULL), 0);
        for (int round = 0; round < 2; round++) {
            atomic_store(&held, true);
            assert_int_equal(pthread_create(&other, NULL, cancel_soon, NULL), 0);
            while (atomic_load(&pass.n_missing) == 0) {
                choose_randomly(&pass, &random, 60);
                run(&pass);
            }
            pthread_join(other, NULL);
            assert_int_equal(expert_cache_failed(bench.cache, NULL), 0);
            uint64_t before = expert_cache_resize(bench.cache, UINT64_MAX);
            assert_int_equal(expert_cache_resize(bench.cache, before / 2), before);
            if (i + round == 2) break;
            atomic_store(&held, false);
            atomic_store(&pass.n_missing, 0);
            cancel = 0;
            run(&pass);
            assert_int_equal(pass.n_missing, 0);
            assert_int_equal(pass.n_wrong, 0);
        }
        threads_free(pass.threads);
        end(&bench);
    }
    cancel = 0;
}

static void too_little_room(void **state)
{
    (void)state;
    struct bench bench;
    struct expert_cache *cache;
    struct stile_error error = {0};
    const struct reader_options options = {.way = READER_CACHED};
    start(&bench, 0.5, 1, &options, NULL);
    bench.placement->cache_bytes = 4096;
    assert_int_equal(
        expert_cache_create(&cache, model->program, bench.placement, &bench.source, 1, NULL, bench.use, &error),
        STILE_ERROR_MEMORY);
    end(&bench);
}

/* ---- the whole way ------------------------------------------------------------------------------ */

enum { PROMPT = 40, REPLY = 12 };

/* Of a prompt, in batches of n_batch, and some tokens one by one. spare_bytes: beyond what is needed at least; -1: all is
 * mapped. */
static uint64_t session_hash(int64_t spare_bytes, uint32_t n_threads, uint32_t n_batch, double *hits)
{
    struct stile_error error = {0};
    struct stile_session *session;
    struct stile_session_options options = {.n_ctx = 64, .n_batch = n_batch, .n_threads = n_threads};
    int32_t tokens[PROMPT + REPLY];
    for (int32_t i = 0; i < PROMPT + REPLY; i++)
        tokens[i] = i * 37 % 512;
    if (spare_bytes >= 0) {
        struct stile_memory memory;
        struct placement *placement;
        struct placement_request request = {0};
        uint64_t least;
        assert_int_equal(placement_create(&placement, model->program, &request, &least, &error), STILE_ERROR_MEMORY);
        assert_int_equal(stile_model_memory(model, &options, &memory, &error), 0);
        options.memory_limit_bytes = memory.kv_bytes + memory.activations_bytes + memory.other_bytes + least;
        options.memory_limit_bytes += (uint64_t)spare_bytes;
        options.place = "*_exps.weight=cached";
    }
    if (stile_session_create(&session, model, &options, &error)) fail_msg("%s", error.message);
    if (stile_eval(session, tokens, PROMPT, &error)) fail_msg("%s", error.message);
    for (int i = 0; i < REPLY; i++)
        if (stile_eval(session, tokens + PROMPT + i, 1, &error)) fail_msg("%s", error.message);
    struct stile_expert_layer layers[LAYERS] = {0};
    size_t n_layers = stile_session_experts(session, layers, LAYERS);
    assert_int_equal(n_layers, spare_bytes >= 0 ? LAYERS : 0);
    uint64_t wanted = 0, hit = 0;
    for (size_t i = 0; i < n_layers; i++) {
        /* the last layer's experts are not asked about tokens whose logits nobody wants */
        assert_int_equal(layers[i].n_uses, (i + 1 < n_layers ? PROMPT + REPLY : 1 + REPLY) * USED);
        assert_true(layers[i].n_half >= USED / 2 && layers[i].n_95 > layers[i].n_half && layers[i].n_95 <= EXPERTS);
        wanted += layers[i].wanted_bytes;
        hit += layers[i].hit_bytes;
    }
    *hits = wanted > 0 ? (double)hit / (double)wanted : 1;
    uint64_t hash = stile_logits_hash(session);
    stile_session_free(session);
    return hash;
}

/* The logits are those of a mapped model, with room for two layers' choices of one token, and more. */
static void same_logits(void **state)
{
    (void)state;
    static const int64_t spare_bytes[] = {0, 1 << 20, 32 << 20};
    double hits, hits_before;
    for (uint32_t n_batch = 7; n_batch <= PROMPT; n_batch += PROMPT - 7) {
        uint64_t expected = session_hash(-1, 1, n_batch, &hits);
        for (uint32_t n_threads = 1; n_threads <= THREADS; n_threads++) {
            hits_before = 0;
            for (int i = 0; i < 3; i++) {
                assert_true(session_hash(spare_bytes[i], n_threads, n_batch, &hits) == expected);
                assert_true(hits >= hits_before);
                hits_before = hits;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_room_gives_the_same_bytes),
        cmocka_unit_test(favourites_stay),
        cmocka_unit_test(guesses),
        cmocka_unit_test(starts_warm),
        cmocka_unit_test(failing_disk),
        cmocka_unit_test(warming_takes_the_only_frame),
        cmocka_unit_test(too_little_room),
        cmocka_unit_test(same_logits),
        cmocka_unit_test(hanging_disk), /* the last: its threads hang on */
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
