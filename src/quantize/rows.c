#include "quantize/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

uint64_t rows_bytes(const struct table_tensor *tensor)
{
    return tensor->rows > 0 ? tensor->in->size_bytes / tensor->rows : 0;
}

static const struct map *map_of(const struct table *table, const struct table_tensor *tensor)
{
    const struct gguf *gguf = table->model->gguf;
    return gguf->maps ? gguf->maps[tensor->in->shard] : NULL;
}

int rows_read_bytes(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n,
                    void *bytes, struct stile_error *error)
{
    const struct map *map = map_of(table, tensor);
    if (!map) { /* made in memory */
        memcpy(bytes, (const char *)tensor->in->data + offset, n);
        return 0;
    }
    for (uint64_t got_all = 0; got_all < n;) {
        ssize_t got = pread(map_fd(map), (char *)bytes + got_all, n - got_all,
                            (off_t)(tensor->in->offset_bytes + offset + got_all));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return error_set(error, STILE_ERROR_IO, "%s: tensor %s: cannot read: %s", map_path(map), tensor->name,
                             got < 0 ? strerror(errno) : "the file became shorter");
        got_all += (uint64_t)got;
    }
    return 0;
}

int rows_read(const struct table *table, const struct table_tensor *tensor, uint64_t row, uint64_t n, void *bytes,
              struct stile_error *error)
{
    uint64_t row_bytes = rows_bytes(tensor);
    return rows_read_bytes(table, tensor, row * row_bytes, n * row_bytes, bytes, error);
}

int rows_decode(const struct table *table, const struct table_tensor *tensor, uint64_t row, const void *bytes, float *x,
                struct stile_error *error)
{
    const struct weight *weight = tensor->weight;
    uint64_t expert_rows = tensor->rows / tensor->n_experts;
    float scale = weight->expert_scales ? weight->expert_scales[row / expert_rows] : weight->scale;
    bool finite = true;
    format_decode(tensor->in->format, bytes, tensor->cols, x);
    for (uint64_t i = 0; i < tensor->cols; i++) {
        x[i] *= scale;
        finite &= isfinite(x[i]) != 0;
    }
    if (finite) return 0;
    return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor %s: row %llu has a number that is not finite",
                     table->model->gguf->path, tensor->name, (unsigned long long)row);
}

void rows_ahead(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n)
{
    const struct map *map = map_of(table, tensor);
    if (map) posix_fadvise(map_fd(map), (off_t)(tensor->in->offset_bytes + offset), (off_t)n, POSIX_FADV_WILLNEED);
}

void rows_forget(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n)
{
    const struct map *map = map_of(table, tensor);
    if (map) posix_fadvise(map_fd(map), (off_t)(tensor->in->offset_bytes + offset), (off_t)n, POSIX_FADV_DONTNEED);
}
