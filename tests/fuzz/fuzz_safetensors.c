/* Fuzzes the safetensors reader over memory: opens, and if that succeeds, reads everything there is.
 *
 * A libFuzzer target; compiled with -DFUZZ_MAIN a program that changes some files in a fixed sequence of random ways.
 */
#include "base/buffer.h"
#include "file/safetensors.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile uint64_t sink;

static void check(bool right, const char *what)
{
    if (right) return;
    fprintf(stderr, "fuzz_safetensors: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct safetensors *weights = NULL;
    struct stile_error error = {0};
    int code = safetensors_open_bytes(&weights, data, n, &error);
    if (code != 0) {
        check(code < 0 && code == error.code && error.message[0], "an error without a message");
        check(code != STILE_ERROR_MEMORY, "more memory than there is");
        return 0;
    }
    uint64_t total_bytes = 0;
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const struct safetensors_tensor *tensor = &weights->tensors[i];
        check(safetensors_find(weights, tensor->name) == tensor, "a tensor is not found");
        check(tensor->data >= data + 8 && tensor->data + tensor->size_bytes <= data + n, "data outside of the file");
        for (uint64_t at = 0; at < tensor->size_bytes; at++)
            sink += tensor->data[at];
        total_bytes += tensor->size_bytes;
    }
    check(total_bytes < n, "data that overlaps");
    safetensors_close(weights);
    return 0;
}

#ifdef FUZZ_MAIN
enum { EXECUTIONS = 100000 };

static uint64_t state = 20261123;

static uint64_t random_below(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return n == 0 ? 0 : state % n;
}

static const struct {
    const char *header;
    size_t n_data;
} seeds[] = {
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", 24},
    {"{\"__metadata__\":{\"format\":\"pt\"},\"x.weight\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[3,11]},"
     "\"y\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[11,12]},\"z\":{\"dtype\":\"F16\",\"shape\":[0,9],"
     "\"data_offsets\":[0,0]},\"w\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[0,3]}}  ",
     12},
};

static const char *const words[] = {
    "{",          "}",     "[",         "]",       ":",         ",",
    "\"",         "\"a\"", "\"dtype\"", "\"F4\"",  "\"shape\"", "\"data_offsets\"",
    "-1",         "0",     "1",         "2",       "8",         "9223372036854775807",
    "4294967296", "1e9",   "null",      "\\u0000", "\xC3\xA9",  "\xFF",
};

/* Changes of the header keep its length right most of the time. */
static void mutate(struct buffer *header)
{
    size_t at = random_below(header->n + 1), n = random_below(4);
    const char *word = words[random_below(sizeof words / sizeof *words)];
    struct buffer changed = {0};
    if (n > header->n - at) n = header->n - at;
    buffer_add(&changed, header->data, at);
    if (random_below(3) > 0) buffer_string(&changed, word);
    buffer_add(&changed, header->data + at + n, header->n - at - n);
    buffer_free(header);
    *header = changed;
}

int main(void)
{
    for (int i = 0; i < EXECUTIONS; i++) {
        size_t seed = random_below(sizeof seeds / sizeof *seeds), n_data = seeds[seed].n_data;
        struct buffer header = {0}, file = {0};
        buffer_string(&header, seeds[seed].header);
        for (uint64_t n = random_below(4); n > 0; n--)
            mutate(&header);
        uint64_t n_header = header.n + (random_below(8) == 0 ? random_below(1000) - 500 : 0);
        buffer_add(&file, &n_header, sizeof n_header);
        buffer_add(&file, header.data, header.n);
        if (random_below(8) == 0) n_data = random_below(40);
        for (size_t d = 0; d < n_data; d++)
            buffer_char(&file, (char)d);
        uint8_t *exact = malloc(file.n); /* so that the sanitizer sees the first byte behind it */
        if (!exact) return 1;
        memcpy(exact, file.data, file.n);
        LLVMFuzzerTestOneInput(exact, file.n);
        free(exact);
        buffer_free(&header);
        buffer_free(&file);
    }
    printf("fuzz_safetensors: %d executions\n", EXECUTIONS);
    return 0;
}
#endif
