#include "file/safetensors.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of a header the format allows 100 MB; ours are limits on what a hostile one may cost, far above published files. */
enum {
    HEADER_BYTES_MAX = 16 << 20,
    NAME_BYTES_MAX = 1024,
    TENSORS_MAX = 1 << 18,
    SHARDS_MAX = 1024,
    FILE_NAME_BYTES_MAX = 255,
};

static const struct dtype {
    const char *name;
    uint32_t bits;
    enum format format;
} dtypes[] = {
    {"F32", 32, FORMAT_F32},      {"F16", 16, FORMAT_F16},      {"BF16", 16, FORMAT_BF16},
    {"BOOL", 8, FORMAT_COUNT},    {"U8", 8, FORMAT_COUNT},      {"I8", 8, FORMAT_COUNT},
    {"U16", 16, FORMAT_COUNT},    {"I16", 16, FORMAT_COUNT},    {"U32", 32, FORMAT_COUNT},
    {"I32", 32, FORMAT_COUNT},    {"U64", 64, FORMAT_COUNT},    {"I64", 64, FORMAT_COUNT},
    {"F64", 64, FORMAT_COUNT},    {"C64", 64, FORMAT_COUNT},    {"F8_E4M3", 8, FORMAT_COUNT},
    {"F8_E5M2", 8, FORMAT_COUNT}, {"F8_E8M0", 8, FORMAT_COUNT}, {"F6_E2M3", 6, FORMAT_COUNT},
    {"F6_E3M2", 6, FORMAT_COUNT}, {"F4", 4, FORMAT_COUNT},
};

#define DOWNLOAD "(damaged or truncated file: download it again)"

/* One file while it is read. */
struct file {
    const char *path; /* for messages */
    const uint8_t *bytes;
    uint64_t size_bytes;
    uint64_t data_at; /* where the data begins */
    uint32_t shard;
};

/* All tensors so far; they move while there come more. */
struct list {
    struct safetensors_tensor *items;
    size_t n, capacity;
};

static int malformed(const struct file *file, const char *name, const char *what, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor '%.100s': %s " DOWNLOAD, file->path, name, what);
}

static bool read_count(const json_t *value, uint64_t *count)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *count = (uint64_t)json_integer_value(value);
    return true;
}

static int read_shape(const struct file *file, const json_t *shape, struct safetensors_tensor *tensor,
                      uint64_t *n_elements, struct stile_error *error)
{
    if (!json_is_array(shape)) return malformed(file, tensor->name, "its shape is not an array", error);
    if (json_array_size(shape) > SAFETENSORS_DIMS_MAX)
        return malformed(file, tensor->name, "its shape has more than 8 dimensions", error);
    tensor->n_dims = (uint32_t)json_array_size(shape);

    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        if (!read_count(json_array_get(shape, i), &tensor->dims[i]))
            return malformed(file, tensor->name, "its shape is not of whole numbers", error);
        if (!checked_mul(*n_elements, tensor->dims[i], n_elements))
            return malformed(file, tensor->name, "its shape asks for more than 2^64 elements", error);
    }
    return 0;
}

static int read_tensor(const struct file *file, const json_t *object, struct safetensors_tensor *tensor,
                       struct stile_error *error)
{
    const char *dtype = json_string_value(json_object_get(object, "dtype"));
    const json_t *offsets = json_object_get(object, "data_offsets");
    uint64_t n_elements = 1, n_bits, begin, end;
    if (!dtype) return malformed(file, tensor->name, "it has no dtype", error);
    size_t i = 0, n = sizeof dtypes / sizeof *dtypes;
    while (i < n && strcmp(dtypes[i].name, dtype) != 0)
        i++;
    if (i == n)
        return error_set(error, STILE_ERROR_UNSUPPORTED, "%s: tensor '%.100s': dtype \"%.20s\" is unknown", file->path,
                         tensor->name, dtype);
    tensor->dtype = dtypes[i].name;
    tensor->format = dtypes[i].format;
    int failed = read_shape(file, json_object_get(object, "shape"), tensor, &n_elements, error);
    if (failed) return failed;
    if (json_array_size(offsets) != 2 || !read_count(json_array_get(offsets, 0), &begin) ||
        !read_count(json_array_get(offsets, 1), &end) || begin > end)
        return malformed(file, tensor->name, "its data_offsets are not a begin and an end", error);
    if (end > file->size_bytes - file->data_at)
        return malformed(file, tensor->name, "its data ends past the file's end", error);
    if (!checked_mul(n_elements, dtypes[i].bits, &n_bits) || n_bits % 8 != 0 || n_bits / 8 != end - begin)
        return malformed(file, tensor->name, "its shape and its data_offsets are of different sizes", error);
    tensor->offset_bytes = file->data_at + begin;
    tensor->size_bytes = end - begin;
    tensor->data = file->bytes + tensor->offset_bytes;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->offset_bytes != y->offset_bytes) return x->offset_bytes < y->offset_bytes ? -1 : 1;
    return (x->size_bytes > y->size_bytes) - (x->size_bytes < y->size_bytes); /* those without data first */
}

