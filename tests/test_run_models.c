/* Tiny models of every family and number format, against the float64 truth of tests/golden/make_models.py. */
#include "stile.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MODELS_MAX = 96, PATH_BYTES = 512 };

static const char *golden_dir = "build/golden";

/* Weights that are floats meet unrounded activations: what is left is float32 arithmetic. */
static const double tolerance_float = 1e-4;
/* How many times what rounding alone does to a model (its rms error, which the truth states) is still lawful: it is the
 * same rounding, but values at the edge of a step fall to either side. */
static const double tolerance_rounding = 1.1;
/* Eight bits for keys, values and queries, on random weights: half as much again as the worst of these models loses. */
static const double tolerance_q8_0 = 0.05;

struct truth {
    uint32_t n_tokens, n_vocab;
    double kv_error, act_error; /* of rounding K and V to F16, activations to int8 */
    int32_t *tokens;
    double *logits; /* (n_tokens, n_vocab) */
};

static void truth_read(struct truth *truth, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/models/%s.truth", golden_dir, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(&truth->n_tokens, 4, 1, f), 1);
    assert_int_equal(fread(&truth->n_vocab, 4, 1, f), 1);
    assert_int_equal(fread(&truth->kv_error, 8, 1, f), 1);
    assert_int_equal(fread(&truth->act_error, 8, 1, f), 1);
    assert_in_range(truth->n_tokens, 1, 4096);
    assert_in_range(truth->n_vocab, 1, 4096);
    size_t n_logits = (size_t)truth->n_tokens * truth->n_vocab;
    truth->tokens = malloc(truth->n_tokens * sizeof *truth->tokens);
    truth->logits = malloc(n_logits * sizeof *truth->logits);
    assert_int_equal(fread(truth->tokens, 4, truth->n_tokens, f), truth->n_tokens);
    assert_int_equal(fread(truth->logits, 8, n_logits, f), n_logits);
    fclose(f);
}

static void must(int code, const struct stile_error *error)
{
    if (code != 0) fail_msg("%s", error->message);
}

/* All logits of the truth's tokens, in calls of n_call tokens. */
static float *evaluate(struct stile_model *model, const struct truth *truth, enum stile_kv_format kv_format,
                       uint32_t n_batch, uint32_t n_call)
{
    struct stile_session_options options = {
        .n_ctx = truth->n_tokens, .n_batch = n_batch, .n_threads = 2, .kv_format = kv_format};
    struct stile_session *session;
    struct stile_error error;
    float *logits = malloc((size_t)truth->n_tokens * truth->n_vocab * sizeof *logits);
    must(stile_session_create(&session, model, &options, &error), &error);
    for (uint32_t i = 0; i < truth->n_tokens; i += n_call) {
        uint32_t n = truth->n_tokens - i < n_call ? truth->n_tokens - i : n_call;
        must(stile_eval_rows(session, truth->tokens + i, n, n, logits + (size_t)i * truth->n_vocab, &error), &error);
    }
    stile_session_free(session);
    return logits;
}

/* The largest over positions of max |a - b| / max |b|. */
static double error_max(const struct truth *truth, const float *logits)
{
    double worst = 0;
    for (size_t t = 0; t < truth->n_tokens; t++) {
        double difference = 0, size = 0;
        for (size_t i = t * truth->n_vocab; i < (t + 1) * truth->n_vocab; i++) {
            double d = fabs((double)logits[i] - truth->logits[i]);
            if (!(d <= difference)) difference = d; /* a NaN stays */
            size = fmax(size, fabs(truth->logits[i]));
        }
        if (!(difference / size <= worst)) worst = difference / size;
    }
    return worst;
}

/* rms(a - b) / rms(b) over all logits. */
static double error_rms(const struct truth *truth, const float *logits)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < (size_t)truth->n_tokens * truth->n_vocab; i++) {
        difference += ((double)logits[i] - truth->logits[i]) * ((double)logits[i] - truth->logits[i]);
        size += truth->logits[i] * truth->logits[i];
    }
    return sqrt(difference / size);
}

