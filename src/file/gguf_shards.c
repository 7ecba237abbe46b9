#include "file/gguf_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* What the split.* keys of a file say. count 0: not part of a set. */
struct split {
    uint64_t no, count, n_tensors;
};

static int file_open(struct gguf_private *set, struct gguf_file *file, uint32_t shard, const char *path,
                     struct stile_error *error)
{
    const struct gguf_source *source = set->source;
    file->path = path;
    file->reader = (struct gguf_reader){.path = path, .source = source, .fd = -1};
    int code =
        source ? source->open(source->user, path, &file->reader.size_bytes, error) : map_open(&file->map, path, error);
    if (code != 0) return code;
    if (!source) {
        /* through the map's descriptor, so that metadata and weights are of the same file */
        file->reader.fd = map_fd(file->map);
        file->reader.size_bytes = map_size_bytes(file->map);
    }
    return gguf_parse(set, file, shard, error);
}

/* What only the first file of a set is asked for later. */
static void file_drop_metadata(struct gguf_file *file)
{
    free(file->kv);
    free(file->kv_at);
    free(file->keys);
    free(file->reader.owned);
    file->kv = NULL;
    file->kv_at = NULL;
    file->keys = NULL;
    file->reader.owned = NULL;
    file->n_kv = 0;
}

static void file_close(struct gguf_file *file)
{
    file_drop_metadata(file);
    map_close(file->map);
}

static int read_split(const struct gguf_file *file, struct split *split, struct stile_error *error)
{
    *split = (struct split){.no = UINT64_MAX, .n_tensors = UINT64_MAX};
    int code = gguf_file_u64(file, "split.count", 0, GGUF_SHARDS_MAX, &split->count, error);
    if (code != 0 || split->count == 0) return code; /* a merged file may keep a count of 0 */
    code = gguf_file_u64(file, "split.no", 0, split->count - 1, &split->no, error);
    if (code == 0)
        code = gguf_file_u64(file, "split.tensors.count", 0, GGUF_SHARDS_MAX * (uint64_t)GGUF_TENSORS_MAX,
                             &split->n_tensors, error);
    if (code != 0) return code;
    const char *missing = split->no == UINT64_MAX ? "split.no" : "split.tensors.count";
    if (split->no == UINT64_MAX || split->n_tensors == UINT64_MAX)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: the key %s is missing, although split.count makes this one of %" PRIu64
                         " shards (damaged file: download it again)",
                         file->path, missing, split->count);
    return 0;
}

/* The path of shard i of the set that `path` belongs to; *prefix_bytes is what all of them begin with. */
static int shard_prefix(const char *path, const struct split *split, size_t *prefix_bytes, struct stile_error *error)
{
    char suffix[64];
    size_t n = (size_t)snprintf(suffix, sizeof suffix, "-%05" PRIu64 "-of-%05" PRIu64 ".gguf", split->no + 1,
                                split->count),
           n_path = strlen(path);
    if (n_path < n || strcmp(path + n_path - n, suffix) != 0)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: split.no and split.count say that the name ends in '%s'; the other shards cannot be "
                         "found (give the file its published name)",
                         path, suffix);
    *prefix_bytes = n_path - n;
    return 0;
}

static const char *shard_path(struct gguf_private *set, const char *path, size_t prefix_bytes, uint64_t i, uint64_t n)
{
    enum { SUFFIX_BYTES = 64 };
    char *name = arena_array(&set->arena, prefix_bytes + SUFFIX_BYTES, 1);
    if (!name) return NULL;
    memcpy(name, path, prefix_bytes);
    snprintf(name + prefix_bytes, SUFFIX_BYTES, "-%05" PRIu64 "-of-%05" PRIu64 ".gguf", i + 1, n);
    return name;
}

static int check_split(const struct gguf_file *file, const struct split *split, uint64_t i, const struct split *named,
                       const char *path, struct stile_error *error)
{
    const char *key = "split.no";
    uint64_t is = split->no, wanted = i;
    if (split->count != named->count) {
        key = "split.count";
        is = split->count;
        wanted = named->count;
    } else if (split->no == i) {
        key = "split.tensors.count";
        is = split->n_tensors;
        wanted = named->n_tensors;
    }
    if (is == wanted) return 0;
    return error_set(error, STILE_ERROR_MALFORMED,
                     "%s: %s is %" PRIu64 ", for its place in the set of %s it should be %" PRIu64
                     " (the files do not belong together: download them again)",
                     file->path, key, is, path, wanted);
}

