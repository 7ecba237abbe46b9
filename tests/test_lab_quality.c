/* Quality: rows of logits against float64, windows, perplexity token by token, what estimates say of known numbers. */
#include "base/error.h"
#include "lab/estimate.h"
#include "lab/quality.h"
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { N_ROWS = 9, N_VOCAB = 1003 };

static double noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 24) - 0.5;
}

/* Logits of two models that mostly agree; the second is 7 higher, which means nothing. */
static void fill_rows(float *rows, float *reference)
{
    uint32_t state = 1;
    for (size_t i = 0; i < (size_t)N_ROWS * N_VOCAB; i++) {
        rows[i] = (float)(20 * noise(&state) + (i % 97 == 0 ? 9 : 0));
        reference[i] = (float)(rows[i] + 7 + noise(&state));
    }
}

static double log_sum(const float *row)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < N_VOCAB; i++)
        max = fmax(max, (double)row[i]);
    for (size_t i = 0; i < N_VOCAB; i++)
        sum += exp((double)row[i] - max);
    return max + log(sum);
}

static size_t top(const float *row)
{
    size_t best = 0;
    for (size_t i = 1; i < N_VOCAB; i++)
        if (row[i] > row[best]) best = i;
    return best;
}

static void score(const float *rows, const float *reference, const int32_t *tokens, struct score *scores, int n_threads)
{
    struct threads *threads;
    struct stile_error error = {0};
    assert_int_equal(threads_create(&threads, n_threads, &error), 0);
    if (score_rows(threads, rows, reference, N_ROWS, N_VOCAB, tokens, scores, &error)) fail_msg("%s", error.message);
    threads_free(threads);
}

static void rows_are_scored(void **state)
{
    (void)state;
    float *rows = malloc(sizeof(float[N_ROWS][N_VOCAB])), *reference = malloc(sizeof(float[N_ROWS][N_VOCAB]));
    struct score scores[N_ROWS], again[N_ROWS];
    int32_t tokens[N_ROWS];
    fill_rows(rows, reference);
    for (int32_t i = 0; i < N_ROWS; i++)
        tokens[i] = i * 125 + 2; /* also in the last block, which is not whole */
    score(rows, reference, tokens, scores, 1);
    for (size_t r = 0; r < N_ROWS; r++) {
        const float *q = rows + r * N_VOCAB, *p = reference + r * N_VOCAB;
        double divergence = 0, q_sum = log_sum(q), p_sum = log_sum(p);
        for (size_t i = 0; i < N_VOCAB; i++)
            divergence += exp((double)p[i] - p_sum) * ((double)p[i] - p_sum - (double)q[i] + q_sum);
        assert_true(divergence > 1e-3);
        assert_true(fabs(scores[r].divergence - divergence) < 1e-6);
        assert_true(fabs(scores[r].log_p - ((double)q[tokens[r]] - q_sum)) < 1e-6);
        assert_true(fabs(scores[r].reference_log_p - ((double)p[tokens[r]] - p_sum)) < 1e-6);
        assert_int_equal(scores[r].same_top, top(p) == top(q));
    }
    score(rows, reference, tokens, again, 3);
    for (size_t r = 0; r < N_ROWS; r++)
        assert_true(again[r].log_p == scores[r].log_p && again[r].divergence == scores[r].divergence);
    score(rows, NULL, tokens, again, 2);
    for (size_t r = 0; r < N_ROWS; r++)
        assert_true(again[r].log_p == scores[r].log_p);
    score(rows, rows, tokens, again, 2);
    for (size_t r = 0; r < N_ROWS; r++)
        assert_true(again[r].divergence == 0 && again[r].log_p == again[r].reference_log_p && again[r].same_top);
    free(rows);
    free(reference);
}

