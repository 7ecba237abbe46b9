#include "base/bytes.h"
#include "file/gguf_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The smallest records that counts can promise: an empty key with a one-byte value; a nameless scalar tensor. */
enum { KV_BYTES_MIN = 8 + 4 + 1, TENSOR_BYTES_MIN = 8 + 4 + 4 + 8 };

uint64_t gguf_type_bytes(enum gguf_type type)
{
    static const uint8_t bytes[GGUF_TYPE_COUNT] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,   [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4,
        [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
    };
    return bytes[type];
}

static int parse_version(struct gguf_file *file, struct stile_error *error)
{
    struct gguf_reader *reader = &file->reader;
    int code = gguf_reader_need(reader, 4, "the magic 'GGUF'", error);
    if (code != 0) return code;
    if (memcmp(reader->bytes, "GGUF", 4) != 0)
        return gguf_fail(reader, 0, STILE_ERROR_MALFORMED, error, "not a GGUF file: it begins with '%.4s', not 'GGUF'",
                         (const char *)reader->bytes);
    reader->at = 4;
    code = gguf_reader_u32(reader, "version", &file->version, error);
    if (code != 0) return code;
    uint32_t version = file->version;
    if (version == 2 || version == 3) return 0;
    if (version != 0 && (version & 0xffff) == 0)
        return gguf_fail(reader, 4, STILE_ERROR_UNSUPPORTED, error,
                         "this is a big-endian GGUF file (get the little-endian one)");
    if (version == 1)
        return gguf_fail(reader, 4, STILE_ERROR_UNSUPPORTED, error,
                         "GGUF version 1 is obsolete (get a newer copy of the model, version 2 or 3)");
    if (version == 0) return gguf_fail(reader, 4, STILE_ERROR_MALFORMED, error, "GGUF version 0 does not exist");
    return gguf_fail(reader, 4, STILE_ERROR_UNSUPPORTED, error,
                     "GGUF version %" PRIu32 " is unknown, 2 and 3 are known (is there a newer stile?)", version);
}

/* A type id that may follow: of a value, or of an array's elements. */
static int parse_type(struct gguf_reader *reader, const char *what, enum gguf_type *type, struct stile_error *error)
{
    uint32_t id;
    uint64_t at = reader->at;
    int code = gguf_reader_u32(reader, what, &id, error);
    if (code != 0) return code;
    if (id >= GGUF_TYPE_COUNT)
        return gguf_fail(reader, at, STILE_ERROR_MALFORMED, error, "%s %" PRIu32 " is not one of 0..%d", what, id,
                         GGUF_TYPE_COUNT - 1);
    *type = (enum gguf_type)id;
    return 0;
}

static int parse_value(struct gguf_reader *reader, struct gguf_kv *kv, struct stile_error *error)
{
    int code = parse_type(reader, "value type", &kv->type, error);
    kv->element = kv->type;
    kv->n = 1;
    if (code == 0 && kv->type == GGUF_ARRAY) {
        uint64_t at = reader->at;
        code = parse_type(reader, "element type", &kv->element, error);
        if (code == 0 && kv->element == GGUF_ARRAY)
            return gguf_fail(reader, at, STILE_ERROR_UNSUPPORTED, error, "arrays of arrays are not supported");
        uint64_t bytes_min = kv->element == GGUF_STRING ? 8 : gguf_type_bytes(kv->element);
        if (code == 0)
            code = gguf_reader_count(reader, "array count", bytes_min, GGUF_ARRAY_ELEMENTS_MAX, &kv->n, error);
    }
    if (code != 0) return code;
    uint64_t begin = reader->at;
    if (kv->element == GGUF_STRING) {
        code = gguf_reader_skip_strings(reader, kv->n, error);
    } else {
        /* cannot overflow: the count fits the file */
        uint64_t size_bytes = kv->n * gguf_type_bytes(kv->element);
        code = gguf_reader_need(reader, size_bytes, "value", error);
        if (code == 0) reader->at += size_bytes;
    }
    kv->size_bytes = reader->at - begin;
    return code;
}

static int compare_keys(const void *a, const void *b)
{
    const struct gguf_kv *x = *(const struct gguf_kv *const *)a, *y = *(const struct gguf_kv *const *)b;
    int order = strcmp(x->key, y->key);
    return order != 0 ? order : (x > y) - (x < y); /* equal keys in file order */
}

static int sort_keys(struct gguf_file *file, struct stile_error *error)
{
    struct gguf_reader *reader = &file->reader;
    file->keys = malloc((file->n_kv + 1) * sizeof *file->keys);
    if (!file->keys) return error_memory(error, file->n_kv * sizeof *file->keys, "the index of keys");
    for (size_t i = 0; i < file->n_kv; i++)
        file->keys[i] = &file->kv[i];
    qsort(file->keys, file->n_kv, sizeof *file->keys, compare_keys);
    for (size_t i = 1; i < file->n_kv; i++)
        if (strcmp(file->keys[i - 1]->key, file->keys[i]->key) == 0)
            return gguf_fail(reader, file->kv_at[file->keys[i] - file->kv], STILE_ERROR_MALFORMED, error,
                             "key '%.100s' appears twice", file->keys[i]->key);
    return 0;
}

static int parse_kvs(struct gguf_private *set, struct gguf_file *file, uint64_t n, struct stile_error *error)
{
    struct gguf_reader *reader = &file->reader;
    int code = 0;
    for (uint64_t i = 0; code == 0 && i < n; i++) {
        struct gguf_kv kv = {0};
        reader->item = "key-value";
        reader->item_i = i;
        reader->item_name = NULL;
        code = gguf_reader_name(reader, "key", GGUF_KEY_BYTES_MAX, &set->arena, &kv.key, error);
        reader->item_name = kv.key;
        if (code == 0) code = parse_value(reader, &kv, error);
        if (code == 0)
            code = gguf_grow((void **)&file->kv, sizeof kv, &file->kv_at, file->n_kv, &file->kv_capacity, n, error);
        if (code == 0) {
            file->kv_at[file->n_kv] = reader->at - kv.size_bytes;
            file->kv[file->n_kv++] = kv;
        }
    }
    reader->item = NULL;
    return code;
}

static int read_alignment(struct gguf_file *file, struct stile_error *error)
{
    const struct gguf_kv *kv = gguf_file_find(file, "general.alignment");
    file->alignment = GGUF_ALIGNMENT_DEFAULT;
    if (!kv) return 0;
    uint64_t at = file->kv_at[kv - file->kv];
    if (kv->type != GGUF_U32)
        return gguf_fail(&file->reader, at, STILE_ERROR_MALFORMED, error, "general.alignment is not of type u32");
    uint32_t alignment = load_u32(file->reader.bytes + at);
    if (alignment < GGUF_ALIGNMENT_MIN || alignment > GGUF_ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
        return gguf_fail(&file->reader, at, STILE_ERROR_MALFORMED, error,
                         "general.alignment %" PRIu32 " is not a power of two in %d..%d", alignment, GGUF_ALIGNMENT_MIN,
                         GGUF_ALIGNMENT_MAX);
    file->alignment = alignment;
    return 0;
}

int gguf_parse(struct gguf_private *set, struct gguf_file *file, uint32_t shard, struct stile_error *error)
{
    uint64_t n_tensors = 0, n_kv = 0;
    struct gguf_reader *reader = &file->reader;
    int code = parse_version(file, error);
    if (code == 0)
        code = gguf_reader_count(reader, "tensor count", TENSOR_BYTES_MIN, GGUF_TENSORS_MAX, &n_tensors, error);
    if (code == 0) code = gguf_reader_count(reader, "key-value count", KV_BYTES_MIN, GGUF_KV_MAX, &n_kv, error);
    if (code == 0) code = parse_kvs(set, file, n_kv, error);
    if (code == 0) code = sort_keys(file, error);
    if (code == 0) code = read_alignment(file, error);
    if (code == 0) code = gguf_parse_tensors(set, file, shard, n_tensors, error);
    if (code == 0) gguf_reader_trim(reader);
    /* only now: what was read so far moves while it grows */
    for (size_t i = 0; code == 0 && i < file->n_kv; i++)
        file->kv[i].data = reader->bytes + file->kv_at[i];
    return code;
}
