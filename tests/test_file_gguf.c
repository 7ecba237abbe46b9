/* The GGUF reader: what right files give. For wrong ones see test_file_hostile.c. */
#include "file/gguf.h"
#include "gguf_write.h"
#include "hostile.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/stile_test_gguf_XXXXXX";

static void path_in_folder(char path[256], const char *name)
{
    snprintf(path, 256, "%s/%s", folder, name);
}

static void write_file(const char *path, const struct buffer *bytes)
{
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes->data, 1, bytes->n, out), bytes->n);
    assert_int_equal(fclose(out), 0);
}

static void remove_set(const struct hostile_set *set)
{
    char path[256];
    for (size_t i = 0; i < set->n_files; i++) {
        path_in_folder(path, set->files[i].name);
        unlink(path);
    }
}

static void rich_file(struct gguf_write *file)
{
    static const uint64_t dims[] = {64, 3};
    gguf_write_init(file);
    gguf_write_string(file, "text", "hello");
    gguf_write_string(file, "empty", "");
    gguf_put_string(&gguf_write_key(file, "nul", GGUF_STRING)->value, "a\0b", 3);
    gguf_write_u32(file, "u32", 4000000000u);
    gguf_write_i32(file, "i32", -5);
    gguf_write_u64(file, "u64", UINT64_MAX);
    gguf_put_u64(&gguf_write_key(file, "i64", GGUF_I64)->value, (uint64_t)-6);
    buffer_char(&gguf_write_key(file, "u8", GGUF_U8)->value, (char)200);
    buffer_char(&gguf_write_key(file, "i8", GGUF_I8)->value, (char)-3);
    buffer_add(&gguf_write_key(file, "u16", GGUF_U16)->value, "\xff\xff", 2);
    buffer_add(&gguf_write_key(file, "i16", GGUF_I16)->value, "\xfe\xff", 2);
    gguf_write_bool(file, "yes", true);
    buffer_char(&gguf_write_key(file, "also yes", GGUF_BOOL)->value, 2);
    gguf_write_bool(file, "no", false);
    gguf_write_f32(file, "f32", 0.5f);
    gguf_write_f32(file, "nan", NAN);
    gguf_write_f32(file, "inf", -INFINITY);
    double wide[] = {0.25, 1e300};
    buffer_add(&gguf_write_key(file, "f64", GGUF_F64)->value, &wide[0], 8);
    buffer_add(&gguf_write_key(file, "f64 large", GGUF_F64)->value, &wide[1], 8);
    struct gguf_write_kv *kv = gguf_write_array(file, "strings", GGUF_STRING, 3);
    gguf_put_string(&kv->value, "one", 3);
    gguf_put_string(&kv->value, "", 0);
    gguf_put_string(&kv->value, "t\0o", 3);
    kv = gguf_write_array(file, "numbers", GGUF_I32, 2);
    gguf_put_u32(&kv->value, (uint32_t)-1);
    gguf_put_u32(&kv->value, 2);
    gguf_write_tensor(file, "one", FORMAT_Q8_0, 2, dims);
    gguf_write_floats(file, "two", 2, dims, 0, 1);
}

static struct gguf *open_written(struct gguf_write *file, struct buffer *bytes)
{
    struct gguf *gguf = NULL;
    struct stile_error error = {0};
    gguf_write_finish(file, bytes);
    if (gguf_open_bytes(&gguf, (const uint8_t *)bytes->data, bytes->n, &error) != 0) fail_msg("%s", error.message);
    return gguf;
}

