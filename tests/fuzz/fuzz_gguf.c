/* Fuzzes the GGUF reader over memory: opens, and if that succeeds, reads everything there is.
 *
 * A libFuzzer target (seeds: make_hostile); compiled with -DFUZZ_MAIN a program that changes the files of the corpus in
 * a fixed sequence of random ways.
 */
#include "file/gguf.h"
#include "hostile.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sink;

static void check(bool right, const char *what)
{
    if (right) return;
    fprintf(stderr, "fuzz_gguf: %s\n", what);
    abort();
}

static void read_kv(const struct gguf *gguf, const struct gguf_kv *kv)
{
    struct gguf_string string;
    uint64_t u64 = 0;
    float f32 = 0;
    bool boolean = false;
    const char *text = NULL;
    int64_t i64 = 0;
    double f64 = 0;
    check(gguf_find(gguf, kv->key) == kv, "a key is not found");
    if (gguf_get_u64(gguf, kv->key, 0, 1000, &u64, NULL) == 0) check(u64 <= 1000, "an integer out of its range");
    if (gguf_get_f32(gguf, kv->key, &f32, NULL) == 0) check(f32 - f32 == 0, "a float that is not finite");
    gguf_get_bool(gguf, kv->key, &boolean, NULL);
    if (gguf_get_string(gguf, kv->key, &text, NULL) == 0) sink += strlen(text);
    struct gguf_strings strings = gguf_strings(kv);
    while (gguf_strings_next(&strings, &string))
        for (size_t i = 0; i < string.n; i++)
            sink += (unsigned char)string.bytes[i];
    for (uint64_t i = 0; i < kv->n; i++)
        if (!gguf_element_i64(kv, i, &i64) && !gguf_element_f64(kv, i, &f64)) break;
    for (uint64_t i = 0; i < kv->size_bytes; i++)
        sink += kv->data[i];
}

static void read_tensor(const struct gguf *gguf, const struct gguf_tensor *tensor, const uint8_t *file, size_t n)
{
    uint64_t row_bytes = 0;
    const uint8_t *data = tensor->data;
    check(gguf_find_tensor(gguf, tensor->name) == tensor, "a tensor is not found");
    check(tensor->size_bytes <= n && data >= file && data + tensor->size_bytes <= file + n, "data outside of the file");
    check(format_row_bytes(tensor->format, tensor->dims[0], &row_bytes), "a row that is no whole blocks");
    if (tensor->dims[0] > 0)
        check(tensor->n_elements / tensor->dims[0] * row_bytes == tensor->size_bytes, "a size that does not fit");
    check((uintptr_t)(data - file) % 8 == 0, "data that is not aligned");
    for (uint64_t i = 0; i < tensor->size_bytes; i++)
        sink += data[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct gguf *gguf = NULL;
    struct stile_error error = {0};
    int code = gguf_open_bytes(&gguf, data, n, &error);
    if (code != 0) {
        check(code < 0 && code == error.code && error.message[0], "an error without a message");
        check(code != STILE_ERROR_MEMORY, "more memory than there is");
        return 0;
    }
    for (size_t i = 0; i < gguf->n_kv; i++)
        read_kv(gguf, &gguf->kv[i]);
    for (size_t i = 0; i < gguf->n_tensors; i++)
        read_tensor(gguf, &gguf->tensors[i], data, n);
    gguf_close(gguf);
    return 0;
}

#ifdef FUZZ_MAIN
enum { EXECUTIONS = 200000, SEED_BYTES_MAX = 8192 };

static uint64_t state = 20261123;

static uint64_t random_below(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return n == 0 ? 0 : state % n;
}

static void mutate(struct buffer *bytes)
{
    static const uint64_t odd[] = {
        0, 1, 2, 9, 13, 31, 32, 255, 65535, 1u << 30, UINT32_MAX, 1ull << 61, 1ull << 63, UINT64_MAX - 31, UINT64_MAX};
    size_t at = random_below(bytes->n), left = bytes->n - at;
    uint64_t value = odd[random_below(sizeof odd / sizeof *odd)];
    size_t width = (size_t)1 << random_below(4);
    switch (bytes->n == 0 ? 3 : random_below(6)) {
    case 0: bytes->data[at] ^= (char)(1 << random_below(8)); break;
    case 1: memcpy(bytes->data + at, &value, width < left ? width : left); break;
    case 2: bytes->n = random_below(8) == 0 ? at : bytes->n; break;
    case 3: buffer_add(bytes, &value, sizeof value); break;
    case 4: /* take a few bytes out */
        width = width < left ? width : left;
        memmove(bytes->data + at, bytes->data + at + width, left - width);
        bytes->n -= width;
        break;
    case 5: /* copy one place over another */
        width = random_below(left < 64 ? left : 64);
        memmove(bytes->data + random_below(bytes->n - width), bytes->data + at, width);
        break;
    }
}

int main(void)
{
    size_t n_seeds = 0, n_cases = hostile_count();
    struct buffer *seeds = calloc(n_cases, sizeof *seeds);
    if (!seeds) return 1;
    for (size_t i = 0; i < n_cases; i++) {
        struct hostile_set set;
        hostile_build(i, &set);
        const struct buffer *bytes = &set.files[0].bytes;
        if (bytes->n > 0 && bytes->n <= SEED_BYTES_MAX) buffer_add(&seeds[n_seeds++], bytes->data, bytes->n);
        hostile_free(&set);
    }
    for (int i = 0; i < EXECUTIONS; i++) {
        const struct buffer *seed = &seeds[random_below(n_seeds)];
        struct buffer bytes = {0};
        buffer_add(&bytes, seed->data, seed->n);
        for (uint64_t n = 1 + random_below(6); n > 0; n--)
            mutate(&bytes);
        uint8_t *exact = malloc(bytes.n + (bytes.n == 0)); /* so that the sanitizer sees the first byte behind it */
        if (!exact) return 1;
        memcpy(exact, bytes.data, bytes.n);
        LLVMFuzzerTestOneInput(exact, bytes.n);
        free(exact);
        buffer_free(&bytes);
    }
    for (size_t i = 0; i < n_seeds; i++)
        buffer_free(&seeds[i]);
    free(seeds);
    printf("fuzz_gguf: %d executions from %zu seeds\n", EXECUTIONS, n_seeds);
    return 0;
}
#endif
