#include "quantize/imatrix.h"

#include "base/beside.h"
#include "file/gguf_header.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_tensors(struct gguf_header *header, const struct imatrix_sums *tensor)
{
    char name[256];
    snprintf(name, sizeof name, "%s.in_sum2", tensor->name);
    gguf_header_tensor(header, name, FORMAT_F32, 2, (uint64_t[]){tensor->cols, tensor->n_experts});
    snprintf(name, sizeof name, "%s.counts", tensor->name);
    gguf_header_tensor(header, name, FORMAT_F32, 2, (uint64_t[]){1, tensor->n_experts});
}

static void write_header(struct buffer *out, const struct imatrix_sums *tensors, size_t n, uint32_t n_chunks,
                         uint32_t chunk_tokens, const char *dataset)
{
    struct gguf_header header;
    gguf_header_init(&header, NULL);
    gguf_header_string(&header, "general.type", "imatrix");
    gguf_header_array(&header, "imatrix.datasets", GGUF_STRING, 1);
    gguf_header_bytes(&header, dataset, strlen(dataset));
    gguf_header_u32(&header, "imatrix.chunk_count", n_chunks);
    gguf_header_u32(&header, "imatrix.chunk_size", chunk_tokens);
    for (size_t i = 0; i < n; i++)
        add_tensors(&header, &tensors[i]);
    gguf_header_finish(&header, out);
    gguf_header_free(&header);
}

static void put_float(struct buffer *out, double x)
{
    float value = (float)x;
    buffer_add(out, &value, sizeof value);
}

static void pad(struct buffer *out)
{
    while (out->n % GGUF_HEADER_ALIGNMENT != 0 && !out->failed)
        buffer_char(out, '\0');
}

/* Both tensors of one entry, as they lie in the file. */
static int write_tensor(struct beside *file, struct buffer *bytes, const struct imatrix_sums *tensor,
                        struct stile_error *error)
{
    uint64_t n = tensor->cols * tensor->n_experts;
    bytes->n = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (!isfinite((float)tensor->sums[i]))
            return error_set(error, STILE_ERROR_MALFORMED,
                             "the inputs of %s are not finite numbers: this model does not work", tensor->name);
        put_float(bytes, tensor->sums[i]);
    }
    pad(bytes);
    for (uint64_t e = 0; e < tensor->n_experts; e++)
        put_float(bytes, (double)tensor->counts[e]);
    pad(bytes);
    if (bytes->failed) return error_memory(error, n * sizeof(float), "an importance matrix");
    return beside_write(file, bytes->data, bytes->n, error);
}

int imatrix_write(const char *path, const struct imatrix_sums *tensors, size_t n, uint32_t n_chunks,
                  uint32_t chunk_tokens, const char *dataset, uint64_t *size_bytes, struct stile_error *error)
{
    struct beside file;
    struct buffer bytes = {0};
    write_header(&bytes, tensors, n, n_chunks, chunk_tokens, dataset);
    int failed = bytes.failed ? error_memory(error, bytes.n, "an importance matrix") : 0;
    if (!failed) failed = beside_open(&file, path, error);
    if (!failed) {
        *size_bytes = bytes.n;
        failed = beside_write(&file, bytes.data, bytes.n, error);
        for (size_t i = 0; i < n && !failed; i++) {
            failed = write_tensor(&file, &bytes, &tensors[i], error);
            *size_bytes += bytes.n;
        }
        if (failed)
            beside_abandon(&file);
        else
            failed = beside_finish(&file, error);
    }
    buffer_free(&bytes);
    return failed;
}