static void integers(const struct gguf *gguf)
{
    static const struct {
        const char *key;
        uint64_t value;
    } right[] = {{"u32", 4000000000u}, {"u64", UINT64_MAX}, {"u8", 200}, {"u16", 65535}, {"missing", 77}};
    static const char *const wrong[] = {"i32", "i64", "i8", "i16", "text", "f32", "yes", "numbers"};
    struct stile_error error = {0};
    uint64_t value;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        value = 77;
        assert_int_equal(gguf_get_u64(gguf, right[i].key, 0, UINT64_MAX, &value, &error), 0);
        assert_true(value == right[i].value);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        value = 77;
        assert_int_equal(gguf_get_u64(gguf, wrong[i], 0, UINT64_MAX, &value, &error), STILE_ERROR_MALFORMED);
        assert_non_null(strstr(error.message, wrong[i]));
        assert_non_null(strstr(error.message, "(memory): offset "));
        assert_true(value == 77);
    }
    assert_int_equal(gguf_get_u64(gguf, "u8", 200, 200, &value, &error), 0);
    assert_int_equal(gguf_get_u64(gguf, "u8", 201, 300, &value, &error), STILE_ERROR_MALFORMED);
    assert_non_null(strstr(error.message, "'u8' is 200, not in 201..300"));
    assert_int_equal(gguf_get_u64(gguf, "u8", 0, 199, &value, &error), STILE_ERROR_MALFORMED);
    assert_int_equal(gguf_get_u64(gguf, "u64", 0, 5, &value, &error), STILE_ERROR_MALFORMED);
}

static void getters(void **state)
{
    struct gguf_write file;
    struct buffer bytes = {0};
    struct stile_error error = {0};
    float f = 9;
    bool b = false;
    const char *text = "unset";
    (void)state;
    rich_file(&file);
    struct gguf *gguf = open_written(&file, &bytes);
    integers(gguf);
    assert_int_equal(gguf_get_f32(gguf, "missing", &f, &error), 0);
    assert_true(f == 9);
    assert_int_equal(gguf_get_f32(gguf, "f32", &f, &error), 0);
    assert_true(f == 0.5f);
    assert_int_equal(gguf_get_f32(gguf, "f64", &f, &error), 0);
    assert_true(f == 0.25f);
    static const char *const not_floats[] = {"nan", "inf", "f64 large", "u32", "text", "numbers"};
    for (size_t i = 0; i < sizeof not_floats / sizeof *not_floats; i++)
        assert_int_equal(gguf_get_f32(gguf, not_floats[i], &f, &error), STILE_ERROR_MALFORMED);
    assert_true(f == 0.25f);
    assert_int_equal(gguf_get_bool(gguf, "yes", &b, &error), 0);
    assert_true(b);
    assert_int_equal(gguf_get_bool(gguf, "no", &b, &error), 0);
    assert_false(b);
    assert_int_equal(gguf_get_bool(gguf, "also yes", &b, &error), 0);
    assert_true(b);
    assert_int_equal(gguf_get_bool(gguf, "u8", &b, &error), STILE_ERROR_MALFORMED);
    assert_int_equal(gguf_get_string(gguf, "missing", &text, &error), 0);
    assert_string_equal(text, "unset");
    assert_int_equal(gguf_get_string(gguf, "text", &text, &error), 0);
    assert_string_equal(text, "hello");
    assert_int_equal(gguf_get_string(gguf, "nul", &text, &error), STILE_ERROR_MALFORMED);
    assert_int_equal(gguf_get_string(gguf, "strings", &text, &error), STILE_ERROR_MALFORMED);
    assert_string_equal(text, "hello");
    assert_int_equal(gguf_get_string(gguf, "empty", &text, &error), 0);
    assert_string_equal(text, "");
    gguf_close(gguf);
    gguf_write_free(&file);
    buffer_free(&bytes);
}

