#include "base/checked.h"
#include "file/gguf_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int parse_dims(struct gguf_reader *reader, struct gguf_tensor *tensor, struct stile_error *error)
{
    uint64_t at = reader->at, product = 1;
    int code = gguf_reader_u32(reader, "dimension count", &tensor->n_dims, error);
    if (code != 0) return code;
    if (tensor->n_dims > GGUF_DIMS_MAX)
        return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error, "%" PRIu32 " dimensions, at most %d are allowed",
                         tensor->n_dims, GGUF_DIMS_MAX);
    tensor->n_elements = 1;
    for (uint32_t i = 0; i < GGUF_DIMS_MAX; i++)
        tensor->dims[i] = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        uint64_t dim;
        at = reader->at;
        code = gguf_reader_u64(reader, "dimension", &dim, error);
        if (code != 0) return code;
        if (dim > INT64_MAX)
            return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error, "dimension %" PRIu32 " is negative", i);
        /* Zeros left out, so that the product of any of the dimensions fits too. */
        if (dim != 0 && (!checked_mul(product, dim, &product) || product > INT64_MAX))
            return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error,
                             "dimension %" PRIu32 " of %" PRIu64 " makes more than 2^63 elements", i, dim);
        tensor->dims[i] = dim;
        if (dim == 0) tensor->n_elements = 0;
    }
    if (tensor->n_elements > 0) tensor->n_elements = product;
    return 0;
}

static int parse_format(struct gguf_reader *reader, struct gguf_tensor *tensor, struct stile_error *error)
{
    uint32_t id;
    uint64_t at = reader->at, row_bytes;
    int code = gguf_reader_u32(reader, "number format", &id, error);
    if (code != 0) return code;
    const struct format_info *info = format_info(id);
    const char *retired = format_retired_name(id);
    if (!info && retired)
        return gguf_fail(reader, at, STILE_ERROR_UNSUPPORTED, error,
                         "number format %" PRIu32 ", %s, is not supported (get the model in another format)", id,
                         retired);
    if (!info)
        return gguf_fail(reader, at, STILE_ERROR_UNSUPPORTED, error,
                         "number format %" PRIu32 " is unknown (a damaged file, or newer than this program)", id);
    tensor->format = (enum format)id;
    if (tensor->dims[0] % info->block_elements != 0)
        return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error,
                         "rows of %" PRIu64 " elements are not whole blocks of %" PRIu32 ", as %s has them",
                         tensor->dims[0], info->block_elements, info->name);
    uint64_t n_rows = tensor->dims[0] > 0 ? tensor->n_elements / tensor->dims[0] : 0;
    if (!format_row_bytes(tensor->format, tensor->dims[0], &row_bytes) ||
        !checked_mul(row_bytes, n_rows, &tensor->size_bytes))
        return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error,
                         "%" PRIu64 " elements of %s are more than 2^64 bytes", tensor->n_elements, info->name);
    return 0;
}

static int parse_tensor(struct gguf_private *set, struct gguf_file *file, struct gguf_tensor *tensor,
                        struct stile_error *error)
{
    struct gguf_reader *reader = &file->reader;
    int code = gguf_reader_name(reader, "tensor name", GGUF_NAME_BYTES_MAX, &set->arena, &tensor->name, error);
    reader->item_name = tensor->name;
    if (code == 0) code = parse_dims(reader, tensor, error);
    if (code == 0) code = parse_format(reader, tensor, error);
    uint64_t at = reader->at;
    if (code == 0) code = gguf_reader_u64(reader, "offset", &tensor->offset_bytes, error);
    if (code == 0 && tensor->offset_bytes % file->alignment != 0)
        code = gguf_fail(reader, at, STILE_ERROR_MALFORMED, error,
                         "offset %" PRIu64 " is not a multiple of the alignment %" PRIu64, tensor->offset_bytes,
                         file->alignment);
    return code;
}

/* From offsets in the data section to offsets in the file; every tensor must end inside the file. */
static int place_tensors(struct gguf_private *set, struct gguf_file *file, size_t first, struct stile_error *error)
{
    struct gguf_reader *reader = &file->reader;
    const uint8_t *data = file->map ? map_data(file->map) : reader->bytes;
    uint64_t data_at, end;
    if (first == set->n_tensors) return 0;
    if (!checked_align(reader->at, file->alignment, &data_at))
        return gguf_fail(reader, reader->at, STILE_ERROR_MALFORMED, error, "the file is too large");
    for (size_t i = first; i < set->n_tensors; i++) {
        struct gguf_tensor *tensor = &set->tensors[i];
        reader->item_name = tensor->name;
        if (!checked_add(data_at, tensor->offset_bytes, &tensor->offset_bytes) ||
            !checked_add(tensor->offset_bytes, tensor->size_bytes, &end))
            return gguf_fail(reader, set->tensor_at[i], STILE_ERROR_MALFORMED, error,
                             "its data would end past 2^64 bytes");
        if (tensor->size_bytes > 0 && end > reader->size_bytes)
            return gguf_fail(reader, set->tensor_at[i], STILE_ERROR_MALFORMED, error,
                             "its data ends at %" PRIu64 ", the file at %" PRIu64, end, reader->size_bytes);
        if (reader->source) continue;
        /* one without elements may stand behind the end, where the last padding is missing */
        tensor->data = tensor->size_bytes > 0 ? data + tensor->offset_bytes : data;
    }
    return 0;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a, *y = *(const struct gguf_tensor *const *)b;
    if (x->offset_bytes != y->offset_bytes) return x->offset_bytes < y->offset_bytes ? -1 : 1;
    return (x > y) - (x < y);
}