static void rows_that_are_no_numbers(void **state)
{
    (void)state;
    static float rows[2 * N_VOCAB], reference[2 * N_VOCAB];
    struct threads *threads;
    struct stile_error error = {0};
    struct score scores[2];
    const int32_t tokens[2] = {1, 2};
    assert_int_equal(threads_create(&threads, 2, &error), 0);
    for (size_t i = 0; i < N_VOCAB; i++)
        rows[N_VOCAB + i] = NAN;
    assert_int_equal(score_rows(threads, rows, NULL, 2, N_VOCAB, tokens, scores, &error), STILE_ERROR_MALFORMED);
    assert_int_equal(score_rows(threads, reference, rows, 2, N_VOCAB, tokens, scores, &error), STILE_ERROR_MALFORMED);
    rows[N_VOCAB] = INFINITY;
    assert_int_equal(score_rows(threads, rows, NULL, 2, N_VOCAB, tokens, scores, &error), STILE_ERROR_MALFORMED);
    threads_free(threads);
}

/* ---- windows -------------------------------------------------------------------------------- */

static struct stile_model *open_model(void (*change)(struct gguf_write *file))
{
    struct stile_model *model;
    struct stile_error error = {0};
    if (tiny_open(&model, change, &error)) fail_msg("%s", error.message);
    return model;
}

static void with_bos(struct gguf_write *file)
{
    gguf_write_bool(file, "tokenizer.ggml.add_bos_token", true);
}

static char text[150];

static void fill_text(void)
{
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('A' + i * i % 26); /* capitals: no merges, a token for each */
}

static struct windows make(const struct stile_model *model, uint32_t n_ctx, uint32_t stride, size_t n_max)
{
    struct windows windows;
    struct stile_error error = {0};
    fill_text();
    if (windows_create(&windows, model, text, sizeof text, n_ctx, stride, n_max, &error)) fail_msg("%s", error.message);
    return windows;
}

static void windows_follow_each_other(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct windows w = make(model, 32, 0, 0);
    int32_t tokens[32];
    assert_int_equal(w.n_tokens, sizeof text);
    assert_int_equal(w.bos, -1);
    assert_int_equal(w.n, 4); /* what is left is no window */
    for (size_t i = 0; i < w.n; i++) {
        struct window window = windows_at(&w, i);
        assert_int_equal(window.begin, 32 * i);
        assert_int_equal(window.n_tokens, 32);
        assert_int_equal(window.n_scored, 15); /* as llama.cpp: rows 16 to 30 */
        windows_tokens(&w, &window, tokens);
        assert_memory_equal(tokens, w.tokens + window.begin, sizeof tokens);
    }
    assert_int_equal(windows_scored(&w, 4), 60);
    windows_free(&w);
    w = make(model, 32, 0, 3);
    assert_int_equal(w.n, 3);
    windows_free(&w);
    stile_model_close(model);
}

static void windows_overlap(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    for (uint32_t stride = 1; stride < 32; stride++) {
        struct windows w = make(model, 32, stride, 0);
        size_t next = 32 - stride; /* token to be scored: the first with so many before it */
        for (size_t i = 0; i < w.n; i++) {
            struct window window = windows_at(&w, i);
            assert_true(window.n_tokens - window.n_scored == 32 - stride && window.n_scored > 0);
            assert_int_equal(window.begin + window.n_tokens - window.n_scored, next);
            assert_int_equal(windows_scored(&w, i), next - (32 - stride));
            next += window.n_scored;
        }
        assert_int_equal(next, sizeof text);
        assert_int_equal(windows_scored(&w, w.n), sizeof text - (32 - stride));
        windows_free(&w);
    }
    stile_model_close(model);
}

static void windows_begin_with_the_beginning_token(void **state)
{
    (void)state;
    struct stile_model *model = open_model(with_bos);
    struct windows w = make(model, 32, 0, 0);
    int32_t tokens[32];
    assert_true(w.bos >= 0);
    assert_int_equal(w.n_tokens, 1 + sizeof text);
    assert_int_equal(w.tokens[0], w.bos);
    struct window window = windows_at(&w, 2);
    windows_tokens(&w, &window, tokens);
    assert_int_equal(tokens[0], w.bos);
    assert_memory_equal(tokens + 1, w.tokens + 65, sizeof tokens - sizeof *tokens);
    windows_free(&w);
    stile_model_close(model);
}