static void elements(void **state)
{
    struct gguf_write file;
    struct buffer bytes = {0};
    struct gguf_string string;
    int64_t i = 0;
    double d = 0;
    (void)state;
    rich_file(&file);
    struct gguf *gguf = open_written(&file, &bytes);
    const struct gguf_kv *kv = gguf_find(gguf, "numbers");
    assert_true(kv->type == GGUF_ARRAY && kv->element == GGUF_I32 && kv->n == 2 && kv->size_bytes == 8);
    assert_true(gguf_element_i64(kv, 0, &i) && i == -1);
    assert_true(gguf_element_i64(kv, 1, &i) && i == 2);
    assert_false(gguf_element_i64(kv, 2, &i));
    assert_false(gguf_element_f64(kv, 0, &d));
    static const struct {
        const char *key;
        int64_t value;
    } signed_ones[] = {{"i8", -3}, {"i16", -2}, {"i32", -5}, {"i64", -6}, {"u32", 4000000000}, {"yes", 1}};
    for (size_t k = 0; k < sizeof signed_ones / sizeof *signed_ones; k++)
        assert_true(gguf_element_i64(gguf_find(gguf, signed_ones[k].key), 0, &i) && i == signed_ones[k].value);
    assert_false(gguf_element_i64(gguf_find(gguf, "u64"), 0, &i));
    assert_false(gguf_element_i64(gguf_find(gguf, "text"), 0, &i));
    assert_true(gguf_element_f64(gguf_find(gguf, "f64 large"), 0, &d) && d == 1e300);
    assert_true(gguf_element_f64(gguf_find(gguf, "nan"), 0, &d) && isnan(d));
    struct gguf_strings strings = gguf_strings(gguf_find(gguf, "strings"));
    assert_true(gguf_strings_next(&strings, &string) && string.n == 3 && memcmp(string.bytes, "one", 3) == 0);
    assert_true(gguf_strings_next(&strings, &string) && string.n == 0);
    assert_true(gguf_strings_next(&strings, &string) && string.n == 3 && memcmp(string.bytes, "t\0o", 3) == 0);
    assert_false(gguf_strings_next(&strings, &string));
    strings = gguf_strings(gguf_find(gguf, "text"));
    assert_true(gguf_strings_next(&strings, &string) && string.n == 5);
    assert_false(gguf_strings_next(&strings, &string));
    strings = gguf_strings(kv);
    assert_false(gguf_strings_next(&strings, &string));
    gguf_close(gguf);
    gguf_write_free(&file);
    buffer_free(&bytes);
}

static void check_tensor(const struct gguf *gguf, const struct gguf_write *file, size_t i)
{
    const struct gguf_write_tensor *wrote = &file->tensors[i];
    const struct gguf_tensor *tensor = gguf_find_tensor(gguf, wrote->name);
    assert_ptr_equal(tensor, &gguf->tensors[i]);
    assert_string_equal(tensor->name, wrote->name);
    assert_int_equal(tensor->format, wrote->format);
    assert_int_equal(tensor->n_dims, wrote->n_dims);
    uint64_t n = 1;
    for (uint32_t d = 0; d < 4; d++) {
        assert_true(tensor->dims[d] == (d < wrote->n_dims ? wrote->dims[d] : 1));
        n *= tensor->dims[d];
    }
    assert_true(tensor->n_elements == n);
    assert_true(tensor->size_bytes == wrote->data.n);
    assert_true(tensor->offset_bytes == file->data_at + wrote->offset);
    assert_memory_equal(tensor->data, wrote->data.data, wrote->data.n);
}

static void tensors(void **state)
{
    struct gguf_write file;
    struct buffer bytes = {0};
    (void)state;
    gguf_write_tiny_model(&file);
    struct gguf *gguf = open_written(&file, &bytes);
    assert_int_equal(gguf->n_tensors, file.n_tensors);
    assert_int_equal(gguf->n_kv, file.n_kv);
    assert_int_equal(gguf->version, 3);
    assert_int_equal(gguf->n_shards, 1);
    for (size_t i = 0; i < file.n_tensors; i++)
        check_tensor(gguf, &file, i);
    for (size_t i = 0; i < file.n_kv; i++) {
        const struct gguf_kv *kv = gguf_find(gguf, file.kv[i].key);
        assert_ptr_equal(kv, &gguf->kv[i]);
        size_t head = kv->type == GGUF_ARRAY ? 12 : 0;
        assert_true(kv->size_bytes == file.kv[i].value.n - head);
        assert_memory_equal(kv->data, file.kv[i].value.data + head, kv->size_bytes);
    }
    assert_null(gguf_find(gguf, ""));
    assert_null(gguf_find(gguf, "llama.block"));
    assert_null(gguf_find_tensor(gguf, "blk.0"));
    assert_int_equal(gguf_check_maps(gguf, NULL), 0);
    gguf_close(gguf);
    gguf_write_free(&file);
    buffer_free(&bytes);
}

