#include "file/gguf_header.h"

#include <assert.h>
#include <string.h>

/* Numbers lie in memory as in the file: bytes.h refuses big-endian machines. */
static void add_u32(struct buffer *out, uint32_t value)
{
    buffer_add(out, &value, sizeof value);
}

static void add_u64(struct buffer *out, uint64_t value)
{
    buffer_add(out, &value, sizeof value);
}

static void pad(struct buffer *out, uint32_t alignment)
{
    while (out->n % alignment != 0 && !out->failed)
        buffer_char(out, 0);
}

void gguf_header_init(struct gguf_header *header, const char *architecture)
{
    *header = (struct gguf_header){.architecture = architecture, .alignment = GGUF_HEADER_ALIGNMENT};
}

void gguf_header_free(struct gguf_header *header)
{
    buffer_free(&header->keys);
    buffer_free(&header->tensors);
}

static void add_key(struct gguf_header *header, const char *key, enum gguf_type type)
{
    const char *before = key[0] == '.' ? header->architecture : "";
    size_t n_before = strlen(before), n = strlen(key);
    add_u64(&header->keys, n_before + n);
    buffer_add(&header->keys, before, n_before);
    buffer_add(&header->keys, key, n);
    add_u32(&header->keys, type);
    header->n_keys++;
}

void gguf_header_u32(struct gguf_header *header, const char *key, uint32_t value)
{
    add_key(header, key, GGUF_U32);
    add_u32(&header->keys, value);
}

void gguf_header_u64(struct gguf_header *header, const char *key, uint64_t value)
{
    add_key(header, key, GGUF_U64);
    add_u64(&header->keys, value);
}

void gguf_header_f32(struct gguf_header *header, const char *key, float value)
{
    add_key(header, key, GGUF_F32);
    buffer_add(&header->keys, &value, sizeof value);
}

void gguf_header_bool(struct gguf_header *header, const char *key, bool value)
{
    add_key(header, key, GGUF_BOOL);
    buffer_char(&header->keys, value ? 1 : 0);
}

void gguf_header_bytes(struct gguf_header *header, const char *bytes, size_t n)
{
    add_u64(&header->keys, n);
    buffer_add(&header->keys, bytes, n);
}

void gguf_header_string(struct gguf_header *header, const char *key, const char *value)
{
    add_key(header, key, GGUF_STRING);
    gguf_header_bytes(header, value, strlen(value));
}

void gguf_header_array(struct gguf_header *header, const char *key, enum gguf_type element, uint64_t n)
{
    add_key(header, key, GGUF_ARRAY);
    add_u32(&header->keys, element);
    add_u64(&header->keys, n);
}

void gguf_header_copy(struct gguf_header *header, const struct gguf_kv *kv)
{
    if (kv->type == GGUF_ARRAY)
        gguf_header_array(header, kv->key, kv->element, kv->n);
    else
        add_key(header, kv->key, kv->type);
    buffer_add(&header->keys, kv->data, kv->size_bytes);
}

uint64_t gguf_header_tensor(struct gguf_header *header, const char *name, enum format format, uint32_t n_dims,
                            const uint64_t *dims)
{
    uint64_t size_bytes = 0, at = (header->data_bytes + header->alignment - 1) / header->alignment * header->alignment;
    bool whole = format_row_bytes(format, dims[0], &size_bytes);
    assert(whole && n_dims >= 1 && n_dims <= 4);
    (void)whole;
    add_u64(&header->tensors, strlen(name));
    buffer_string(&header->tensors, name);
    add_u32(&header->tensors, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) {
        add_u64(&header->tensors, dims[i]);
        if (i > 0) size_bytes *= dims[i];
    }
    add_u32(&header->tensors, format);
    add_u64(&header->tensors, at);
    header->n_tensors++;
    header->data_bytes = at + size_bytes;
    return at;
}

void gguf_header_finish(const struct gguf_header *header, struct buffer *out)
{
    assert(out->n == 0);
    buffer_string(out, "GGUF");
    add_u32(out, 3);
    add_u64(out, header->n_tensors);
    add_u64(out, header->n_keys);
    buffer_add(out, header->keys.data, header->keys.n);
    buffer_add(out, header->tensors.data, header->tensors.n);
    out->failed |= header->keys.failed || header->tensors.failed;
    pad(out, header->alignment);
}
