/* The second-order method: its moments and their factor against plain sums, the loss it is there to lower, and files of it,
 * which are the same at any number of threads. */
#include "format/decode.h"
#include "format/encode.h"
#include "quantize/round.h"
#include "tiny_model.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void must(int code, const struct stile_error *error)
{
    if (code != 0) fail_msg("%s", error->message);
}

static uint64_t state;

/* About normal. */
static float random_float(void)
{
    double sum = 0;
    for (int i = 0; i < 6; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(state >> 40) / (1 << 24) - 0.5;
    }
    return (float)sum;
}

/* Inputs as models have them: neighbours go together, a few columns are much larger. */
static float *random_inputs(size_t n, size_t cols)
{
    float *x = calloc(n * cols, sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        float common[3] = {random_float(), random_float(), random_float()};
        for (size_t j = 0; j < cols; j++)
            x[i * cols + j] = (random_float() + common[j % 3] + common[j / 7 % 3]) * (j % 29 == 3 ? 8 : 1);
    }
    return x;
}

/* ---- moments ------------------------------------------------------------------------------------- */

enum { COLS = 200, TOKENS = 300, BATCH = 128 };

static void see_all(struct moments *m, const float *x, size_t n, size_t cols, int n_threads)
{
    struct weight weight = {.cols = cols};
    struct op op = {.weight = &weight};
    for (size_t at = 0; at < n; at += BATCH) {
        size_t n_rows = n - at < BATCH ? n - at : BATCH;
        for (int i = 0; i < n_threads; i++) {
            moments_see(m, &op, 0, x + at * cols, NULL, n_rows, i, n_threads);
            moments_see(m, &op, 7, x, NULL, 5, i, n_threads); /* nobody asked for this expert */
        }
        moments_add(m);
    }
}

static void get_feedback(struct feedback *feedback, const float *x, size_t n, size_t cols, double damping,
                         int n_threads, const char *isa)
{
    struct stile_error error;
    struct threads *threads;
    struct moments *m;
    must(threads_create(&threads, n_threads, &error), &error);
    must(moments_create(&m, cols, 0, 1, BATCH, threads, kernel_select(isa), &error), &error);
    see_all(m, x, n, cols, n_threads);
    assert_int_equal(moments_count(m, 0), n);
    must(moments_factor(m, 0, damping, feedback, &error), &error);
    moments_free(m);
    threads_free(threads);
}

/* What the rows and worths stand for: H + damping = (I + F)^T diag(worth) (I + F), F the feedback by row. */
static double product_at(const struct feedback *f, size_t i, size_t j)
{
    double sum = 0;
    for (size_t k = i > j ? i : j; k < f->cols; k++) {
        double a = k == i ? 1 : (double)f->rows[k * f->stride + i], b = k == j ? 1 : (double)f->rows[k * f->stride + j];
        sum += a * b * (double)f->worth[k];
    }
    return sum;
}

static void test_factor(void **unused)
{
    (void)unused;
    static const double damping = 0.01;
    float *x = random_inputs(TOKENS, COLS);
    static double h[COLS][COLS];
    struct feedback f, other;
    memset(h, 0, sizeof h);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < COLS; i++)
            for (size_t j = 0; j < COLS; j++)
                h[i][j] += (double)x[t * COLS + i] * (double)x[t * COLS + j];
    get_feedback(&f, x, TOKENS, COLS, damping, 2, NULL);
    for (size_t i = 0; i < COLS; i++) {
        h[i][i] *= 1 + damping;
        for (size_t j = 0; j < COLS; j++) {
            double tolerance = 1e-4 * sqrt(h[i][i] * h[j][j]);
            if (!(fabs(product_at(&f, i, j) - h[i][j]) < tolerance))
                fail_msg("(%zu, %zu): %g instead of %g", i, j, product_at(&f, i, j), h[i][j]);
        }
    }
    get_feedback(&other, x, TOKENS, COLS, damping, 5, "scalar");
    assert_memory_equal(f.rows, other.rows, COLS * f.stride * sizeof(float));
    assert_memory_equal(f.worth, other.worth, COLS * sizeof(float));
    feedback_free(&f);
    feedback_free(&other);
    free(x);
}

