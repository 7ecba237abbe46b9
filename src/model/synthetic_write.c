/* synthetic_write.c - the bytes of a synthetic model, to a file or to memory. */
#include "base/beside.h"
#include "model/synthetic_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    STAGE_BYTES = 2 << 20,      /* written to a file at a time: the page cache keeps a large page as a large page */
    PROGRESS_BYTES = 16 << 20,  /* between reports */
    PIECE_BYTES_MAX = 32 << 10, /* copied from one place of a pool */
    LARGE_PAGE_BYTES = 2 << 20,
};

/* Where bytes go: the whole of a mapping, or a stage that is written to a file whenever it is full. */
struct sink {
    uint8_t *begin, *at, *end;
    int fd; /* -1: memory */
    const char *path;
    const struct synthetic_options *options;
    uint64_t done_bytes, reported_bytes, total_bytes; /* done: before `begin` */
    struct stile_error *error;
    int failed; /* a stile_code; nothing is done any more */
};

static uint64_t done(const struct sink *sink)
{
    return sink->done_bytes + (uint64_t)(sink->at - sink->begin);
}

static void report(struct sink *sink)
{
    const struct synthetic_options *options = sink->options;
    if (sink->failed || !options || !options->on_progress) return;
    sink->reported_bytes = done(sink);
    if (options->on_progress(options->user, sink->reported_bytes, sink->total_bytes) != 0)
        sink->failed = error_set(sink->error, STILE_ERROR_CANCELLED, "%s: stopped before it was whole", sink->path);
}

static int fail_io(struct sink *sink, const char *what)
{
    return sink->failed =
               error_set(sink->error, STILE_ERROR_IO, "%s: cannot %s: %s", sink->path, what, strerror(errno));
}

static void flush(struct sink *sink)
{
    const uint8_t *at = sink->begin;
    while (!sink->failed && at < sink->at) {
        ssize_t n = write(sink->fd, at, (size_t)(sink->at - at));
        if (n > 0)
            at += n;
        else if (n == 0 || errno != EINTR)
            fail_io(sink, "write");
    }
    sink->done_bytes += (uint64_t)(sink->at - sink->begin);
    sink->at = sink->begin;
}

static void put(struct sink *sink, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    while (n > 0 && !sink->failed) {
        if (sink->at == sink->end) flush(sink);
        size_t room = (size_t)(sink->end - sink->at), part = n < room ? n : room;
        memcpy(sink->at, from, part);
        sink->at += part;
        from += part;
        n -= part;
    }
    if (done(sink) - sink->reported_bytes >= PROGRESS_BYTES) report(sink);
}

/* Pieces from random places of the pool, shorter than a row, so that hardly two rows are alike. */
static void put_matrix(struct sink *sink, const struct synthetic_tensor *t, const struct synthetic_pool *pool,
                       uint64_t seed)
{
    const struct format_info *info = format_info(t->format);
    uint64_t n_left = t->size_bytes / info->block_bytes, row_blocks = t->cols / info->block_elements;
    uint64_t piece = (row_blocks * 5 / 8) | 1, most = PIECE_BYTES_MAX / info->block_bytes;
    struct synthetic_random random = {seed};
    if (most > pool->n_blocks) most = pool->n_blocks;
    if (piece > most) piece = most;
    while (n_left > 0 && !sink->failed) {
        if (piece > n_left) piece = n_left;
        uint64_t from = (synthetic_random_u64(&random) >> 32) * (pool->n_blocks - piece + 1) >> 32;
        put(sink, pool->blocks + from * info->block_bytes, piece * info->block_bytes);
        n_left -= piece;
    }
}

static void put_floats(struct sink *sink, const struct synthetic *synthetic, const struct synthetic_tensor *t,
                       const struct synthetic_pool *pools, uint64_t seed)
{
    float *x = malloc(t->size_bytes);
    if (!x) {
        sink->failed = error_memory(sink->error, t->size_bytes, t->name);
        return;
    }
    if (t->kind == SYNTHETIC_SCALE)
        for (uint64_t i = 0; i < t->cols; i++)
            x[i] = pools[t->pool].scale;
    else if (t->kind == SYNTHETIC_ROUTER)
        sink->failed = synthetic_router_fill(&synthetic->hparams, seed, x, sink->error);
    else if (t->kind == SYNTHETIC_ROPE_DIVISORS)
        synthetic_rope_divisors(&synthetic->hparams, synthetic->rope_factor, x);
    else
        synthetic_vector_fill(&t->vector, seed, x, t->cols);
    put(sink, x, t->size_bytes);
    free(x);
}

