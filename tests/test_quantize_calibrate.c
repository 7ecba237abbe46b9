/* Calibrating: what goes layer by layer gives the sums of the inputs that whole runs have, bit for bit, at any number of
 * threads; on SmolLM2 they are those of a float64 reference. */
#include "quantize/imatrix.h"
#include "run/kv.h"
#include "run/loaded.h"
#include "sanitized.h"
#include "tiny_model.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <jansson.h>

static char folder[] = "/tmp/stile_test_calibrate_XXXXXX";
static char path[64], path2[64];

enum { TEXT_BYTES = 3000 };
static char text[TEXT_BYTES + 1];

static void must(int code, const struct stile_error *error)
{
    if (code != 0) fail_msg("%s", error->message);
}

static void mixture(struct gguf_write *file)
{
    gguf_write_tiny_mixture(file);
    gguf_write_bool(file, "tokenizer.ggml.add_bos_token", true);
}

/* ---- the same by whole runs ---------------------------------------------------------------------- */

enum { SUMS_MAX = TINY_EXPERTS * 64, TENSORS_MAX = 32 };

struct seen {
    size_t n;
    struct seen_tensor {
        const struct weight *weight;
        double sums[SUMS_MAX];
        uint64_t counts[TINY_EXPERTS];
    } tensors[TENSORS_MAX];
};

static void see(void *user, const struct op *op, size_t expert, const float *values, const uint32_t *rows,
                size_t n_rows, int i_thread, int n_threads)
{
    struct seen *seen = user;
    size_t i = 0, cols = op->weight->cols;
    (void)n_threads;
    if (i_thread != 0) return;
    while (i < seen->n && seen->tensors[i].weight != op->weight)
        i++;
    if (i == seen->n) {
        assert_true(seen->n < TENSORS_MAX && cols * (op->weight->n_experts + 1) <= SUMS_MAX);
        seen->tensors[seen->n++].weight = op->weight;
    }
    struct seen_tensor *tensor = &seen->tensors[i];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t j = 0; j < cols; j++) {
            double x = (double)values[(rows ? rows[r] : r) * cols + j];
            tensor->sums[expert * cols + j] += x * x;
        }
    tensor->counts[expert] += n_rows;
}

/* Windows of n_ctx, evaluated n_batch tokens at a time. */
static struct seen *see_all(const struct stile_model *model, uint32_t n_ctx, uint32_t n_batch, uint32_t *n_windows)
{
    static struct seen seen;
    struct cpu_observer observer = {.user = &seen, .see = see};
    struct cpu_options options = {.kernels = kernel_select(NULL),
                                  .n_threads = 2,
                                  .n_batch = n_batch,
                                  .n_ctx = n_ctx,
                                  .kv_format = FORMAT_F16,
                                  .observer = &observer};
    struct stile_error error;
    struct cpu *cpu;
    struct kv kv;
    int32_t *tokens;
    size_t n_tokens;
    float *logits = calloc((size_t)n_batch * TINY_VOCAB, sizeof *logits);
    memset(&seen, 0, sizeof seen);
    must(stile_tokenize(model, text, TEXT_BYTES, STILE_ADD_SPECIAL, &tokens, &n_tokens, &error), &error);
    must(cpu_create(&cpu, model->program, &options, &error), &error);
    must(kv_create(&kv, &model->model->hparams, n_ctx, n_batch, FORMAT_F16, &error), &error);
    for (size_t i = 0; (i + 1) * n_ctx <= n_tokens; i++) {
        if (tokenizer_adds_bos(model->tokenizer)) tokens[i * n_ctx] = tokenizer_bos(model->tokenizer);
        for (uint32_t at = 0, n; at < n_ctx; at += n) {
            n = n_ctx - at < n_batch ? n_ctx - at : n_batch;
            struct cpu_batch batch = {.tokens = tokens + i * n_ctx + at,
                                      .n_tokens = n,
                                      .position = at,
                                      .n_selected = n,
                                      .logits = logits,
                                      .kv = kv.layers};
            must(cpu_run(cpu, &batch, &error), &error);
        }
        *n_windows = (uint32_t)i + 1;
    }
    kv_free(&kv);
    cpu_free(cpu);
    stile_free(tokens);
    free(logits);
    return &seen;
}

