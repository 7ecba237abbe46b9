#include "quantize/imatrix.h"

#include "base/arena.h"
#include "base/bytes.h"
#include "file/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct imatrix_private {
    struct arena arena; /* names, means */
    size_t capacity;
    struct imatrix_entry *entries;
};

enum { NAME_BYTES_MAX = 255 };

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts";

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct imatrix_entry *)a)->name, ((const struct imatrix_entry *)b)->name);
}

/* A new entry whose means are yet to be filled in. */
static int add_entry(struct imatrix *m, const char *name, size_t n_name, uint64_t n, struct imatrix_entry **entry,
                     struct stile_error *error)
{
    struct imatrix_private *p = m->private;
    if (m->n_entries == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 256;
        struct imatrix_entry *grown = realloc(p->entries, capacity * sizeof *grown);
        if (!grown) return error_memory(error, capacity * sizeof *grown, "an importance matrix");
        p->entries = grown;
        p->capacity = capacity;
    }
    *entry = &p->entries[m->n_entries];
    **entry =
        (struct imatrix_entry){arena_string(&p->arena, name, n_name), n, arena_array(&p->arena, n, sizeof(float))};
    if (!(*entry)->name || !(*entry)->means) return error_memory(error, n * sizeof(float), "an importance matrix");
    m->n_entries++;
    return 0;
}

static int finish(struct imatrix *m, const char *path, struct stile_error *error)
{
    struct imatrix_private *p = m->private;
    m->entries = p->entries;
    if (m->n_entries == 0)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: an importance matrix without a single entry", path);
    qsort(p->entries, m->n_entries, sizeof *p->entries, by_name);
    for (size_t i = 1; i < m->n_entries; i++)
        if (by_name(&p->entries[i - 1], &p->entries[i]) == 0)
            return error_set(error, STILE_ERROR_MALFORMED, "%s: '%.100s' appears twice", path, p->entries[i].name);
    return 0;
}

static bool is_mean(float x)
{
    return isfinite(x) && x >= 0;
}

/* ---- the GGUF form ------------------------------------------------------------------------------- */

/* Gives experts that were never seen (count 0) the mean of the others. */
static void fill_unseen(float *means, const float *counts, uint64_t cols, uint64_t n_experts)
{
    uint64_t n_seen = 0;
    for (uint64_t e = 0; e < n_experts; e++)
        n_seen += counts[e] > 0;
    if (n_seen == n_experts) return;
    for (uint64_t j = 0; j < cols; j++) {
        double sum = 0;
        for (uint64_t e = 0; e < n_experts; e++)
            if (counts[e] > 0) sum += (double)means[e * cols + j];
        for (uint64_t e = 0; e < n_experts; e++)
            if (!(counts[e] > 0)) means[e * cols + j] = n_seen > 0 ? (float)(sum / (double)n_seen) : 1;
    }
}

static int read_means(struct imatrix_entry *entry, const char *path, const float *sums, const float *counts,
                      uint64_t cols, uint64_t n_experts, struct stile_error *error)
{
    for (uint64_t e = 0; e < n_experts; e++) {
        if (!is_mean(counts[e]))
            return error_set(error, STILE_ERROR_MALFORMED, "%s: '%.100s': count %" PRIu64 " is no count", path,
                             entry->name, e);
        for (uint64_t j = 0; j < cols && counts[e] > 0; j++) {
            float mean = sums[e * cols + j] / counts[e];
            if (!is_mean(mean))
                return error_set(error, STILE_ERROR_MALFORMED,
                                 "%s: '%.100s': column %" PRIu64 " of matrix %" PRIu64 " has no mean square", path,
                                 entry->name, j, e);
            entry->means[e * cols + j] = mean;
        }
    }
    fill_unseen(entry->means, counts, cols, n_experts);
    return 0;
}

static int read_tensor(struct imatrix *m, const struct gguf *gguf, const struct gguf_tensor *sums,
                       struct stile_error *error)
{
    char name[NAME_BYTES_MAX + 1];
    struct imatrix_entry *entry;
    size_t n_name = strlen(sums->name) - (sizeof sums_suffix - 1);
    memcpy(name, sums->name, n_name);
    memcpy(name + n_name, counts_suffix, sizeof counts_suffix);
    const struct gguf_tensor *counts = gguf_find_tensor(gguf, name);
    if (!counts)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: '%.100s' has no '%.100s' beside it", gguf->path, sums->name,
                         name);
    uint64_t cols = sums->dims[0], n_experts = cols > 0 ? sums->n_elements / cols : 0;
    if (sums->format != FORMAT_F32 || counts->format != FORMAT_F32 || n_experts == 0 || counts->n_elements != n_experts)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: '%.100s' and its counts are not floats of the same number of matrices", gguf->path,
                         sums->name);
    int failed = add_entry(m, name, n_name, sums->n_elements, &entry, error);
    return failed ? failed : read_means(entry, gguf->path, sums->data, counts->data, cols, n_experts, error);
}

