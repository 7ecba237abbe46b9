/* safetensors files and their index: whole ones, and every way to be malformed that the reader knows. */
#include "file/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void must(int code, const struct stile_error *error)
{
    if (code != 0) fail_msg("%s", error->message);
}

/* Length, header and n_data bytes 0, 1, 2, ...; free it. */
static uint8_t *file_of(const char *header, size_t n_data, size_t *n)
{
    uint64_t n_header = strlen(header);
    *n = 8 + n_header + n_data;
    uint8_t *bytes = malloc(*n);
    memcpy(bytes, &n_header, 8);
    memcpy(bytes + 8, header, n_header);
    for (size_t i = 0; i < n_data; i++)
        bytes[8 + n_header + i] = (uint8_t)i;
    return bytes;
}

static int open_header(const char *header, size_t n_data, struct stile_error *error)
{
    struct safetensors *weights;
    size_t n;
    uint8_t *bytes = file_of(header, n_data, &n);
    int code = safetensors_open_bytes(&weights, bytes, n, error);
    if (code == 0) safetensors_close(weights);
    free(bytes);
    return code;
}

#define TENSOR(dtype, shape, begin, end) \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"

static void whole_files(void **state)
{
    (void)state;
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},\"b\":" TENSOR("BF16", "2,3", 4, 16) ",\"a\":" TENSOR(
            "F32", "", 0, 4) ",\"empty\":" TENSOR("F16", "0,7", 16, 16) ",\"odd\":" TENSOR("F4", "3,2", 16, 19) "}   ";
    struct safetensors *weights;
    struct stile_error error;
    size_t n;
    uint8_t *bytes = file_of(header, 19, &n);
    must(safetensors_open_bytes(&weights, bytes, n, &error), &error);
    assert_int_equal(weights->n_tensors, 4);
    const struct safetensors_tensor *b = safetensors_find(weights, "b");
    assert_string_equal(b->dtype, "BF16");
    assert_int_equal(b->format, FORMAT_BF16);
    assert_int_equal(b->n_dims, 2);
    assert_int_equal(b->dims[1], 3);
    assert_int_equal(b->size_bytes, 12);
    assert_int_equal(b->data[0], 4);
    assert_int_equal(safetensors_find(weights, "a")->n_dims, 0);
    assert_int_equal(safetensors_find(weights, "odd")->format, FORMAT_COUNT);
    assert_null(safetensors_find(weights, "c"));
    safetensors_close(weights);
    free(bytes);
}