/* Where tensors lie that are in no GGUF file. */
static int place_outside(struct gguf_private *set, struct stile_error *error)
{
    for (size_t i = 0; i < set->n_tensors; i++) {
        struct gguf_tensor *tensor = &set->tensors[i];
        const struct gguf_outside_tensor *outside = &set->outside[i];
        if (outside->n_places != 1 && outside->n_places != tensor->dims[2])
            return error_set(error, STILE_ERROR_MALFORMED,
                             "%s: tensor '%s': %" PRIu64 " matrices where its shape has %" PRIu64, set->files[0].path,
                             tensor->name, outside->n_places, tensor->dims[2]);
        tensor->shard = outside->places[0].shard;
        tensor->offset_bytes = outside->places[0].offset_bytes;
        tensor->data = outside->places[0].data;
        tensor->parts = outside->n_places > 1 ? outside->places : NULL;
        tensor->head_rows = outside->head_rows;
    }
    return 0;
}

/* Any order and any gaps are fine; no byte may belong to two tensors. */
static int check_overlap(struct gguf_private *set, struct gguf_file *file, size_t first, struct stile_error *error)
{
    struct gguf_reader *reader = &file->reader;
    size_t n = 0, n_new = set->n_tensors - first;
    int code = 0;
    const struct gguf_tensor **order = malloc((n_new + 1) * sizeof *order);
    if (!order) return error_memory(error, n_new * sizeof *order, "the order of tensors");
    for (size_t i = first; i < set->n_tensors; i++)
        if (set->tensors[i].size_bytes > 0) order[n++] = &set->tensors[i];
    qsort(order, n, sizeof *order, compare_offsets);
    for (size_t i = 1; code == 0 && i < n; i++) {
        if (order[i]->offset_bytes - order[i - 1]->offset_bytes >= order[i - 1]->size_bytes) continue;
        reader->item_name = order[i]->name;
        code = gguf_fail(reader, set->tensor_at[order[i] - set->tensors], STILE_ERROR_MALFORMED, error,
                         "its data overlaps that of tensor '%s'", order[i - 1]->name);
    }
    free(order);
    return code;
}

int gguf_parse_tensors(struct gguf_private *set, struct gguf_file *file, uint32_t shard, uint64_t n,
                       struct stile_error *error)
{
    struct gguf_reader *reader = &file->reader;
    size_t first = set->n_tensors;
    int code = 0;
    reader->item = "tensor";
    for (uint64_t i = 0; code == 0 && i < n; i++) {
        struct gguf_tensor tensor = {.shard = shard};
        uint64_t at = reader->at;
        reader->item_i = i;
        reader->item_name = NULL;
        code = parse_tensor(set, file, &tensor, error);
        if (code == 0)
            code = gguf_grow((void **)&set->tensors, sizeof tensor, &set->tensor_at, set->n_tensors,
                             &set->tensor_capacity, first + n, error);
        if (code == 0) {
            set->tensor_at[set->n_tensors] = at;
            set->tensors[set->n_tensors++] = tensor;
        }
    }
    if (code == 0 && set->outside) {
        reader->item = NULL;
        return place_outside(set, error);
    }
    if (code == 0) code = place_tensors(set, file, first, error);
    if (code == 0) code = check_overlap(set, file, first, error);
    reader->item = NULL;
    return code;
}

static int compare_names(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a, *y = *(const struct gguf_tensor *const *)b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x > y) - (x < y); /* equal names in file order */
}

int gguf_index_tensors(struct gguf_private *set, struct stile_error *error)
{
    set->names = malloc((set->n_tensors + 1) * sizeof *set->names);
    if (!set->names) return error_memory(error, set->n_tensors * sizeof *set->names, "the index of tensors");
    for (size_t i = 0; i < set->n_tensors; i++)
        set->names[i] = &set->tensors[i];
    qsort(set->names, set->n_tensors, sizeof *set->names, compare_names);
    for (size_t i = 1; i < set->n_tensors; i++) {
        const struct gguf_tensor *one = set->names[i - 1], *two = set->names[i];
        if (strcmp(one->name, two->name) != 0) continue;
        return gguf_fail(&set->files[two->shard].reader, set->tensor_at[two - set->tensors], STILE_ERROR_MALFORMED,
                         error, "tensor name '%s' appears twice, also in %s", two->name, set->files[one->shard].path);
    }
    return 0;
}