static int read_keys(struct imatrix *m, const struct gguf *gguf, struct stile_error *error)
{
    uint64_t n_chunks = 0, chunk_tokens = 0;
    const char *type = "";
    struct gguf_string dataset;
    int failed = gguf_get_string(gguf, "general.type", &type, error);
    if (failed) return failed;
    if (strcmp(type, "imatrix") != 0)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: not an importance matrix (general.type is \"%.100s\"); `stile calibrate` makes one",
                         gguf->path, type);
    failed = gguf_get_u64(gguf, "imatrix.chunk_count", 0, UINT32_MAX, &n_chunks, error);
    if (!failed) failed = gguf_get_u64(gguf, "imatrix.chunk_size", 0, UINT32_MAX, &chunk_tokens, error);
    m->n_chunks = (uint32_t)n_chunks;
    m->chunk_tokens = (uint32_t)chunk_tokens;
    const struct gguf_kv *datasets = gguf_find(gguf, "imatrix.datasets");
    if (failed || !datasets) return failed;
    struct gguf_strings strings = gguf_strings(datasets);
    if (!gguf_strings_next(&strings, &dataset)) return 0;
    m->dataset = arena_string(&m->private->arena, dataset.bytes, dataset.n);
    return m->dataset ? 0 : error_memory(error, dataset.n, "an importance matrix");
}

static int read_gguf(struct imatrix *m, const struct gguf *gguf, struct stile_error *error)
{
    int failed = read_keys(m, gguf, error);
    for (size_t i = 0; i < gguf->n_tensors && !failed; i++) {
        const struct gguf_tensor *tensor = &gguf->tensors[i];
        size_t n = strlen(tensor->name), n_suffix = sizeof sums_suffix - 1;
        if (n > n_suffix && n <= NAME_BYTES_MAX && strcmp(tensor->name + n - n_suffix, sums_suffix) == 0)
            failed = read_tensor(m, gguf, tensor, error);
    }
    return failed ? failed : gguf_check_maps(gguf, error);
}

/* ---- the older form ------------------------------------------------------------------------------ */

/* i32 n_entries; of each: i32 n_name, name, i32 n_calls, i32 n, float[n] = means times n_calls; then, not always, i32 the
 * number of chunks, i32 n, the name of the text. */
struct legacy {
    const char *path;
    const uint8_t *bytes;
    size_t n, at;
    struct stile_error *error;
};

static int legacy_fail(const struct legacy *l, const char *what)
{
    return error_set(l->error, STILE_ERROR_MALFORMED,
                     "%s: offset %zu: %s: neither an importance matrix nor a GGUF file, or damaged (get it again)",
                     l->path, l->at, what);
}

/* A count of things of size_bytes each that follow in the file. */
static int legacy_count(struct legacy *l, uint32_t max, size_t size_bytes, const char *what, uint32_t *count)
{
    if (l->n - l->at < 4) return legacy_fail(l, what);
    uint32_t value = load_u32(l->bytes + l->at);
    if (value > max || value > (l->n - l->at - 4) / size_bytes) return legacy_fail(l, what);
    l->at += 4;
    *count = value;
    return 0;
}

static int legacy_entry(struct imatrix *m, struct legacy *l)
{
    struct imatrix_entry *entry;
    uint32_t n_name, n_calls, n;
    int failed = legacy_count(l, NAME_BYTES_MAX, 1, "the length of a name", &n_name);
    if (failed) return failed;
    const char *name = (const char *)l->bytes + l->at;
    if (n_name == 0 || memchr(name, '\0', n_name)) return legacy_fail(l, "an empty name, or one with a zero in it");
    l->at += n_name;
    if (l->n - l->at < 8) return legacy_fail(l, "the number of calls");
    n_calls = load_u32(l->bytes + l->at);
    l->at += 4;
    failed = legacy_count(l, INT32_MAX, sizeof(float), "the number of columns", &n);
    if (failed) return failed;
    if (n == 0 || n_calls > INT32_MAX) return legacy_fail(l, "no columns, or a negative number of calls");
    failed = add_entry(m, name, n_name, n, &entry, l->error);
    if (failed) return failed;
    for (uint32_t i = 0; i < n; i++) {
        float value = f32_from_bits(load_u32(l->bytes + l->at + 4 * (size_t)i));
        entry->means[i] = n_calls > 0 ? value / (float)n_calls : value;
        if (!is_mean(entry->means[i])) return legacy_fail(l, "a mean square that is negative or not finite");
    }
    l->at += 4 * (size_t)n;
    return 0;
}