static void assert_tensor(const struct gguf *file, const struct seen_tensor *expected)
{
    char name[96];
    const struct weight *weight = expected->weight;
    uint64_t n_experts = weight->n_experts > 0 ? weight->n_experts : 1;
    snprintf(name, sizeof name, "%s.in_sum2", weight->tensor->name);
    const struct gguf_tensor *sums = gguf_find_tensor(file, name);
    snprintf(name, sizeof name, "%s.counts", weight->tensor->name);
    const struct gguf_tensor *counts = gguf_find_tensor(file, name);
    assert_true(sums && counts);
    assert_int_equal(sums->dims[0], weight->cols);
    assert_int_equal(sums->dims[1], n_experts);
    assert_int_equal(counts->dims[1], n_experts);
    for (uint64_t i = 0; i < weight->cols * n_experts; i++)
        assert_true(((const float *)sums->data)[i] == (float)expected->sums[i]);
    for (uint64_t e = 0; e < n_experts; e++)
        assert_true(((const float *)counts->data)[e] == (float)expected->counts[e]);
}

static void compare_with_whole_runs(void (*change)(struct gguf_write *file), uint32_t n_ctx, uint32_t n_batch,
                                    size_t n_tensors)
{
    struct stile_calibrate_options options = {.n_ctx = n_ctx, .n_threads = 3, .text_name = "made up"};
    struct stile_calibration found;
    struct stile_error error;
    struct stile_model *model;
    struct gguf *file;
    struct imatrix *imatrix;
    uint32_t n_windows = 0;
    must(tiny_open(&model, change, &error), &error);
    must(stile_calibrate(model, text, TEXT_BYTES, path, &options, &found, &error), &error);
    const struct seen *seen = see_all(model, n_ctx, n_batch, &n_windows);
    assert_int_equal(seen->n, n_tensors);
    assert_int_equal(found.n_tensors, n_tensors);
    assert_int_equal(found.n_chunks, n_windows);
    must(gguf_open(&file, path, &error), &error);
    for (size_t i = 0; i < seen->n; i++)
        assert_tensor(file, &seen->tensors[i]);
    gguf_close(file);
    must(imatrix_open(&imatrix, path, &error), &error);
    assert_int_equal(imatrix->n_entries, n_tensors);
    assert_int_equal(imatrix->n_chunks, n_windows);
    assert_int_equal(imatrix->chunk_tokens, n_ctx);
    assert_string_equal(imatrix->dataset, "made up");
    assert_non_null(imatrix_find(imatrix, "blk.0.attn_q.weight", TINY_WIDTH, 1));
    imatrix_close(imatrix);
    stile_model_close(model);
}

static void test_whole_runs(void **state)
{
    (void)state;
    compare_with_whole_runs(NULL, 40, 7, 8);
    compare_with_whole_runs(NULL, 513, 100, 8); /* of batches of 512, one token is left over */
    compare_with_whole_runs(mixture, 40, 9, 9);
    compare_with_whole_runs(mixture, 513, 9, 9);
    compare_with_whole_runs(tiny_gemma3, 40, 7, 15);
}

/* ---- the same bytes, and errors ------------------------------------------------------------------- */

static struct buffer read_file(const char *name)
{
    struct buffer bytes = {0};
    char chunk[4096];
    size_t n;
    FILE *file = fopen(name, "rb");
    assert_non_null(file);
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0)
        buffer_add(&bytes, chunk, n);
    fclose(file);
    return bytes;
}

static void test_threads(void **state)
{
    (void)state;
    struct stile_calibrate_options one = {.n_ctx = 100, .n_threads = 1, .isa = "scalar"},
                                   five = {.n_ctx = 100, .n_threads = 5};
    struct stile_error error;
    struct stile_model *model;
    must(tiny_open(&model, mixture, &error), &error);
    must(stile_calibrate(model, text, TEXT_BYTES, path, &one, NULL, &error), &error);
    must(stile_calibrate(model, text, TEXT_BYTES, path2, &five, NULL, &error), &error);
    struct buffer a = read_file(path), b = read_file(path2);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.data, b.data, a.n);
    buffer_free(&a);
    buffer_free(&b);
    stile_model_close(model);
}

static size_t count_files(void)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static volatile int cancel;

static void cancel_halfway(void *user, double share)
{
    (void)user;
    cancel = share > 0.5;
}

static void infinite(struct gguf_write *file)
{
    struct gguf_write_tensor *norm = gguf_write_get_tensor(file, "blk.0.attn_norm.weight");
    for (size_t i = 0; i < TINY_WIDTH; i++)
        memcpy(norm->data.data + 4 * i, &(float){3e38f}, 4);
}

