/* gguf_header.h - builds what a GGUF v3 file begins with: key-values and the table of tensors.
 *
 * Fill in the keys and the tensors in the order they are to have, then gguf_header_finish. The bytes of the tensors are
 * the caller's to write: tensor i begins at the header's size plus the offset that gguf_header_tensor gave, with zeros
 * between tensors. Running out of memory shows as `failed` of the finished buffer.
 */
#ifndef STILE_FILE_GGUF_HEADER_H
#define STILE_FILE_GGUF_HEADER_H

#include "base/buffer.h"
#include "file/gguf.h"

enum { GGUF_HEADER_ALIGNMENT = 32 }; /* of tensors, where no key "general.alignment" says otherwise */

struct gguf_header {
    const char *architecture; /* goes before keys that begin with a dot; not copied; may be NULL */
    uint32_t alignment;
    uint64_t n_keys, n_tensors;
    uint64_t data_bytes;   /* of the tensors so far, from the first to the end of the last */
    struct buffer keys;    /* and here the elements of an array are added */
    struct buffer tensors; /* the table */
};

void gguf_header_init(struct gguf_header *header, const char *architecture);
void gguf_header_free(struct gguf_header *header);

/* One key-value each. Strings are NUL-terminated. */
void gguf_header_u32(struct gguf_header *header, const char *key, uint32_t value);
void gguf_header_u64(struct gguf_header *header, const char *key, uint64_t value);
void gguf_header_f32(struct gguf_header *header, const char *key, float value);
void gguf_header_bool(struct gguf_header *header, const char *key, bool value);
void gguf_header_string(struct gguf_header *header, const char *key, const char *value);
/* An array of n elements, which the caller then adds to header->keys: numbers by buffer_add (little-endian), strings by
 * gguf_header_bytes. */
void gguf_header_array(struct gguf_header *header, const char *key, enum gguf_type element, uint64_t n);
void gguf_header_bytes(struct gguf_header *header, const char *bytes, size_t n);
/* A key-value of another file as it is. */
void gguf_header_copy(struct gguf_header *header, const struct gguf_kv *kv);

/* A tensor; n_dims <= 4, dims[0] is the contiguous one and a multiple of the format's block. Returns where it begins in
 * the data. */
uint64_t gguf_header_tensor(struct gguf_header *header, const char *name, enum format format, uint32_t n_dims,
                            const uint64_t *dims);

/* Adds all of it to `out`, padded to where the data begins. */
void gguf_header_finish(const struct gguf_header *header, struct buffer *out);

#endif