/* Of an expert that nobody chose: plain rounding. */
static void test_nothing_seen(void **unused)
{
    (void)unused;
    struct feedback f;
    get_feedback(&f, NULL, 0, COLS, 0.01, 1, NULL);
    for (size_t k = 0; k < COLS; k++) {
        assert_true(f.worth[k] == f.worth[0] && f.worth[k] > 0);
        for (size_t j = 0; j < f.stride; j++)
            assert_true(f.rows[k * f.stride + j] == 0);
    }
    feedback_free(&f);
}

/* ---- the loss ------------------------------------------------------------------------------------ */

enum { WIDE = 512, ROWS = 70, TEXT_TOKENS = 1500 };

/* Sum over the inputs of the squared error of the outputs. */
static double loss_of(enum format format, const float *w, const uint8_t *data, size_t row_bytes, float scale,
                      const float *x)
{
    double loss = 0;
    float e[WIDE];
    for (size_t row = 0; row < ROWS; row++) {
        format_decode(format, data + row * row_bytes, WIDE, e);
        for (size_t j = 0; j < WIDE; j++)
            e[j] = w[row * WIDE + j] - scale * e[j];
        for (size_t t = 0; t < TEXT_TOKENS; t += 4) {
            double sum = 0;
            for (size_t j = 0; j < WIDE; j++)
                sum += (double)e[j] * (double)x[t * WIDE + j];
            loss += sum * sum;
        }
    }
    return loss;
}

static void compare_loss(enum format format, const float *w, const float *x, const struct feedback *feedback,
                         struct threads *threads, double most)
{
    struct gguf gguf = {.path = "made up"};
    struct gguf_tensor in = {
        .format = FORMAT_F32, .dims = {WIDE, ROWS, 1, 1}, .size_bytes = ROWS * WIDE * sizeof *w, .data = w};
    struct weight weight = {.scale = 1};
    struct model model = {.gguf = &gguf};
    struct table table = {.model = &model};
    struct table_tensor t = {
        .name = "w", .in = &in, .weight = &weight, .format = format, .rows = ROWS, .cols = WIDE, .n_experts = 1};
    struct stile_error error;
    uint64_t row_bytes;
    float importance[WIDE] = {0}, scale = 1;
    assert_true(format_row_bytes(format, WIDE, &row_bytes));
    t.size_bytes = ROWS * row_bytes;
    uint8_t *plain = malloc(t.size_bytes), *rounded = malloc(t.size_bytes);
    assert_true(plain && rounded);
    for (size_t i = 0; i < TEXT_TOKENS * WIDE; i++)
        importance[i % WIDE] += x[i] * x[i];
    if (format == FORMAT_NVFP4) must(round_find_scale(&table, &t, 0, &scale, &error), &error);
    for (size_t row = 0; row < ROWS; row++) {
        float scaled[WIDE];
        for (size_t j = 0; j < WIDE; j++)
            scaled[j] = w[row * WIDE + j] / scale;
        format_encode(format, scaled, WIDE, importance, plain + row * row_bytes);
    }
    must(round_rows(&table, &t, 0, feedback, scale, rounded, threads, kernel_select(NULL), &error), &error);
    double before = loss_of(format, w, plain, row_bytes, scale, x),
           after = loss_of(format, w, rounded, row_bytes, scale, x);
    printf("%-8s %.3f of the plain loss\n", format_info(format)->name, after / before);
    assert_true(after < most * before);
    free(plain);
    free(rounded);
}