/* Any file of a set opens the same whole. */
static void shards(void **state)
{
    struct hostile_set set;
    char path[4096];
    (void)state;
    hostile_build_named("right-set", &set);
    hostile_write(&set, folder, path, sizeof path);
    for (size_t f = 0; f < set.n_files; f++) {
        struct gguf *gguf = NULL;
        struct stile_error error = {0};
        path_in_folder(path, set.files[f].name);
        if (gguf_open(&gguf, path, &error) != 0) fail_msg("%s", error.message);
        assert_string_equal(gguf->path, path);
        assert_int_equal(gguf->n_shards, 3);
        assert_int_equal(gguf->n_tensors, 3);
        assert_non_null(gguf_find(gguf, "general.architecture"));
        for (uint32_t t = 0; t < 3; t++) {
            const struct gguf_tensor *tensor = &gguf->tensors[t];
            assert_int_equal(tensor->name[0], 'a' + (char)t);
            assert_int_equal(tensor->shard, t);
            assert_ptr_equal(tensor->data, map_data(gguf->maps[t]) + tensor->offset_bytes);
        }
        gguf_close(gguf);
    }
    remove_set(&set);
    hostile_free(&set);
}

/* Metadata longer than the first read, from a file: the pieces fit together. */
static void long_metadata(void **state)
{
    struct gguf_write file;
    struct buffer bytes = {0};
    struct gguf *gguf = NULL;
    struct stile_error error = {0};
    char path[256], text[32];
    enum { N = 200000 };
    static const uint64_t dims[] = {16};
    (void)state;
    gguf_write_init(&file);
    gguf_write_u32(&file, "before", 11);
    struct gguf_write_kv *kv = gguf_write_array(&file, "strings", GGUF_STRING, N);
    for (int i = 0; i < N; i++)
        gguf_put_string(&kv->value, text, (size_t)snprintf(text, sizeof text, "string %d", i));
    gguf_write_u32(&file, "after", 22);
    gguf_write_floats(&file, "t", 1, dims, 0, 1);
    gguf_write_finish(&file, &bytes);
    path_in_folder(path, "long.gguf");
    write_file(path, &bytes);
    if (gguf_open(&gguf, path, &error) != 0) fail_msg("%s", error.message);
    /* metadata is private: what happens to the file does not reach it */
    assert_int_equal(truncate(path, 0), 0);
    uint64_t before = 0, after = 0;
    assert_int_equal(gguf_get_u64(gguf, "before", 0, 100, &before, &error), 0);
    assert_int_equal(gguf_get_u64(gguf, "after", 0, 100, &after, &error), 0);
    assert_true(before == 11 && after == 22);
    struct gguf_strings strings = gguf_strings(gguf_find(gguf, "strings"));
    struct gguf_string string;
    for (int i = 0; i < N; i++) {
        size_t n = (size_t)snprintf(text, sizeof text, "string %d", i);
        assert_true(gguf_strings_next(&strings, &string) && string.n == n && memcmp(string.bytes, text, n) == 0);
    }
    assert_int_equal(gguf_check_maps(gguf, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, path));
    gguf_close(gguf);
    unlink(path);
    gguf_write_free(&file);
    buffer_free(&bytes);
}

static int create_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(getters), cmocka_unit_test(elements),      cmocka_unit_test(tensors),
        cmocka_unit_test(shards),  cmocka_unit_test(long_metadata),
    };
    return cmocka_run_group_tests(tests, create_folder, remove_folder);
}