static int check_tiling(const struct file *file, struct safetensors_tensor *tensors, size_t n,
                        struct stile_error *error)
{
    uint64_t at = file->data_at;
    if (n > 0) qsort(tensors, n, sizeof *tensors, by_offset);
    for (size_t i = 0; i < n; i++) {
        if (tensors[i].offset_bytes < at)
            return malformed(file, tensors[i].name, "its data overlaps that of another tensor", error);
        if (tensors[i].offset_bytes > at)
            return malformed(file, tensors[i].name, "bytes before its data belong to no tensor", error);
        at += tensors[i].size_bytes;
    }
    if (at == file->size_bytes) return 0;
    return error_set(error, STILE_ERROR_MALFORMED,
                     "%s: the tensors end at %" PRIu64 ", the file at %" PRIu64 " " DOWNLOAD, file->path, at,
                     file->size_bytes);
}

static int grow(struct list *list, size_t n, struct stile_error *error)
{
    if (list->n + n <= list->capacity) return 0;
    struct safetensors_tensor *items = realloc(list->items, (list->n + n) * sizeof *items);
    if (!items) return error_memory(error, (list->n + n) * sizeof *items, "the table of tensors");
    list->items = items;
    list->capacity = list->n + n;
    return 0;
}

static int read_tensors(const struct file *file, json_t *header, struct arena *arena, struct list *list,
                        struct stile_error *error)
{
    const char *name;
    json_t *object;
    size_t first = list->n;
    if (list->n + json_object_size(header) > TENSORS_MAX)
        return error_set(error, STILE_ERROR_UNSUPPORTED, "%s: more than %d tensors", file->path, TENSORS_MAX);
    int failed = grow(list, json_object_size(header) + 1, error); /* never empty: no pointer is NULL */
    if (failed) return failed;
    json_object_foreach(header, name, object)
    {
        struct safetensors_tensor tensor = {.shard = file->shard};
        if (strcmp(name, "__metadata__") == 0) continue;
        if (!*name || strlen(name) > NAME_BYTES_MAX)
            return malformed(file, name, "its name is empty or longer than 1024 bytes", error);
        tensor.name = arena_string(arena, name, strlen(name));
        if (!tensor.name) return error_memory(error, strlen(name), "a tensor's name");
        failed = read_tensor(file, object, &tensor, error);
        if (failed) return failed;
        list->items[list->n++] = tensor;
    }
    return check_tiling(file, list->items + first, list->n - first, error);
}

static int read_file(struct file *file, struct arena *arena, struct list *list, struct stile_error *error)
{
    json_error_t why;
    if (file->size_bytes < 8)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: %" PRIu64 " bytes are no safetensors file " DOWNLOAD,
                         file->path, file->size_bytes);
    uint64_t n = load_u64(file->bytes);
    if (n > file->size_bytes - 8 || n == 0 || file->bytes[8] != '{')
        return error_set(error, STILE_ERROR_MALFORMED,
                         "%s: not a safetensors file: no header of %" PRIu64 " bytes at its beginning " DOWNLOAD,
                         file->path, n);
    if (n > HEADER_BYTES_MAX)
        return error_set(error, STILE_ERROR_UNSUPPORTED, "%s: a header of %" PRIu64 " bytes; at most %d are read",
                         file->path, n, HEADER_BYTES_MAX);
    file->data_at = 8 + n;
    json_t *header = json_loadb((const char *)file->bytes + 8, (size_t)n, JSON_REJECT_DUPLICATES, &why);
    if (!header)
        return error_set(error, STILE_ERROR_MALFORMED, "%s: its header is not JSON: byte %d: %s " DOWNLOAD, file->path,
                         why.position, why.text);
    int failed = read_tensors(file, header, arena, list, error);
    json_decref(header);
    return failed;
}