static void test_loss(void **unused)
{
    (void)unused;
    static const struct {
        enum format format;
        double most;
    } cases[] = {
        {FORMAT_Q4_0, 0.8},   {FORMAT_Q4_1, 0.8},   {FORMAT_Q5_0, 0.8},  {FORMAT_Q8_0, 0.8},
        {FORMAT_Q2_K, 0.8},   {FORMAT_Q3_K, 0.8},   {FORMAT_Q4_K, 0.8},  {FORMAT_Q6_K, 0.8},
        {FORMAT_IQ4_NL, 0.8}, {FORMAT_IQ4_XS, 0.8}, {FORMAT_MXFP4, 0.8}, {FORMAT_NVFP4, 0.8},
    };
    struct feedback feedback;
    struct stile_error error;
    struct threads *threads;
    float *x = random_inputs(TEXT_TOKENS, WIDE), *w = calloc((size_t)ROWS * WIDE, sizeof *w);
    assert_non_null(w);
    for (size_t i = 0; i < (size_t)ROWS * WIDE; i++)
        w[i] = 0.02f * random_float();
    get_feedback(&feedback, x, TEXT_TOKENS, WIDE, 0.01, 2, NULL);
    must(threads_create(&threads, 2, &error), &error);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        compare_loss(cases[i].format, w, x, &feedback, threads, cases[i].most);
    threads_free(threads);
    feedback_free(&feedback);
    free(x);
    free(w);
}

/* ---- files --------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/stile_test_gptq_XXXXXX";
static char text[3000];

static struct buffer make(void (*change)(struct gguf_write *file), const struct stile_quantize_options *options,
                          int expected)
{
    struct buffer bytes = {0};
    struct stile_error error;
    struct stile_model *model;
    char path[64], chunk[4096];
    size_t n;
    snprintf(path, sizeof path, "%s/out.gguf", folder);
    must(tiny_open(&model, change, &error), &error);
    int failed = stile_quantize(model, path, options, NULL, &error);
    stile_model_close(model);
    assert_int_equal(failed, expected);
    if (failed) return bytes;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0)
        buffer_add(&bytes, chunk, n);
    fclose(file);
    must(stile_model_open(&model, path, &error), &error);
    stile_model_close(model);
    return bytes;
}

static struct stile_quantize_options gptq_options(uint32_t n_threads)
{
    return (struct stile_quantize_options){.format = "q4_0",
                                           .method = "gptq",
                                           .text = text,
                                           .n_text_bytes = sizeof text,
                                           .n_threads = n_threads,
                                           .force = true};
}

static void check_file(void (*change)(struct gguf_write *file))
{
    struct stile_quantize_options options = gptq_options(1);
    struct buffer one = make(change, &options, 0), more, plain;
    options.n_threads = 3;
    more = make(change, &options, 0);
    options.method = NULL;
    plain = make(change, &options, 0);
    assert_int_equal(one.n, more.n);
    assert_memory_equal(one.data, more.data, one.n);
    assert_int_equal(one.n, plain.n); /* the same tensors in the same formats, with other codes */
    assert_true(memcmp(one.data, plain.data, one.n) != 0);
    buffer_free(&one);
    buffer_free(&more);
    buffer_free(&plain);
}

static void test_files(void **unused)
{
    (void)unused;
    check_file(NULL);
    check_file(gguf_write_tiny_mixture);
    check_file(tiny_gemma3);
}

static volatile int cancel;

static void cancel_soon(void *user, uint64_t n_done, uint64_t n_total)
{
    (void)user;
    cancel = n_done > n_total / 4;
}

static void test_errors(void **unused)
{
    (void)unused;
    struct stile_quantize_options options = gptq_options(2);
    char path[64];
    snprintf(path, sizeof path, "%s/out.gguf", folder);
    unlink(path);
    options.cancel = &cancel;
    options.on_progress = cancel_soon;
    make(NULL, &options, STILE_ERROR_CANCELLED);
    options.on_progress = NULL;
    cancel = 0;
    options.n_text_bytes = 10;
    make(NULL, &options, STILE_ERROR_ARGUMENT);
    options.n_text_bytes = sizeof text;
    options.method = "none";
    make(NULL, &options, STILE_ERROR_ARGUMENT);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.') fail_msg("%s is left", entry->d_name);
    closedir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_factor), cmocka_unit_test(test_nothing_seen), cmocka_unit_test(test_loss),
        cmocka_unit_test(test_files),  cmocka_unit_test(test_errors),
    };
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "etaoin shrdlu,\n"[(i * i / 7 + i / 11) % 15];
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char path[64];
    snprintf(path, sizeof path, "%s/out.gguf", folder);
    unlink(path);
    rmdir(folder);
    return failed;
}