static int read_legacy(struct imatrix *m, struct legacy *l)
{
    uint32_t n_entries, n_name;
    enum { ENTRY_BYTES_MIN = 4 + 1 + 4 + 4 + 4 };
    int failed = legacy_count(l, INT32_MAX, ENTRY_BYTES_MIN, "the number of entries", &n_entries);
    for (uint32_t i = 0; i < n_entries && !failed; i++)
        failed = legacy_entry(m, l);
    if (failed || l->at == l->n) return failed;
    if (l->n - l->at < 8) return legacy_fail(l, "the number of chunks");
    m->n_chunks = load_u32(l->bytes + l->at);
    l->at += 4;
    failed = legacy_count(l, INT32_MAX, 1, "the name of the text", &n_name);
    if (failed) return failed;
    m->dataset = arena_string(&m->private->arena, (const char *)l->bytes + l->at, n_name);
    return m->dataset ? 0 : error_memory(l->error, n_name, "an importance matrix");
}

/* ---- opening ------------------------------------------------------------------------------------- */

static int create(struct imatrix **imatrix, struct stile_error *error)
{
    struct imatrix *m = calloc(1, sizeof *m);
    struct imatrix_private *p = calloc(1, sizeof *p);
    if (!m || !p) {
        free(m);
        free(p);
        return error_memory(error, sizeof *m + sizeof *p, "an importance matrix");
    }
    m->dataset = "";
    m->private = p;
    *imatrix = m;
    return 0;
}

/* The gguf is that of the bytes or, where these are no GGUF file, NULL. */
static int read_any(struct imatrix **imatrix, const char *path, const struct gguf *gguf, const uint8_t *bytes, size_t n,
                    struct stile_error *error)
{
    struct imatrix *m = NULL;
    int failed = create(&m, error);
    if (failed) return failed;
    failed = gguf ? read_gguf(m, gguf, error)
                  : read_legacy(m, &(struct legacy){.path = path, .bytes = bytes, .n = n, .error = error});
    if (!failed) failed = finish(m, path, error);
    if (failed)
        imatrix_close(m);
    else
        *imatrix = m;
    return failed;
}

static bool is_gguf(const uint8_t *bytes, size_t n)
{
    return n >= 4 && memcmp(bytes, "GGUF", 4) == 0;
}

int imatrix_open_bytes(struct imatrix **imatrix, const char *path, const uint8_t *bytes, size_t n,
                       struct stile_error *error)
{
    struct gguf *gguf = NULL;
    int failed = is_gguf(bytes, n) ? gguf_open_bytes(&gguf, bytes, n, error) : 0;
    if (failed) return failed;
    failed = read_any(imatrix, path, gguf, bytes, n, error);
    gguf_close(gguf);
    return failed;
}

int imatrix_open(struct imatrix **imatrix, const char *path, struct stile_error *error)
{
    struct gguf *gguf = NULL;
    struct imatrix *m = NULL;
    struct map *map;
    int failed = map_open(&map, path, error);
    if (failed) return failed;
    if (is_gguf(map_data(map), map_size_bytes(map))) failed = gguf_open(&gguf, path, error);
    if (!failed) failed = read_any(&m, path, gguf, map_data(map), map_size_bytes(map), error);
    if (!failed && map_failed(map))
        failed = error_set(error, STILE_ERROR_IO, "%s: changed while it was read (try again)", path);
    gguf_close(gguf);
    map_close(map);
    if (failed)
        imatrix_close(m);
    else
        *imatrix = m;
    return failed;
}

void imatrix_close(struct imatrix *imatrix)
{
    if (!imatrix) return;
    arena_free(&imatrix->private->arena);
    free(imatrix->private->entries);
    free(imatrix->private);
    free(imatrix);
}

const float *imatrix_find(const struct imatrix *imatrix, const char *tensor_name, uint64_t cols, uint64_t n_experts)
{
    struct imatrix_entry key = {.name = tensor_name};
    const struct imatrix_entry *entry = bsearch(&key, imatrix->entries, imatrix->n_entries, sizeof key, by_name);
    return entry && cols > 0 && entry->n % cols == 0 && entry->n / cols == n_experts ? entry->means : NULL;
}