static void windows_that_cannot_be(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct windows w;
    struct stile_error error = {0};
    fill_text();
    assert_int_equal(windows_create(&w, model, text, 31, 32, 0, 0, &error), STILE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "31 tokens"));
    assert_int_equal(windows_create(&w, model, "", 0, 32, 0, 0, &error), STILE_ERROR_ARGUMENT);
    assert_int_equal(windows_create(&w, model, text, sizeof text, 3, 0, 0, &error), STILE_ERROR_ARGUMENT);
    assert_int_equal(windows_create(&w, model, text, sizeof text, 32, 32, 0, &error), STILE_ERROR_ARGUMENT);
    stile_model_close(model);
}

/* ---- running -------------------------------------------------------------------------------- */

/* Sum of the losses of all scored tokens, by stile_eval. */
static double losses(struct stile_model *model, const struct windows *w)
{
    double sum = 0;
    struct stile_session *session;
    struct stile_error error = {0};
    const uint32_t n_vocab = stile_model_info(model)->n_vocab;
    for (size_t i = 0; i < w->n; i++) {
        struct window window = windows_at(w, i);
        int32_t tokens[64];
        windows_tokens(w, &window, tokens);
        assert_int_equal(stile_session_create(&session, model, &(struct stile_session_options){.n_ctx = 64}, &error),
                         0);
        for (uint32_t t = 0; t + 1 < window.n_tokens; t++) {
            assert_int_equal(stile_eval(session, tokens + t, 1, &error), 0);
            if (t + 1 < window.n_tokens - window.n_scored) continue;
            const float *row = stile_logits(session);
            double all = 0;
            for (size_t v = 0; v < n_vocab; v++)
                all += exp((double)row[v]);
            sum += log(all) - (double)row[tokens[t + 1]];
        }
        stile_session_free(session);
    }
    return sum;
}

static void check_perplexity(void (*change)(struct gguf_write *file), uint32_t stride)
{
    struct stile_model *model = open_model(change);
    struct windows w = make(model, 48, stride, 0);
    struct quality_plan plan = {.model = model, .windows = &w, .session.kv_format = STILE_KV_F16};
    struct quality quality;
    struct estimates estimates;
    struct stile_error error = {0};
    if (quality_run(&quality, &plan, &error)) fail_msg("%s", error.message);
    assert_int_equal(quality.n_windows, w.n);
    assert_int_equal(estimate_scores(&estimates, &w, w.n, quality.scores, false, &error), 0);
    double truth = exp(losses(model, &w) / (double)windows_scored(&w, w.n));
    assert_true(fabs(estimates.perplexity.value / truth - 1) < 1e-5);
    assert_true(estimates.perplexity.error > 0);
    quality_free(&quality);
    windows_free(&w);
    stile_model_close(model);
}

static void perplexity_is_that_of_single_tokens(void **state)
{
    (void)state;
    check_perplexity(NULL, 0);
    check_perplexity(NULL, 20);
    check_perplexity(with_bos, 0);
    check_perplexity(tiny_gemma3, 7);
}

static void other_weights(struct gguf_write *file)
{
    struct gguf_write_tensor *tensor = gguf_write_get_tensor(file, "blk.0.ffn_down.weight");
    for (size_t i = 0; i + 4 <= tensor->data.n; i += 64)
        gguf_patch_u32(&tensor->data, i, 0x3f000000);
}

static void other_names(struct gguf_write *file)
{
    gguf_write_drop_key(file, "tokenizer.ggml.bos_token_id");
    for (size_t i = 0; i < file->n_kv; i++)
        if (strcmp(file->kv[i].key, "tokenizer.ggml.tokens") == 0) file->kv[i].value.data[file->kv[i].value.n - 1] ^= 1;
}

