/* Importance matrices: both forms, experts that were never seen, and files that are wrong. */
#include "gguf_write.h"
#include "quantize/imatrix.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { COLS = 3, EXPERTS = 4 };

static void put_floats(struct gguf_write_tensor *tensor, const float *values, size_t n)
{
    tensor->data.n = 0;
    for (size_t i = 0; i < n; i++)
        gguf_put_f32(&tensor->data, values[i]);
}

static void write_pair(struct gguf_write *file, const char *name, uint64_t n_experts, const float *sums,
                       const float *counts)
{
    char full[64];
    snprintf(full, sizeof full, "%s.in_sum2", name);
    put_floats(gguf_write_tensor(file, full, 0, 2, (uint64_t[]){COLS, n_experts}), sums, COLS * n_experts);
    snprintf(full, sizeof full, "%s.counts", name);
    put_floats(gguf_write_tensor(file, full, 0, 2, (uint64_t[]){1, n_experts}), counts, n_experts);
}

/* A dense tensor, a mixture whose experts 1 and 3 were not seen, and one where none was. */
static void good_file(struct gguf_write *file)
{
    gguf_write_init(file);
    gguf_write_string(file, "general.type", "imatrix");
    gguf_write_u32(file, "imatrix.chunk_count", 7);
    gguf_write_u32(file, "imatrix.chunk_size", 512);
    struct gguf_write_kv *kv = gguf_write_array(file, "imatrix.datasets", GGUF_STRING, 1);
    gguf_put_string(&kv->value, "text.txt", 8);
    write_pair(file, "blk.0.attn_q.weight", 1, (float[]){2, 4, 6}, (float[]){2});
    write_pair(file, "blk.0.ffn_up_exps.weight", EXPERTS, (float[]){2, 4, 6, 0, 0, 0, 12, 0, 4, 0, 0, 0},
               (float[]){2, 0, 4, 0});
    write_pair(file, "blk.1.ffn_up_exps.weight", 2, (float[]){0, 0, 0, 0, 0, 0}, (float[]){0, 0});
}

static struct buffer legacy_file(void)
{
    struct buffer out = {0};
    gguf_put_u32(&out, 2);
    for (uint32_t i = 0; i < 2; i++) {
        gguf_put_u32(&out, 3);
        buffer_string(&out, i == 0 ? "b.w" : "a.w");
        gguf_put_u32(&out, 4 * (1 - i)); /* calls */
        gguf_put_u32(&out, COLS);
        for (int j = 0; j < COLS; j++)
            gguf_put_f32(&out, (float)(4 * j + 4));
    }
    gguf_put_u32(&out, 9);
    gguf_put_u32(&out, 4);
    buffer_string(&out, "text");
    return out;
}

static int open_buffer(struct imatrix **m, const struct buffer *bytes, struct stile_error *error)
{
    uint8_t *exact = malloc(bytes->n + (bytes->n == 0));
    assert_non_null(exact);
    if (bytes->n > 0) memcpy(exact, bytes->data, bytes->n);
    int failed = imatrix_open_bytes(m, "x.imatrix", exact, bytes->n, error);
    free(exact);
    return failed;
}

static void assert_means(const struct imatrix *m, const char *name, uint64_t n_experts, const float *means)
{
    const float *found = imatrix_find(m, name, COLS, n_experts);
    assert_non_null(found);
    for (uint64_t i = 0; i < COLS * n_experts; i++)
        assert_true(found[i] == means[i]);
}

static void test_gguf_form(void **state)
{
    (void)state;
    struct gguf_write file;
    struct buffer bytes = {0};
    struct imatrix *m;
    struct stile_error error = {0};
    char path[] = "/tmp/stile-test-XXXXXX";
    good_file(&file);
    gguf_write_finish(&file, &bytes);
    gguf_write_free(&file);
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, bytes.data, bytes.n) == (ssize_t)bytes.n);
    close(fd);
    assert_int_equal(imatrix_open(&m, path, &error), 0);
    unlink(path);
    buffer_free(&bytes);
    assert_int_equal(m->n_entries, 3);
    assert_int_equal(m->n_chunks, 7);
    assert_int_equal(m->chunk_tokens, 512);
    assert_string_equal(m->dataset, "text.txt");
    assert_means(m, "blk.0.attn_q.weight", 1, (float[]){1, 2, 3});
    assert_means(m, "blk.0.ffn_up_exps.weight", EXPERTS, (float[]){1, 2, 3, 2, 1, 2, 3, 0, 1, 2, 1, 2});
    assert_means(m, "blk.1.ffn_up_exps.weight", 2, (float[]){1, 1, 1, 1, 1, 1});
    assert_null(imatrix_find(m, "blk.0.attn_q.weight", COLS, 2));
    assert_null(imatrix_find(m, "blk.0.attn_q.weight", COLS + 1, 1));
    assert_null(imatrix_find(m, "blk.0.attn_k.weight", COLS, 1));
    imatrix_close(m);
}