static void malformed_files(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        int code;
        const char *says;
    } cases[] = {
        {"", 0, STILE_ERROR_MALFORMED, "no header"},
        {"[]", 0, STILE_ERROR_MALFORMED, "no header"},
        {"{", 0, STILE_ERROR_MALFORMED, "not JSON"},
        {"{\"a\":1} x", 0, STILE_ERROR_MALFORMED, "not JSON"},
        {"{\"\xFF\":1}", 0, STILE_ERROR_MALFORMED, "not JSON"},
        {"{}", 0, STILE_ERROR_MALFORMED, "no tensors"},
        {"{}", 5, STILE_ERROR_MALFORMED, "the tensors end at"},
        {"{\"a\":" TENSOR("U8", "1", 0, 1) ",\"a\":" TENSOR("U8", "1", 1, 2) "}", 2, STILE_ERROR_MALFORMED,
         "duplicate"},
        {"{\"a\":7}", 0, STILE_ERROR_MALFORMED, "no dtype"},
        {"{\"\":" TENSOR("U8", "1", 0, 1) "}", 1, STILE_ERROR_MALFORMED, "name is empty"},
        {"{\"a\":" TENSOR("U9", "1", 0, 1) "}", 1, STILE_ERROR_UNSUPPORTED, "\"U9\" is unknown"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", 1, STILE_ERROR_MALFORMED, "not an array"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, STILE_ERROR_MALFORMED, "data_offsets"},
        {"{\"a\":" TENSOR("U8", "-1", 0, 1) "}", 1, STILE_ERROR_MALFORMED, "whole numbers"},
        {"{\"a\":" TENSOR("U8", "1.5", 0, 1) "}", 1, STILE_ERROR_MALFORMED, "whole numbers"},
        {"{\"a\":" TENSOR("U8", "1,1,1,1,1,1,1,1,1", 0, 1) "}", 1, STILE_ERROR_MALFORMED, "8 dimensions"},
        {"{\"a\":" TENSOR("U8", "4294967296,4294967296", 0, 0) "}", 0, STILE_ERROR_MALFORMED, "2^64"},
        {"{\"a\":" TENSOR("F64", "4611686018427387904", 0, 0) "}", 0, STILE_ERROR_MALFORMED, "different sizes"},
        {"{\"a\":" TENSOR("F32", "2", 0, 4) "}", 4, STILE_ERROR_MALFORMED, "different sizes"},
        {"{\"a\":" TENSOR("F4", "3", 0, 2) "}", 2, STILE_ERROR_MALFORMED, "different sizes"},
        {"{\"a\":" TENSOR("U8", "1", 1, 0) "}", 1, STILE_ERROR_MALFORMED, "a begin and an end"},
        {"{\"a\":" TENSOR("U8", "1", -1, 0) "}", 1, STILE_ERROR_MALFORMED, "a begin and an end"},
        {"{\"a\":" TENSOR("U8", "3", 0, 3) "}", 2, STILE_ERROR_MALFORMED, "past the file's end"},
        {"{\"a\":" TENSOR("U8", "1", 9223372036854775806, 9223372036854775807) "}", 1, STILE_ERROR_MALFORMED,
         "past the file's end"},
        {"{\"a\":" TENSOR("U8", "2", 0, 2) ",\"b\":" TENSOR("U8", "2", 1, 3) "}", 3, STILE_ERROR_MALFORMED, "overlaps"},
        {"{\"a\":" TENSOR("U8", "2", 0, 2) ",\"b\":" TENSOR("U8", "2", 3, 5) "}", 5, STILE_ERROR_MALFORMED,
         "no tensor"},
        {"{\"a\":" TENSOR("U8", "2", 0, 2) "}", 3, STILE_ERROR_MALFORMED, "the tensors end at"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stile_error error = {0};
        int code = open_header(cases[i].header, cases[i].n_data, &error);
        if (code != cases[i].code || !strstr(error.message, cases[i].says))
            fail_msg("%s: %d %s", cases[i].header, code, error.message);
    }
}

static void cut_files(void **state)
{
    (void)state;
    size_t n;
    uint8_t *bytes = file_of("{\"a\":" TENSOR("F32", "2", 0, 8) ",\"b\":" TENSOR("U8", "3", 8, 11) "}", 11, &n);
    for (size_t i = 0; i < n; i++) {
        struct safetensors *weights;
        struct stile_error error = {0};
        uint8_t *exact = malloc(i + (i == 0));
        memcpy(exact, bytes, i);
        assert_int_equal(safetensors_open_bytes(&weights, exact, i, &error), STILE_ERROR_MALFORMED);
        assert_true(*error.message);
        free(exact);
    }
    bytes[7] = 0x80; /* a header of 2^63 bytes */
    struct safetensors *weights;
    assert_int_equal(safetensors_open_bytes(&weights, bytes, n, NULL), STILE_ERROR_MALFORMED);
    free(bytes);
}

/* ---- shards ------------------------------------------------------------------------------------ */

static char folder[] = "/tmp/stile_test_safetensors_XXXXXX";

static void write_file(const char *name, const void *bytes, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    fclose(file);
}

static void write_shard(const char *name, const char *header, size_t n_data)
{
    size_t n;
    uint8_t *bytes = file_of(header, n_data, &n);
    write_file(name, bytes, n);
    free(bytes);
}

static int open_index(const char *weight_map, struct stile_error *error)
{
    char index[1024];
    struct safetensors *weights;
    int n = snprintf(index, sizeof index, "{\"weight_map\": %s}", weight_map);
    write_file("model.safetensors.index.json", index, (size_t)n);
    int code = safetensors_open(&weights, folder, error);
    if (code != 0) return code;
    assert_int_equal(weights->n_shards, 2);
    assert_int_equal(weights->n_tensors, 3);
    const struct safetensors_tensor *c = safetensors_find(weights, "c");
    assert_int_equal(c->data[1], 3);
    assert_ptr_equal(c->data, map_data(weights->maps[c->shard]) + c->offset_bytes);
    safetensors_close(weights);
    return code;
}

static void shards(void **state)
{
    (void)state;
    static const struct {
        const char *weight_map;
        int code;
        const char *says;
    } cases[] = {
        {"{\"c\":\"2.safetensors\",\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}", 0, ""},
        {"[]", STILE_ERROR_MALFORMED, "weight_map"},
        {"{\"a\":\"1.safetensors\"", STILE_ERROR_MALFORMED, "weight_map"},
        {"{\"a\":1}", STILE_ERROR_MALFORMED, "not the name of"},
        {"{\"a\":\"../1.safetensors\"}", STILE_ERROR_MALFORMED, "not the name of"},
        {"{\"a\":\"/etc/1.safetensors\"}", STILE_ERROR_MALFORMED, "not the name of"},
        {"{\"a\":\"..\\\\1.safetensors\"}", STILE_ERROR_MALFORMED, "not the name of"},
        {"{\"a\":\".safetensors\"}", STILE_ERROR_MALFORMED, "not the name of"},
        {"{\"a\":\"config.json\"}", STILE_ERROR_MALFORMED, "not the name of"},
        {"{\"a\":\"9.safetensors\"}", STILE_ERROR_IO, "9.safetensors"},
        {"{\"a\":\"folder.safetensors\"}", STILE_ERROR_IO, "folder"},
        {"{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}", STILE_ERROR_MALFORMED,
         "names 2 tensors, the shards hold 3"},
        {"{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\",\"c\":\"2.safetensors\"}", STILE_ERROR_MALFORMED,
         "is not in"},
        {"{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\",\"d\":\"2.safetensors\"}", STILE_ERROR_MALFORMED,
         "is not in"},
        {"{\"a\":\"1.safetensors\",\"b\":\"3.safetensors\"}", STILE_ERROR_MALFORMED, "'a' is in two shards"},
    };
    char path[256];
    write_shard("1.safetensors", "{\"a\":" TENSOR("U8", "3", 0, 3) "}", 3);
    write_shard("2.safetensors", "{\"b\":" TENSOR("U8", "2", 0, 2) ",\"c\":" TENSOR("F32", "1", 2, 6) "}", 6);
    write_shard("3.safetensors", "{\"a\":" TENSOR("U8", "3", 0, 3) "}", 3);
    snprintf(path, sizeof path, "%s/folder.safetensors", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stile_error error = {0};
        int code = open_index(cases[i].weight_map, &error);
        if (code != cases[i].code || !strstr(error.message, cases[i].says))
            fail_msg("%s: %d %s", cases[i].weight_map, code, error.message);
    }
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = {"1.safetensors", "2.safetensors", "3.safetensors",
                                        "model.safetensors.index.json"};
    char path[256];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/folder.safetensors", folder);
    rmdir(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files),
        cmocka_unit_test(malformed_files),
        cmocka_unit_test(cut_files),
        cmocka_unit_test(shards),
    };
    return cmocka_run_group_tests_name("safetensors", tests, setup, teardown);
}