static void references(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL), *other = open_model(other_weights), *bos = open_model(with_bos);
    struct windows w = make(model, 32, 0, 0);
    struct quality quality;
    struct estimates e;
    struct stile_error error = {0};
    uint64_t alone_bytes, both_bytes;
    struct quality_plan plan = {.model = model, .windows = &w};
    assert_int_equal(quality_memory(&plan, &alone_bytes, &error), 0);
    plan.reference = model;
    assert_int_equal(quality_memory(&plan, &both_bytes, &error), 0);
    assert_true(both_bytes > alone_bytes * 3 / 2);
    assert_int_equal(quality_check(&plan, text, sizeof text, &error), 0);
    if (quality_run(&quality, &plan, &error)) fail_msg("%s", error.message);
    assert_int_equal(estimate_scores(&e, &w, w.n, quality.scores, true, &error), 0);
    assert_true(e.divergence.value == 0 && e.divergence.error == 0 && e.divergence_max == 0);
    assert_true(e.same_top.value == 1 && e.perplexity_ratio.value == 1 && e.p_rms.value == 0);
    quality_free(&quality);

    plan.reference = other;
    assert_int_equal(quality_check(&plan, text, sizeof text, &error), 0);
    if (quality_run(&quality, &plan, &error)) fail_msg("%s", error.message);
    assert_int_equal(estimate_scores(&e, &w, w.n, quality.scores, true, &error), 0);
    assert_true(e.divergence.value > 0 && e.divergence.error > 0 && e.divergence_max > e.divergence.value);
    assert_true(fabs(e.perplexity.value / e.reference_perplexity.value - e.perplexity_ratio.value) < 1e-9);
    quality_free(&quality);

    plan.reference = bos;
    assert_int_equal(quality_check(&plan, text, sizeof text, &error), STILE_ERROR_ARGUMENT);
    windows_free(&w);
    stile_model_close(model);
    stile_model_close(other);
    stile_model_close(bos);
}

static void cancelling(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct windows w = make(model, 32, 0, 0);
    volatile int cancel = 1;
    struct quality quality;
    struct stile_error error = {0};
    struct quality_plan plan = {.model = model, .windows = &w, .session.cancel = &cancel};
    assert_int_equal(quality_run(&quality, &plan, &error), STILE_ERROR_CANCELLED);
    assert_int_equal(quality.n_windows, 0);
    quality_free(&quality);
    windows_free(&w);
    stile_model_close(model);
}

/* ---- logits on disk ------------------------------------------------------------------------- */

static char folder[] = "/tmp/stile-test-XXXXXX", path[64];

static void save(struct stile_model *model, const struct windows *w)
{
    struct quality quality;
    struct stile_error error = {0};
    struct quality_plan plan = {.model = model, .windows = w};
    assert_int_equal(logits_file_create(&plan.save, path, model, w, "a text", &error), 0);
    assert_int_not_equal(access(path, F_OK), 0); /* not before it is whole */
    if (quality_run(&quality, &plan, &error)) fail_msg("%s", error.message);
    logits_file_close(plan.save);
    quality_free(&quality);
}

static struct estimates compare_with_file(struct stile_model *model, size_t n_max)
{
    struct windows w;
    struct quality quality;
    struct estimates e;
    struct stile_error error = {0};
    struct quality_plan plan = {.model = model, .windows = &w};
    if (logits_file_open(&plan.reference_file, path, &error)) fail_msg("%s", error.message);
    assert_int_equal(logits_file_check(plan.reference_file, model, &error), 0);
    assert_int_equal(logits_file_windows(plan.reference_file, n_max, &w, &error), 0);
    assert_string_equal(logits_file_text(plan.reference_file), "a text");
    if (quality_run(&quality, &plan, &error)) fail_msg("%s", error.message);
    assert_int_equal(estimate_scores(&e, &w, w.n, quality.scores, true, &error), 0);
    logits_file_close(plan.reference_file);
    quality_free(&quality);
    windows_free(&w);
    return e;
}

static void logits_come_back(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL), *other = open_model(other_weights), *bos = open_model(with_bos);
    for (uint32_t stride = 0; stride <= 20; stride += 20) {
        struct windows w = make(model, 32, stride, 0);
        struct quality quality;
        struct estimates direct;
        struct stile_error error = {0};
        struct quality_plan plan = {.model = other, .reference = model, .windows = &w};
        assert_true(logits_file_is("/dev/null") == false && logits_file_is("/nothing") == false);
        save(model, &w);
        assert_true(logits_file_is(path));
        struct stat status;
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_size, logits_file_size(&w, stile_model_info(model)->n_vocab));
        struct estimates same = compare_with_file(model, 0), different = compare_with_file(other, 0);
        if (quality_run(&quality, &plan, &error)) fail_msg("%s", error.message);
        assert_int_equal(estimate_scores(&direct, &w, w.n, quality.scores, true, &error), 0);
        assert_true(fabs(same.divergence.value) < 1e-6 && same.same_top.value == 1);
        assert_true(fabs(different.divergence.value / direct.divergence.value - 1) < 1e-3);
        assert_true(fabs(different.reference_perplexity.value / direct.reference_perplexity.value - 1) < 1e-5);
        assert_true(different.perplexity.value == direct.perplexity.value);
        assert_int_equal(compare_with_file(model, 2).n_windows, 2);
        quality_free(&quality);
        windows_free(&w);
        unlink(path);
    }
    stile_model_close(model);
    stile_model_close(other);
    stile_model_close(bos);
}