static void test_errors(void **state)
{
    (void)state;
    struct stile_calibrate_options options = {.n_ctx = 100, .cancel = &cancel, .on_progress = cancel_halfway};
    struct stile_calibration found = {.n_chunks = 77};
    struct stile_error error;
    struct stile_model *model;
    unlink(path);
    unlink(path2);
    must(tiny_open(&model, NULL, &error), &error);
    assert_int_equal(stile_calibrate(model, text, TEXT_BYTES, path, &options, &found, &error), STILE_ERROR_CANCELLED);
    cancel = 0;
    options.on_progress = NULL;
    assert_int_equal(stile_calibrate(model, "short", 5, path, &options, &found, &error), STILE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "less than one window of 100"));
    options.isa = "none";
    assert_int_equal(stile_calibrate(model, text, TEXT_BYTES, path, &options, &found, &error), STILE_ERROR_ARGUMENT);
    options.isa = NULL;
    assert_int_equal(stile_calibrate(model, text, TEXT_BYTES, "/none/x.gguf", &options, &found, &error),
                     STILE_ERROR_IO);
    stile_model_close(model);
    must(tiny_open(&model, infinite, &error), &error);
    assert_int_equal(stile_calibrate(model, text, TEXT_BYTES, path, &options, &found, &error), STILE_ERROR_MALFORMED);
    stile_model_close(model);
    assert_int_equal(found.n_chunks, 77);
    assert_int_equal(count_files(), 0);
}

/* ---- SmolLM2 -------------------------------------------------------------------------------------- */

/* Activations of 8 bits, against float64. */
static void test_smollm2(void **state)
{
    (void)state;
    static const double total_tolerance = 0.02, column_tolerance = 0.15;
    struct stile_calibrate_options options = {0};
    struct stile_calibration found;
    struct stile_error error;
    struct stile_model *model;
    struct imatrix *imatrix;
    json_t *golden = json_load_file("tests/golden/smollm2_inputs.json", 0, NULL), *sums;
    const char *name, *golden_text = json_string_value(json_object_get(golden, "text"));
    assert_non_null(golden_text);
    if (stile_model_open(&model, "smollm2", &error) != 0) {
        printf("skipped: %s\n", error.message);
        json_decref(golden);
        return;
    }
    options.n_ctx = (uint32_t)json_integer_value(json_object_get(golden, "n_ctx"));
    must(stile_calibrate(model, golden_text, strlen(golden_text), path, &options, &found, &error), &error);
    assert_int_equal(found.n_chunks, json_integer_value(json_object_get(golden, "n_chunks")));
    assert_int_equal(found.n_tensors, json_object_size(json_object_get(golden, "tensors")));
    must(imatrix_open(&imatrix, path, &error), &error);
    double n_tokens = found.n_chunks * found.n_ctx, worst = 0;
    json_object_foreach(json_object_get(golden, "tensors"), name, sums)
    {
        uint64_t cols = strstr(name, "ffn_down") ? 1536 : 576;
        const float *means = imatrix_find(imatrix, name, cols, 1);
        double total = 0, expected = json_real_value(json_array_get(sums, 0));
        assert_non_null(means);
        for (uint64_t j = 0; j < cols; j++)
            total += (double)means[j] * n_tokens;
        if (fabs(total / expected - 1) > worst) worst = fabs(total / expected - 1);
        for (size_t j = 1; j < json_array_size(sums); j++) {
            double column = json_real_value(json_array_get(sums, j));
            if (!(fabs((double)means[j - 1] * n_tokens / column - 1) < column_tolerance))
                fail_msg("%s, column %zu: %g instead of %g", name, j - 1, (double)means[j - 1] * n_tokens, column);
        }
    }
    printf("sums of squares differ from float64 by at most %.2f%%\n", 100 * worst);
    assert_true(worst < total_tolerance);
    imatrix_close(imatrix);
    stile_model_close(model);
    json_decref(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_runs),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_smollm2),
    };
    for (size_t i = 0; i < TEXT_BYTES; i++)
        text[i] = (char)("etaoin shrdlu,\n"[(i * i / 7 + i / 11) % 15]);
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/a.gguf", folder);
    snprintf(path2, sizeof path2, "%s/b.gguf", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    unlink(path2);
    rmdir(folder);
    return failed;
}