/* Opens all files of the set that `named` (the split of the file at `path`) tells of. The file that is open already is
 * kept if it is the first, and forgotten otherwise: so all are treated the same way. */
static int set_open(struct gguf_private *set, const char *path, const struct split *named, struct stile_error *error)
{
    size_t prefix_bytes = 0;
    int code = shard_prefix(path, named, &prefix_bytes, error);
    if (code != 0) return code;
    struct gguf_file *files = calloc(named->count, sizeof *files);
    if (!files) return error_memory(error, named->count * sizeof *files, "the shards");
    if (named->no == 0) {
        files[0] = set->files[0];
    } else {
        file_close(&set->files[0]);
        set->n_tensors = 0;
    }
    free(set->files);
    set->files = files;
    set->n_files = named->count;
    for (uint64_t i = named->no == 0; code == 0 && i < named->count; i++) {
        struct split split;
        const char *name = shard_path(set, path, prefix_bytes, i, named->count);
        if (!name) return error_memory(error, prefix_bytes, "a path");
        code = file_open(set, &set->files[i], (uint32_t)i, name, error);
        if (code == 0) code = read_split(&set->files[i], &split, error);
        if (code == 0) code = check_split(&set->files[i], &split, i, named, path, error);
        if (code == 0 && i > 0) file_drop_metadata(&set->files[i]);
    }
    if (code == 0 && set->n_tensors != named->n_tensors)
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: split.tensors.count is %" PRIu64 ", the %" PRIu64
                         " shards hold %zu tensors (the files do not belong together: download them again)",
                         path, named->n_tensors, named->count, set->n_tensors);
    return code;
}

static void set_close(struct gguf_private *set)
{
    for (size_t i = 0; i < set->n_files; i++)
        file_close(&set->files[i]);
    free(set->files);
    free(set->tensors);
    free(set->tensor_at);
    free(set->names);
    if (set->mapping) munmap(set->mapping, set->mapping_bytes);
    for (uint32_t i = 0; i < set->n_maps; i++)
        map_close(set->maps[i]);
    arena_free(&set->arena);
    free(set);
}

/* One file; its split.* keys decide whether it is the whole. */
static int set_open_any(struct gguf_private *set, const char *path, struct stile_error *error)
{
    struct split split;
    set->files = calloc(1, sizeof *set->files);
    if (!set->files) return error_memory(error, sizeof *set->files, "a file");
    set->n_files = 1;
    int code = file_open(set, &set->files[0], 0, path, error);
    if (code == 0) code = read_split(&set->files[0], &split, error);
    return code != 0 || split.count == 0 ? code : set_open(set, path, &split, error);
}

/* Takes the set over, also on failure. */
static int gguf_create(struct gguf **out, struct gguf_private *set, const char *path, struct stile_error *error)
{
    int code = gguf_index_tensors(set, error);
    struct gguf *gguf = code == 0 ? arena_array(&set->arena, 1, sizeof *gguf) : NULL;
    struct map **maps = gguf ? arena_array(&set->arena, set->n_files, sizeof(struct map *)) : NULL;
    if (code == 0 && !maps) code = error_memory(error, sizeof *gguf, "a model file");
    if (code != 0) {
        set_close(set);
        return code;
    }
    for (size_t i = 0; i < set->n_files; i++)
        maps[i] = set->files[i].map;
    bool outside = set->outside != NULL, halves = false;
    for (size_t i = 0; i < set->n_tensors; i++)
        halves |= set->tensors[i].head_rows > 0;
    *gguf = (struct gguf){
        .path = path,
        .version = set->files[0].version,
        .n_shards = outside ? set->n_maps : (uint32_t)set->n_files,
        .maps = outside             ? set->maps
                : set->files[0].map ? maps
                                    : NULL,
        .halves = halves,
        .n_kv = set->files[0].n_kv,
        .kv = set->files[0].kv,
        .n_tensors = set->n_tensors,
        .tensors = set->tensors,
        .private = set,
    };
    *out = gguf;
    return 0;
}