/* Opens the bytes as a file; it must be refused. */
static void refuse(const char *bytes, size_t n)
{
    struct logits_file *file;
    struct stile_error error = {0};
    FILE *stream = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, n, stream), n);
    fclose(stream);
    assert_int_equal(logits_file_open(&file, path, &error), STILE_ERROR_MALFORMED);
    assert_non_null(strstr(error.message, path));
}

static void hostile_logits(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct windows w = make(model, 32, 0, 0), windows;
    struct buffer bytes = {0};
    struct stile_error error = {0};
    char chunk[4096];
    save(model, &w);
    FILE *stream = fopen(path, "rb");
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, stream)) > 0;)
        buffer_add(&bytes, chunk, n);
    fclose(stream);
    refuse(bytes.data, 0);
    refuse(bytes.data, 100);
    refuse(bytes.data, bytes.n - 1);
    buffer_char(&bytes, 0);
    refuse(bytes.data, bytes.n--);
    /* every field of the beginning, and the first token */
    static const size_t places[] = {0, 16, 20, 24, 28, 32, 40, 44, 48, 52, 576};
    static const uint32_t values[] = {0, 1, 31, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    struct logits_file *file;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        uint32_t old;
        memcpy(&old, bytes.data + places[i], sizeof old);
        for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
            if (places[i] >= 576 && values[j] < TINY_VOCAB) continue;
            if (places[i] == 32 && (values[j] == 0xffffffff || values[j] < TINY_VOCAB)) continue;
            if (old == values[j]) continue;
            gguf_patch_u32(&bytes, places[i], values[j]);
            refuse(bytes.data, bytes.n);
        }
        gguf_patch_u32(&bytes, places[i], old);
    }
    /* the names need not end, and the hash is another model's */
    memset(bytes.data + 64, 'x', 512);
    stream = fopen(path, "wb");
    fwrite(bytes.data, 1, bytes.n, stream);
    fclose(stream);
    assert_int_equal(logits_file_open(&file, path, &error), 0);
    assert_int_equal(strlen(logits_file_model(file)), LOGITS_NAME_BYTES - 1);
    assert_int_equal(logits_file_check(file, model, &error), 0);
    struct stile_model *other = open_model(other_names);
    assert_int_equal(logits_file_check(file, other, &error), STILE_ERROR_ARGUMENT);
    /* a file that shrinks, and codes that mean nothing */
    assert_int_equal(logits_file_windows(file, 0, &windows, &error), 0);
    struct quality quality;
    struct quality_plan plan = {.model = model, .windows = &windows, .reference_file = file};
    assert_int_equal(truncate(path, (off_t)bytes.n / 2), 0);
    assert_int_equal(quality_run(&quality, &plan, &error), STILE_ERROR_IO);
    assert_true(quality.n_windows < windows.n);
    quality_free(&quality);
    logits_file_close(file);
    memset(bytes.data + bytes.n - 1000, 0xff, 1000);
    for (size_t at = 576 + 4 * w.n_tokens; at < bytes.n; at += 4 + 2 * ((TINY_VOCAB + 1) / 2 * 2))
        gguf_patch_u32(&bytes, at, 0x7fc00000); /* scale: NaN */
    stream = fopen(path, "wb");
    fwrite(bytes.data, 1, bytes.n, stream);
    fclose(stream);
    assert_int_equal(logits_file_open(&file, path, &error), 0);
    plan.reference_file = file;
    assert_int_equal(quality_run(&quality, &plan, &error), STILE_ERROR_MALFORMED);
    quality_free(&quality);
    logits_file_close(file);
    unlink(path);
    windows_free(&windows);
    windows_free(&w);
    buffer_free(&bytes);
    stile_model_close(model);
    stile_model_close(other);
}