static void test_legacy_form(void **state)
{
    (void)state;
    struct buffer bytes = legacy_file();
    struct imatrix *m;
    struct stile_error error = {0};
    assert_int_equal(open_buffer(&m, &bytes, &error), 0);
    assert_string_equal(m->entries[0].name, "a.w");
    assert_means(m, "b.w", 1, (float[]){1, 2, 3});
    assert_means(m, "a.w", 1, (float[]){4, 8, 12}); /* no calls: as they are */
    assert_int_equal(m->n_chunks, 9);
    assert_string_equal(m->dataset, "text");
    imatrix_close(m);
    buffer_free(&bytes);
}

static void expect_failure(const struct buffer *bytes, const char *message)
{
    struct imatrix *m = NULL;
    struct stile_error error = {0};
    assert_true(open_buffer(&m, bytes, &error) != 0);
    assert_null(m);
    if (!strstr(error.message, message)) fail_msg("\"%s\" does not say \"%s\"", error.message, message);
}

static void test_wrong_gguf(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        float value;
        const char *message;
    } cases[] = {
        {"blk.0.attn_q.weight.in_sum2", NAN, "no mean square"},
        {"blk.0.attn_q.weight.in_sum2", -1, "no mean square"},
        {"blk.0.attn_q.weight.in_sum2", INFINITY, "no mean square"},
        {"blk.0.attn_q.weight.counts", -1, "no count"},
        {"blk.0.attn_q.weight.counts", NAN, "no count"},
        {"blk.0.attn_q.weight.counts", 1e-45f, "no mean square"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gguf_write file;
        struct buffer bytes = {0};
        good_file(&file);
        struct gguf_write_tensor *tensor = gguf_write_get_tensor(&file, cases[i].tensor);
        memcpy(tensor->data.data, &cases[i].value, sizeof(float));
        gguf_write_finish(&file, &bytes);
        gguf_write_free(&file);
        expect_failure(&bytes, cases[i].message);
        buffer_free(&bytes);
    }
}

static void drop_counts(struct gguf_write *file)
{
    gguf_write_drop_tensor(file, "blk.0.attn_q.weight.counts");
}

static void wrong_counts(struct gguf_write *file)
{
    gguf_write_tensor(file, "blk.0.attn_q.weight.counts", 0, 2, (uint64_t[]){1, 2});
}

static void wrong_format(struct gguf_write *file)
{
    gguf_write_tensor(file, "blk.0.attn_q.weight.in_sum2", FORMAT_F16, 2, (uint64_t[]){COLS, 1});
}

static void wrong_type(struct gguf_write *file)
{
    gguf_write_string(file, "general.type", "model");
}

static void nothing_in_it(struct gguf_write *file)
{
    while (file->n_tensors > 0)
        gguf_write_drop_tensor(file, file->tensors[0].name);
}

static void test_other_gguf(void **state)
{
    (void)state;
    static const struct {
        void (*change)(struct gguf_write *file);
        const char *message;
    } cases[] = {
        {drop_counts, "has no 'blk.0.attn_q.weight.counts'"},
        {wrong_counts, "same number of matrices"},
        {wrong_format, "same number of matrices"},
        {wrong_type, "stile calibrate"},
        {nothing_in_it, "without a single entry"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gguf_write file;
        struct buffer bytes = {0};
        good_file(&file);
        cases[i].change(&file);
        gguf_write_finish(&file, &bytes);
        gguf_write_free(&file);
        expect_failure(&bytes, cases[i].message);
        buffer_free(&bytes);
    }
}

/* Every beginning of a file, and every byte of it changed: an error or means that can be used, nothing else. */
static void test_damaged_legacy(void **state)
{
    (void)state;
    struct buffer whole = legacy_file();
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t n = 0; n < whole.n; n++) {
        struct imatrix *m = NULL;
        struct buffer part = {.data = whole.data, .n = n};
        if (open_buffer(&m, &part, NULL) == 0) assert_int_equal(n, whole.n - 12); /* what follows is optional */
        imatrix_close(m);
        for (size_t i = 0; i < sizeof values; i++) {
            char before = whole.data[n];
            m = NULL;
            whole.data[n] = (char)values[i];
            if (open_buffer(&m, &whole, NULL) == 0)
                for (size_t e = 0; e < m->n_entries; e++)
                    for (uint64_t j = 0; j < m->entries[e].n; j++)
                        assert_true(isfinite(m->entries[e].means[j]) && m->entries[e].means[j] >= 0);
            imatrix_close(m);
            whole.data[n] = before;
        }
    }
    buffer_free(&whole);
    struct buffer text = {0};
    buffer_string(&text, "This is a text, not an importance matrix.");
    expect_failure(&text, "neither an importance matrix nor a GGUF file");
    buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf_form),  cmocka_unit_test(test_legacy_form),    cmocka_unit_test(test_wrong_gguf),
        cmocka_unit_test(test_other_gguf), cmocka_unit_test(test_damaged_legacy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