int gguf_open_source(struct gguf **gguf, const char *path, const struct gguf_source *source, struct stile_error *error)
{
    struct gguf_private *set = calloc(1, sizeof *set);
    if (!set) return error_memory(error, sizeof *set, "a model file");
    set->source = source;
    const char *own = arena_string(&set->arena, path, strlen(path));
    int code = own ? set_open_any(set, own, error) : error_memory(error, strlen(path), "a path");
    if (code == 0) return gguf_create(gguf, set, own, error);
    set_close(set);
    return code;
}

int gguf_open(struct gguf **gguf, const char *path, struct stile_error *error)
{
    return gguf_open_source(gguf, path, NULL, error);
}

/* Takes the set over, and `owned` (NULL, or the bytes), also on failure. */
static int open_bytes(struct gguf **gguf, struct gguf_private *set, const char *path, const uint8_t *bytes, size_t n,
                      uint8_t *owned, struct stile_error *error)
{
    struct gguf_file *file = calloc(1, sizeof *file);
    set->files = file;
    if (!file) {
        free(owned);
        set_close(set);
        return error_memory(error, sizeof *file, "a model file");
    }
    *file = (struct gguf_file){
        .path = path,
        .reader = {.path = path, .fd = -1, .size_bytes = n, .bytes = bytes, .n_bytes = n, .owned = owned},
    };
    set->n_files = 1;
    int code = gguf_parse(set, file, 0, error);
    if (code == 0) return gguf_create(gguf, set, path, error);
    set_close(set);
    return code;
}

int gguf_open_bytes(struct gguf **gguf, const uint8_t *bytes, size_t n, struct stile_error *error)
{
    struct gguf_private *set = calloc(1, sizeof *set);
    if (!set) return error_memory(error, sizeof *set, "a model file");
    return open_bytes(gguf, set, "(memory)", bytes, n, NULL, error);
}

int gguf_open_mapping(struct gguf **gguf, const char *name, void *mapping, size_t n, struct stile_error *error)
{
    struct gguf_private *set = calloc(1, sizeof *set);
    if (!set) {
        munmap(mapping, n);
        return error_memory(error, sizeof *set, "a model file");
    }
    set->mapping = mapping;
    set->mapping_bytes = n;
    const char *path = arena_string(&set->arena, name, strlen(name));
    if (path) return open_bytes(gguf, set, path, mapping, n, NULL, error);
    set_close(set);
    return error_memory(error, strlen(name), "a name");
}

int gguf_open_outside(struct gguf **gguf, struct gguf_outside *outside, struct stile_error *error)
{
    struct gguf_private *set = calloc(1, sizeof *set);
    if (!set) {
        for (uint32_t i = 0; i < outside->n_maps; i++)
            map_close(outside->maps[i]);
        buffer_free(&outside->header);
        arena_free(&outside->arena);
        return error_memory(error, sizeof *set, "a model file");
    }
    set->arena = outside->arena;
    set->maps = outside->maps;
    set->n_maps = outside->n_maps;
    set->outside = outside->tensors;
    const char *path = arena_string(&set->arena, outside->path, strlen(outside->path));
    size_t n = outside->header.n;
    uint8_t *header = (uint8_t *)buffer_take(&outside->header);
    if (path && header) return open_bytes(gguf, set, path, header, n, header, error);
    free(header);
    set_close(set);
    return error_memory(error, n, "a model's keys");
}

int gguf_check_bytes(const uint8_t *bytes, size_t n, struct stile_error *error)
{
    struct gguf *gguf;
    int code = gguf_open_bytes(&gguf, bytes, n, error);
    if (code == 0) gguf_close(gguf);
    return code;
}

void gguf_close(struct gguf *gguf)
{
    if (gguf) set_close(gguf->private);
}

int gguf_check_maps(const struct gguf *gguf, struct stile_error *error)
{
    for (uint32_t i = 0; gguf->maps && i < gguf->n_shards; i++)
        if (map_failed(gguf->maps[i]))
            return error_set(error, STILE_ERROR_IO,
                             "%s: the file was truncated, overwritten or could not be read while it was in use (open "
                             "it again once it is whole)",
                             map_path(gguf->maps[i]));
    return 0;
}

uint64_t gguf_memory_bytes(const struct gguf *gguf)
{
    const struct gguf_private *set = gguf->private;
    uint64_t total = set->arena.total_bytes + set->tensor_capacity * (sizeof *set->tensors + sizeof *set->tensor_at);
    for (size_t i = 0; i < set->n_files; i++)
        if (set->files[i].kv) total += set->files[i].reader.at;
    return total;
}