/* The whole file. */
static void put_model(struct sink *sink, const struct synthetic *synthetic)
{
    static const uint8_t zeros[GGUF_HEADER_ALIGNMENT];
    struct synthetic_pool pools[SYNTHETIC_POOLS_MAX];
    struct synthetic_random seeds = {synthetic->seed};
    memcpy(pools, synthetic->pools, sizeof pools);
    put(sink, synthetic->header.data, synthetic->header.n);
    for (size_t i = 0; i < synthetic->n_pools && !sink->failed; i++)
        sink->failed = synthetic_pool_fill(&pools[i], synthetic_random_u64(&seeds), sink->error);
    for (size_t i = 0; i < synthetic->n_tensors && !sink->failed; i++) {
        const struct synthetic_tensor *t = &synthetic->tensors[i];
        uint64_t seed = synthetic_random_u64(&seeds);
        put(sink, zeros, (size_t)(synthetic->header.n + t->offset_bytes - done(sink)));
        if (t->kind == SYNTHETIC_MATRIX)
            put_matrix(sink, t, &pools[t->pool], seed);
        else
            put_floats(sink, synthetic, t, pools, seed);
    }
    for (size_t i = 0; i < synthetic->n_pools; i++)
        free(pools[i].blocks);
    report(sink);
}

/* ---- to a file ----------------------------------------------------------------------------------- */

static void write_file(struct sink *sink, const struct synthetic *synthetic)
{
    /* a disk that is too small says so at once; file systems that cannot reserve are told as they fill */
    if (fallocate(sink->fd, 0, 0, (off_t)synthetic->size_bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
        fail_io(sink, "make room for it");
        return;
    }
    put_model(sink, synthetic);
    flush(sink);
}

int synthetic_write(const struct synthetic *synthetic, const char *path, const struct synthetic_options *options,
                    struct stile_error *error)
{
    struct beside file;
    uint8_t *stage = malloc(STAGE_BYTES);
    if (!stage) return error_memory(error, STAGE_BYTES, "writing");
    int failed = beside_open(&file, path, error);
    if (!failed) {
        struct sink sink = {.begin = stage,
                            .at = stage,
                            .end = stage + STAGE_BYTES,
                            .fd = file.fd,
                            .path = path,
                            .options = options,
                            .total_bytes = synthetic->size_bytes,
                            .error = error};
        file.unforced = true; /* it can be made again */
        write_file(&sink, synthetic);
        failed = sink.failed;
        if (failed)
            beside_abandon(&file);
        else
            failed = beside_finish(&file, error);
    }
    free(stage);
    return failed;
}

/* ---- to memory ----------------------------------------------------------------------------------- */

/* Anonymous memory that begins at a large page. */
static uint8_t *map_memory(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (n + page - 1) / page * page, all = used + LARGE_PAGE_BYTES;
    uint8_t *mapped = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return NULL;
    size_t before = -(uintptr_t)mapped & (LARGE_PAGE_BYTES - 1);
    if (before > 0) munmap(mapped, before);
    if (all > before + used) munmap(mapped + before + used, all - before - used);
    madvise(mapped + before, used, MADV_HUGEPAGE); /* only faster */
    return mapped + before;
}

static void write_name(const struct synthetic *synthetic, char name[128])
{
    snprintf(name, 128, "(synthetic %s %s)", synthetic->shape.id, mix_name(synthetic->mix));
}

int synthetic_open(const struct synthetic *synthetic, const struct synthetic_options *options, struct gguf **gguf,
                   struct stile_error *error)
{
    char name[128];
    size_t n = (size_t)synthetic->size_bytes;
    write_name(synthetic, name);
    uint8_t *memory = map_memory(n);
    if (!memory) return error_memory(error, n, name);
    struct sink sink = {.begin = memory,
                        .at = memory,
                        .end = memory + n,
                        .fd = -1,
                        .path = name,
                        .options = options,
                        .total_bytes = n,
                        .error = error};
    put_model(&sink, synthetic);
    if (!sink.failed) return gguf_open_mapping(gguf, name, memory, n, error);
    munmap(memory, n);
    return sink.failed;
}

/* ---- its header ---------------------------------------------------------------------------------- */

static int open_source(void *user, const char *path, uint64_t *size_bytes, struct stile_error *error)
{
    const struct synthetic *synthetic = user;
    (void)path;
    (void)error;
    *size_bytes = synthetic->size_bytes;
    return 0;
}

/* What is read of the weights, since readers look ahead, is zero: nobody uses it. */
static int read_source(void *user, uint64_t at, uint64_t n, uint8_t *bytes, struct stile_error *error)
{
    const struct buffer *header = &((const struct synthetic *)user)->header;
    uint64_t n_header = at >= header->n ? 0 : header->n - at < n ? header->n - at : n;
    (void)error;
    if (n_header > 0) memcpy(bytes, header->data + at, n_header);
    memset(bytes + n_header, 0, n - n_header);
    return 0;
}

int synthetic_open_header(const struct synthetic *synthetic, struct gguf **gguf, struct stile_error *error)
{
    char name[128];
    struct gguf_source source = {.user = (void *)synthetic, .open = open_source, .read = read_source};
    write_name(synthetic, name);
    return gguf_open_source(gguf, name, &source, error);
}