/* ---- files ------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct safetensors_tensor *)a)->name, ((const struct safetensors_tensor *)b)->name);
}

static int open_shard(struct safetensors *weights, const char *folder, const char *name, struct list *list,
                      struct stile_error *error)
{
    size_t n = strlen(folder) + 1 + strlen(name) + 1;
    char *path = arena_array(&weights->arena, n, 1);
    if (!path) return error_memory(error, n, "a path");
    snprintf(path, n, "%s/%s", folder, name);
    int failed = map_open(&weights->maps[weights->n_shards], path, error);
    if (failed) return failed;
    const struct map *map = weights->maps[weights->n_shards];
    struct file file = {
        .path = path, .bytes = map_data(map), .size_bytes = map_size_bytes(map), .shard = weights->n_shards++};
    failed = read_file(&file, &weights->arena, list, error);
    /* what was read from pages that are gone is not true */
    if (!failed && map_failed(map)) failed = error_set(error, STILE_ERROR_IO, "%s: cannot be read to its end", path);
    return failed;
}

/* A file of the folder itself. */
static bool is_plain(const char *name)
{
    static const char suffix[] = ".safetensors";
    size_t n = strlen(name);
    return n > sizeof suffix - 1 && n <= FILE_NAME_BYTES_MAX && name[0] != '.' && !strchr(name, '/') &&
           !strchr(name, '\\') && strcmp(name + n - (sizeof suffix - 1), suffix) == 0;
}

/* Opens each file that the map names, in the order in which they appear first. */
static int open_mapped(struct safetensors *weights, const char *folder, json_t *map, struct list *list,
                       struct stile_error *error)
{
    const char *tensor;
    json_t *value;
    int failed = 0;
    json_t *seen = json_object();
    weights->maps = arena_array(&weights->arena, SHARDS_MAX, sizeof(struct map *));
    if (!seen || !weights->maps) failed = error_memory(error, SHARDS_MAX * sizeof(struct map *), "the shards");
    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (failed) break;
        if (!name || !is_plain(name))
            failed = error_set(error, STILE_ERROR_MALFORMED,
                               "%s/model.safetensors.index.json: tensor '%.100s': \"%.100s\" is not the name of a "
                               ".safetensors file in this folder",
                               folder, tensor, name ? name : "");
        else if (json_object_get(seen, name))
            continue;
        else if (weights->n_shards == SHARDS_MAX)
            failed = error_set(error, STILE_ERROR_UNSUPPORTED, "%s: more than %d shards", folder, SHARDS_MAX);
        else if (json_object_set_new(seen, name, json_integer(weights->n_shards)) != 0)
            failed = error_memory(error, strlen(name), "the shards");
        else
            failed = open_shard(weights, folder, name, list, error);
    }
    json_decref(seen);
    return failed;
}

/* Index and shards must name the same tensors. */
static int check_index(const struct safetensors *weights, const char *folder, json_t *map, struct stile_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach(map, name, value)
    {
        const struct safetensors_tensor *tensor = safetensors_find(weights, name);
        const char *path = tensor ? map_path(weights->maps[tensor->shard]) : "";
        const char *slash = strrchr(path, '/');
        if (!tensor || strcmp(slash ? slash + 1 : path, json_string_value(value)) != 0)
            return error_set(error, STILE_ERROR_MALFORMED,
                             "%s/model.safetensors.index.json: tensor '%.100s' is not in %s (the files do not belong "
                             "together: download them again)",
                             folder, name, json_string_value(value));
    }
    if (json_object_size(map) == weights->n_tensors) return 0;
    return error_set(error, STILE_ERROR_MALFORMED,
                     "%s/model.safetensors.index.json names %zu tensors, the shards hold %zu (the files do not belong "
                     "together: download them again)",
                     folder, json_object_size(map), weights->n_tensors);
}