static void unfinished_logits(void **state)
{
    (void)state;
    struct stile_model *model = open_model(NULL);
    struct windows w = make(model, 32, 0, 0);
    volatile int cancel = 1;
    struct quality quality;
    struct stile_error error = {0};
    struct quality_plan plan = {.model = model, .windows = &w, .session.cancel = &cancel};
    assert_int_equal(logits_file_create(&plan.save, path, model, &w, "", &error), 0);
    assert_int_equal(quality_run(&quality, &plan, &error), STILE_ERROR_CANCELLED);
    logits_file_close(plan.save);
    quality_free(&quality);
    assert_int_equal(rmdir(folder), 0); /* nothing is left */
    assert_int_equal(logits_file_create(&plan.save, path, model, &w, "", &error), STILE_ERROR_IO);
    assert_int_equal(mkdir(folder, 0700), 0);
    windows_free(&w);
    stile_model_close(model);
}

/* ---- estimates ------------------------------------------------------------------------------ */

static void estimates_of_known_scores(void **state)
{
    (void)state;
    enum { N = 1000, PER_WINDOW = 10 };
    struct windows w = {
        .n_ctx = 22, .step = 22, .n_scored = PER_WINDOW, .n = N / PER_WINDOW, .n_tokens = 22 * N / PER_WINDOW};
    struct score *scores = calloc(N, sizeof *scores);
    struct estimates e;
    struct stile_error error = {0};
    for (size_t i = 0; i < N; i++)
        scores[i] = (struct score){.log_p = i % 2 ? -1 : -3,
                                   .reference_log_p = i % 2 ? -1 : -2,
                                   .divergence = (double)((i * 7) % N) / N,
                                   .same_top = i % 4 != 0};
    assert_int_equal(estimate_scores(&e, &w, w.n, scores, true, &error), 0);
    assert_true(fabs(e.perplexity.value - exp(2)) < 1e-12);
    assert_true(fabs(e.perplexity.error - exp(2) / sqrt(N - 1)) < 1e-9); /* losses are 1 away from their mean */
    assert_true(fabs(e.reference_perplexity.value - exp(1.5)) < 1e-12);
    assert_true(fabs(e.perplexity_ratio.value - exp(0.5)) < 1e-12);
    assert_true(e.perplexity_ratio.error < 1e-6); /* all windows are alike in this */
    assert_true(fabs(e.divergence.value - 0.4995) < 1e-9);
    assert_true(e.divergence.error > 1e-3 && e.divergence.error < 3e-2);
    assert_true(fabs(e.divergence_quantiles[0].value - 0.4995) < 1e-9);
    assert_true(fabs(e.divergence_quantiles[3].value - 0.98901) < 1e-9);
    assert_true(e.divergence_max == 0.999);
    assert_true(fabs(e.same_top.value - 0.75) < 1e-12);
    double difference = exp(-3) - exp(-2);
    assert_true(fabs(e.p_difference.value - difference / 2) < 1e-12);
    assert_true(fabs(e.p_rms.value + difference / sqrt(2)) < 1e-12);
    assert_int_equal(estimate_scores(&e, &w, 1, scores, true, &error), 0);
    assert_true(isnan(e.divergence.error) && isnan(e.divergence_quantiles[0].error));
    assert_int_equal(e.n_scored, PER_WINDOW);
    free(scores);
}

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/logits", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_scored),
        cmocka_unit_test(rows_that_are_no_numbers),
        cmocka_unit_test(windows_follow_each_other),
        cmocka_unit_test(windows_overlap),
        cmocka_unit_test(windows_begin_with_the_beginning_token),
        cmocka_unit_test(windows_that_cannot_be),
        cmocka_unit_test(perplexity_is_that_of_single_tokens),
        cmocka_unit_test(references),
        cmocka_unit_test(cancelling),
        cmocka_unit_test(logits_come_back),
        cmocka_unit_test(hostile_logits),
        cmocka_unit_test(unfinished_logits),
        cmocka_unit_test(estimates_of_known_scores),
    };
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return n_failed;
}