/* stile_eval and stile_logits, token by token, give the rows that stile_eval_rows gave. */
static void check_single_tokens(struct stile_model *model, const struct truth *truth, const float *logits)
{
    struct stile_session_options options = {.n_ctx = truth->n_tokens, .n_threads = 1, .kv_format = STILE_KV_F32};
    struct stile_session *session;
    struct stile_error error;
    must(stile_session_create(&session, model, &options, &error), &error);
    for (size_t t = 0; t < truth->n_tokens; t++) {
        must(stile_eval(session, truth->tokens + t, 1, &error), &error);
        assert_memory_equal(stile_logits(session), logits + t * truth->n_vocab, truth->n_vocab * sizeof *logits);
    }
    stile_session_free(session);
}

static void test_model(void **state)
{
    const char *name = *state;
    char path[PATH_BYTES];
    struct truth truth;
    struct stile_model *model;
    struct stile_error error;
    truth_read(&truth, name);
    snprintf(path, sizeof path, "%s/models/%s.gguf", golden_dir, name);
    must(stile_model_open(&model, path, &error), &error);
    assert_int_equal(stile_model_info(model)->n_vocab, truth.n_vocab);

    size_t size_bytes = (size_t)truth.n_tokens * truth.n_vocab * sizeof(float);
    float *whole = evaluate(model, &truth, STILE_KV_F32, 0, truth.n_tokens);
    float *batches = evaluate(model, &truth, STILE_KV_F32, 7, truth.n_tokens);
    float *calls = evaluate(model, &truth, STILE_KV_F32, 0, 7);
    float *half = evaluate(model, &truth, STILE_KV_F16, 0, truth.n_tokens);
    float *q8_0 = evaluate(model, &truth, STILE_KV_Q8_0, 0, truth.n_tokens);
    double max = error_max(&truth, whole), rms = error_rms(&truth, whole), rms_half = error_rms(&truth, half);
    double rms_q8_0 = error_rms(&truth, q8_0);
    printf(
        "%-20s F32 KV: max %.1e rms %.1e (int8 alone %.1e)   F16 KV: rms %.1e (F16 alone %.1e)   Q8_0 KV: rms %.1e\n",
        name, max, rms, truth.act_error, rms_half, truth.kv_error, rms_q8_0);

    if (truth.act_error == 0)
        assert_true(max <= tolerance_float);
    else
        assert_true(rms <= tolerance_rounding * truth.act_error);
    assert_true(rms_half <= tolerance_rounding * hypot(truth.kv_error, truth.act_error));
    assert_true(rms_q8_0 <= hypot(tolerance_q8_0, rms));
    assert_memory_equal(batches, whole, size_bytes);
    assert_memory_equal(calls, whole, size_bytes);
    check_single_tokens(model, &truth, whole);

    free(whole);
    free(batches);
    free(calls);
    free(half);
    free(q8_0);
    free(truth.tokens);
    free(truth.logits);
    stile_model_close(model);
}

/* One test for each NAME.truth; unused entries stay empty, which cmocka skips. */
static struct CMUnitTest tests[MODELS_MAX];

static int is_truth(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return n > 6 && strcmp(entry->d_name + n - 6, ".truth") == 0;
}

int main(int argc, char **argv)
{
    char folder[PATH_BYTES];
    struct dirent **entries;
    if (argc > 1) golden_dir = argv[1];
    snprintf(folder, sizeof folder, "%s/models", golden_dir);
    int n = scandir(folder, &entries, is_truth, alphasort);
    if (n <= 0 || n > MODELS_MAX) {
        fprintf(stderr, "%s: %d models where tests/golden/make_models.py puts them\n", folder, n);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        char *name = strndup(entries[i]->d_name, strlen(entries[i]->d_name) - 6);
        tests[i] = (struct CMUnitTest){name, test_model, NULL, NULL, name};
        free(entries[i]);
    }
    free(entries);
    int failed = cmocka_run_group_tests_name("run models", tests, NULL, NULL);
    for (int i = 0; i < n; i++)
        free(tests[i].initial_state);
    return failed;
}
