/* Fuzzes the reader of importance matrices over memory: what opens has usable numbers.
 *
 * A libFuzzer target; compiled with -DFUZZ_MAIN a program that changes a file of each form in a fixed sequence of random
 * ways.
 */
#include "gguf_write.h"
#include "quantize/imatrix.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(bool right, const char *what)
{
    if (right) return;
    fprintf(stderr, "fuzz_imatrix: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct imatrix *m = NULL;
    struct stile_error error = {0};
    int code = imatrix_open_bytes(&m, "fuzzed", data, n, &error);
    if (code != 0) {
        check(code < 0 && code == error.code && error.message[0], "an error without a message");
        check(code != STILE_ERROR_MEMORY, "more memory than there is");
        return 0;
    }
    for (size_t i = 0; i < m->n_entries; i++) {
        const struct imatrix_entry *entry = &m->entries[i];
        check(imatrix_find(m, entry->name, entry->n, 1) == entry->means, "an entry is not found");
        for (uint64_t j = 0; j < entry->n; j++)
            check(isfinite(entry->means[j]) && entry->means[j] >= 0, "a mean square that is none");
    }
    imatrix_close(m);
    return 0;
}

#ifdef FUZZ_MAIN
enum { EXECUTIONS = 100000, SEEDS = 2 };

static uint64_t state = 20261123;

static uint64_t random_below(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

static void seed_gguf(struct buffer *out)
{
    static const uint64_t dims[] = {5, 2}, ones[] = {1, 2};
    struct gguf_write file;
    gguf_write_init(&file);
    gguf_write_string(&file, "general.type", "imatrix");
    gguf_write_u32(&file, "imatrix.chunk_count", 3);
    gguf_put_string(&gguf_write_array(&file, "imatrix.datasets", GGUF_STRING, 1)->value, "text", 4);
    gguf_write_floats(&file, "a.in_sum2", 2, dims, 3, 1);
    gguf_write_floats(&file, "a.counts", 2, ones, 2, 1);
    gguf_write_finish(&file, out);
    gguf_write_free(&file);
}

static void seed_legacy(struct buffer *out)
{
    gguf_put_u32(out, 2);
    for (uint32_t i = 0; i < 2; i++) {
        gguf_put_u32(out, 1);
        buffer_char(out, (char)('a' + i));
        gguf_put_u32(out, i);
        gguf_put_u32(out, 2);
        gguf_put_f32(out, 1);
        gguf_put_f32(out, 2);
    }
    gguf_put_u32(out, 3);
    gguf_put_string(out, "t", 1);
}

static void mutate(struct buffer *bytes)
{
    static const uint32_t odd[] = {0, 1, 2, 255, 65536, 1u << 30, INT32_MAX, UINT32_MAX, 0x7f800000, 0xff800000};
    size_t at = random_below(bytes->n), left = bytes->n - at;
    uint32_t value = odd[random_below(sizeof odd / sizeof *odd)];
    switch (random_below(4)) {
    case 0: bytes->data[at] ^= (char)(1 << random_below(8)); break;
    case 1: memcpy(bytes->data + at, &value, left < 4 ? left : 4); break;
    case 2: buffer_add(bytes, &value, sizeof value); break;
    case 3: bytes->n = random_below(8) == 0 && at > 0 ? at : bytes->n; break;
    }
}

int main(void)
{
    struct buffer seeds[SEEDS] = {0};
    seed_gguf(&seeds[0]);
    seed_legacy(&seeds[1]);
    for (int i = 0; i < EXECUTIONS; i++) {
        const struct buffer *seed = &seeds[i % SEEDS];
        struct buffer bytes = {0};
        buffer_add(&bytes, seed->data, seed->n);
        for (uint64_t n = random_below(5); n > 0; n--)
            mutate(&bytes);
        uint8_t *exact = malloc(bytes.n); /* so that the sanitizer sees the first byte behind it */
        if (!exact) return 1;
        memcpy(exact, bytes.data, bytes.n);
        LLVMFuzzerTestOneInput(exact, bytes.n);
        free(exact);
        buffer_free(&bytes);
    }
    for (int i = 0; i < SEEDS; i++)
        buffer_free(&seeds[i]);
    printf("fuzz_imatrix: %d executions from %d seeds\n", EXECUTIONS, SEEDS);
    return 0;
}
#endif
