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

/* Where the byte at `offset` of a tensor is, and how many from there on lie together. NULL map: in memory. */
static const struct map *find_bytes(const struct table *table, const struct table_tensor *tensor, uint64_t offset,
                                    struct gguf_place *place, uint64_t *n_together)
{
    const struct gguf *gguf = table->model->gguf;
    const struct gguf_tensor *in = tensor->in;
    uint64_t part_bytes = in->parts ? in->size_bytes / in->dims[2] : in->size_bytes;
    uint64_t within = offset % part_bytes;
    *place = gguf_tensor_part(in, in->parts ? offset / part_bytes : 0);
    place->offset_bytes += within;
    place->data = place->data ? (const char *)place->data + within : NULL;
    *n_together = part_bytes - within;
    return gguf->maps && place->shard != GGUF_IN_MEMORY ? gguf->maps[place->shard] : NULL;
}

static int read_file(const struct map *map, const struct table_tensor *tensor, uint64_t offset, uint64_t n, char *bytes,
                     struct stile_error *error)
{
    while (n > 0) {
        ssize_t got = pread(map_fd(map), bytes, n, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return error_set(error, STILE_ERROR_IO, "%s: tensor %s: cannot read: %s", map_path(map), tensor->name,
                             got < 0 ? strerror(errno) : "the file became shorter");
        bytes += got;
        offset += (uint64_t)got;
        n -= (uint64_t)got;
    }
    return 0;
}

int rows_read_bytes(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n,
                    void *bytes, struct stile_error *error)
{
    int failed = 0;
    for (uint64_t done = 0, part; done < n && !failed; done += part) {
        struct gguf_place place;
        const struct map *map = find_bytes(table, tensor, offset + done, &place, &part);
        if (part > n - done) part = n - done;
        if (map)
            failed = read_file(map, tensor, place.offset_bytes, part, (char *)bytes + done, error);
        else
            memcpy((char *)bytes + done, place.data, part);
    }
    return failed;
}

int rows_read(const struct table *table, const struct table_tensor *tensor, uint64_t row, uint64_t n, void *bytes,
              struct stile_error *error)
{
    uint64_t row_bytes = rows_bytes(tensor);
    uint32_t head_rows = tensor->in->head_rows;
    int failed = 0;
    if (head_rows == 0) return rows_read_bytes(table, tensor, row * row_bytes, n * row_bytes, bytes, error);
    for (uint64_t i = 0; i < n && !failed; i++)
        failed = rows_read_bytes(table, tensor, gguf_halves_row(row + i, head_rows) * row_bytes, row_bytes,
                                 (char *)bytes + i * row_bytes, error);
    return failed;
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

/* Past the end of a tensor comes what lies behind it in the file, mostly the next one. */
static void advise(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n,
                   int advice)
{
    struct gguf_place place;
    uint64_t n_together, size_bytes = tensor->in->size_bytes, past = offset < size_bytes ? 0 : offset - size_bytes + 1;
    if (size_bytes == 0) return;
    const struct map *map = find_bytes(table, tensor, offset - past, &place, &n_together);
    if (past == 0 && n > n_together) n = n_together;
    if (map) posix_fadvise(map_fd(map), (off_t)(place.offset_bytes + past), (off_t)n, advice);
}

void rows_ahead(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n)
{
    advise(table, tensor, offset, n, POSIX_FADV_WILLNEED);
}

void rows_forget(const struct table *table, const struct table_tensor *tensor, uint64_t offset, uint64_t n)
{
    advise(table, tensor, offset, n, POSIX_FADV_DONTNEED);
}