static int sort(struct safetensors *weights, const char *folder, struct list *list, struct stile_error *error)
{
    if (list->n == 0) return error_set(error, STILE_ERROR_MALFORMED, "%s: no tensors", folder);
    struct safetensors_tensor *tensors = arena_array(&weights->arena, list->n, sizeof *tensors);
    if (!tensors) return error_memory(error, list->n * sizeof *tensors, "the table of tensors");
    memcpy(tensors, list->items, list->n * sizeof *tensors);
    qsort(tensors, list->n, sizeof *tensors, by_name);
    for (size_t i = 1; i < list->n; i++)
        if (strcmp(tensors[i - 1].name, tensors[i].name) == 0)
            return error_set(error, STILE_ERROR_MALFORMED, "%s: tensor '%.100s' is in two shards", folder,
                             tensors[i].name);
    weights->tensors = tensors;
    weights->n_tensors = list->n;
    return 0;
}

static int open_index(struct safetensors *weights, const char *folder, const char *path, struct list *list,
                      struct stile_error *error)
{
    json_error_t why;
    struct map *file;
    int failed = map_open(&file, path, error);
    if (failed) return failed;
    if (map_size_bytes(file) > HEADER_BYTES_MAX) {
        failed = error_set(error, STILE_ERROR_UNSUPPORTED, "%s: more than %d bytes", path, HEADER_BYTES_MAX);
        map_close(file);
        return failed;
    }
    json_t *index =
        json_loadb((const char *)map_data(file), (size_t)map_size_bytes(file), JSON_REJECT_DUPLICATES, &why);
    map_close(file);
    json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map))
        failed = error_set(error, STILE_ERROR_MALFORMED, "%s: not JSON with an object \"weight_map\": %s", path,
                           index ? "it is missing" : why.text);
    if (!failed) failed = open_mapped(weights, folder, map, list, error);
    if (!failed) failed = sort(weights, folder, list, error);
    if (!failed) failed = check_index(weights, folder, map, error);
    json_decref(index);
    return failed;
}

static int open_single(struct safetensors *weights, const char *folder, struct list *list, struct stile_error *error)
{
    weights->maps = arena_array(&weights->arena, 1, sizeof(struct map *));
    if (!weights->maps) return error_memory(error, sizeof(struct map *), "the shards");
    int failed = open_shard(weights, folder, "model.safetensors", list, error);
    return failed ? failed : sort(weights, folder, list, error);
}

int safetensors_open(struct safetensors **out, const char *folder, struct stile_error *error)
{
    static const char index[] = "/model.safetensors.index.json";
    struct list list = {0};
    struct safetensors *weights = calloc(1, sizeof *weights);
    char *path = malloc(strlen(folder) + sizeof index);
    if (!weights || !path) {
        free(weights);
        free(path);
        return error_memory(error, sizeof *weights, "weights");
    }
    sprintf(path, "%s%s", folder, index);
    int failed = access(path, F_OK) == 0 ? open_index(weights, folder, path, &list, error)
                                         : open_single(weights, folder, &list, error);
    free(path);
    free(list.items);
    if (failed) {
        safetensors_close(weights);
        return failed;
    }
    *out = weights;
    return 0;
}

void safetensors_close(struct safetensors *weights)
{
    if (!weights) return;
    for (uint32_t i = 0; i < weights->n_shards; i++)
        map_close(weights->maps[i]);
    arena_free(&weights->arena);
    free(weights);
}

struct map **safetensors_take_maps(struct safetensors *weights)
{
    weights->n_shards = 0;
    return weights->maps;
}

const struct safetensors_tensor *safetensors_find(const struct safetensors *weights, const char *name)
{
    const struct safetensors_tensor key = {.name = name};
    return bsearch(&key, weights->tensors, weights->n_tensors, sizeof key, by_name);
}

int safetensors_open_bytes(struct safetensors **out, const uint8_t *bytes, size_t n, struct stile_error *error)
{
    struct list list = {0};
    struct file file = {.path = "(memory)", .bytes = bytes, .size_bytes = n};
    struct safetensors *weights = calloc(1, sizeof *weights);
    if (!weights) return error_memory(error, sizeof *weights, "weights");
    int failed = read_file(&file, &weights->arena, &list, error);
    if (!failed) failed = sort(weights, file.path, &list, error);
    free(list.items);
    if (failed) {
        safetensors_close(weights);
        return failed;
    }
    *out = weights;
    return 0;
}
