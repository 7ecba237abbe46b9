#include "base/bytes.h"
#include "file/gguf_private.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_to_key(const void *key, const void *entry)
{
    return strcmp(key, (*(const struct gguf_kv *const *)entry)->key);
}

static int compare_to_name(const void *name, const void *entry)
{
    return strcmp(name, (*(const struct gguf_tensor *const *)entry)->name);
}

const struct gguf_kv *gguf_file_find(const struct gguf_file *file, const char *key)
{
    const struct gguf_kv **found =
        file->n_kv == 0 ? NULL : bsearch(key, file->keys, file->n_kv, sizeof(const struct gguf_kv *), compare_to_key);
    return found ? *found : NULL;
}

const struct gguf_kv *gguf_find(const struct gguf *gguf, const char *key)
{
    return gguf_file_find(&gguf->private->files[0], key);
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name)
{
    const struct gguf_private *set = gguf->private;
    const struct gguf_tensor **found =
        bsearch(name, set->names, set->n_tensors, sizeof(const struct gguf_tensor *), compare_to_name);
    return found ? *found : NULL;
}

static const char *type_name(const struct gguf_kv *kv)
{
    static const char *const names[GGUF_TYPE_COUNT] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                                       "bool", "string", "array", "u64", "i64", "f64"};
    return names[kv->type];
}

static uint64_t offset_of(const struct gguf_file *file, const struct gguf_kv *kv)
{
    return file->kv_at[kv - file->kv];
}

static int fail_type(const struct gguf_file *file, const struct gguf_kv *kv, const char *wanted,
                     struct stile_error *error)
{
    return gguf_fail(&file->reader, offset_of(file, kv), STILE_ERROR_MALFORMED, error,
                     "key '%.100s' is of type %s, not %s", kv->key, type_name(kv), wanted);
}

int gguf_file_u64(const struct gguf_file *file, const char *key, uint64_t min, uint64_t max, uint64_t *value,
                  struct stile_error *error)
{
    const struct gguf_kv *kv = gguf_file_find(file, key);
    int64_t small;
    if (!kv) return 0;
    if (kv->type == GGUF_ARRAY || kv->type == GGUF_BOOL) return fail_type(file, kv, "an integer", error);
    if (kv->type == GGUF_U64) {
        uint64_t large = load_u64(kv->data);
        if (large >= min && large <= max) *value = large;
        if (large >= min && large <= max) return 0;
        return gguf_fail(&file->reader, offset_of(file, kv), STILE_ERROR_MALFORMED, error,
                         "key '%.100s' is %" PRIu64 ", not in %" PRIu64 "..%" PRIu64, key, large, min, max);
    }
    if (!gguf_element_i64(kv, 0, &small)) return fail_type(file, kv, "an integer", error);
    if (small < 0 || (uint64_t)small < min || (uint64_t)small > max)
        return gguf_fail(&file->reader, offset_of(file, kv), STILE_ERROR_MALFORMED, error,
                         "key '%.100s' is %" PRId64 ", not in %" PRIu64 "..%" PRIu64, key, small, min, max);
    *value = (uint64_t)small;
    return 0;
}

int gguf_get_u64(const struct gguf *gguf, const char *key, uint64_t min, uint64_t max, uint64_t *value,
                 struct stile_error *error)
{
    return gguf_file_u64(&gguf->private->files[0], key, min, max, value, error);
}

int gguf_get_f32(const struct gguf *gguf, const char *key, float *value, struct stile_error *error)
{
    const struct gguf_file *file = &gguf->private->files[0];
    const struct gguf_kv *kv = gguf_find(gguf, key);
    double wide;
    if (!kv) return 0;
    if (kv->type == GGUF_ARRAY || !gguf_element_f64(kv, 0, &wide)) return fail_type(file, kv, "a float", error);
    float narrow = (float)wide;
    if (!isfinite(narrow))
        return gguf_fail(&file->reader, offset_of(file, kv), STILE_ERROR_MALFORMED, error,
                         "key '%.100s' is %g, not a finite 32-bit float", key, wide);
    *value = narrow;
    return 0;
}

int gguf_get_bool(const struct gguf *gguf, const char *key, bool *value, struct stile_error *error)
{
    const struct gguf_kv *kv = gguf_find(gguf, key);
    if (!kv) return 0;
    if (kv->type != GGUF_BOOL) return fail_type(&gguf->private->files[0], kv, "bool", error);
    *value = kv->data[0] != 0;
    return 0;
}

int gguf_get_string(const struct gguf *gguf, const char *key, const char **value, struct stile_error *error)
{
    const struct gguf_file *file = &gguf->private->files[0];
    const struct gguf_kv *kv = gguf_find(gguf, key);
    struct gguf_string string = {0};
    if (!kv) return 0;
    if (kv->type != GGUF_STRING) return fail_type(file, kv, "string", error);
    struct gguf_strings strings = gguf_strings(kv);
    gguf_strings_next(&strings, &string);
    if (memchr(string.bytes, '\0', string.n))
        return gguf_fail(&file->reader, offset_of(file, kv), STILE_ERROR_MALFORMED, error, "key '%.100s' holds a NUL",
                         key);
    const char *copy = arena_string(&gguf->private->arena, string.bytes, string.n);
    if (!copy) return error_memory(error, string.n, key);
    *value = copy;
    return 0;
}

bool gguf_element_i64(const struct gguf_kv *kv, uint64_t i, int64_t *value)
{
    if (i >= kv->n) return false;
    const uint8_t *at = kv->data + i * gguf_type_bytes(kv->element);
    switch (kv->element) {
    case GGUF_U8: *value = *at; return true;
    case GGUF_I8: *value = (int8_t)*at; return true;
    case GGUF_U16: *value = load_u16(at); return true;
    case GGUF_I16: *value = (int16_t)load_u16(at); return true;
    case GGUF_U32: *value = load_u32(at); return true;
    case GGUF_I32: *value = (int32_t)load_u32(at); return true;
    case GGUF_BOOL: *value = *at != 0; return true;
    case GGUF_U64:
        if (load_u64(at) > INT64_MAX) return false;
        *value = (int64_t)load_u64(at);
        return true;
    case GGUF_I64: *value = (int64_t)load_u64(at); return true;
    default: return false;
    }
}

bool gguf_element_f64(const struct gguf_kv *kv, uint64_t i, double *value)
{
    if (i >= kv->n || (kv->element != GGUF_F32 && kv->element != GGUF_F64)) return false;
    const uint8_t *at = kv->data + i * gguf_type_bytes(kv->element);
    if (kv->element == GGUF_F32)
        *value = (double)f32_from_bits(load_u32(at));
    else
        memcpy(value, at, sizeof *value);
    return true;
}

struct gguf_strings gguf_strings(const struct gguf_kv *kv)
{
    return (struct gguf_strings){.at = kv->data, .n_left = kv->element == GGUF_STRING ? kv->n : 0};
}

bool gguf_strings_next(struct gguf_strings *strings, struct gguf_string *string)
{
    if (strings->n_left == 0) return false;
    size_t n = load_u64(strings->at);
    *string = (struct gguf_string){.bytes = (const char *)strings->at + 8, .n = n};
    strings->at += 8 + n;
    strings->n_left--;
    return true;
}
