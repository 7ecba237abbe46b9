/* gguf.h - reads GGUF v2 and v3 files (little-endian), single or sharded, as hostile input.
 *
 * Metadata (key-values, tensor table) is read into private memory and fully checked at open: every length, count,
 * offset and string lies inside, every name is unique, every tensor's bytes lie inside its file and overlap no
 * other's. Nothing is allocated beyond what the file's own size justifies. Weights stay in the file, mapped.
 * Errors name file, offset and field. Source of the layout: docs/formats.md.
 */
#ifndef STILE_FILE_GGUF_H
#define STILE_FILE_GGUF_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "file/map.h"
#include "format/format.h"

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT,
};

struct gguf_kv {
    const char *key;        /* NUL-terminated, no NUL inside, printable UTF-8 not guaranteed */
    enum gguf_type type;    /* of the value; GGUF_ARRAY for arrays */
    enum gguf_type element; /* of the elements; equal to `type` for scalars */
    uint64_t n;             /* elements; 1 for scalars */
    const uint8_t *data;    /* first element: in the file's encoding (strings: u64 length + bytes, back to back) */
    uint64_t size_bytes;    /* of all elements */
};

/* Where bytes of a tensor are. */
struct gguf_place {
    uint32_t shard;        /* GGUF_IN_MEMORY: in no file */
    uint64_t offset_bytes; /* in its file */
    const void *data;      /* mapped, or in memory */
};
#define GGUF_IN_MEMORY UINT32_MAX

struct gguf_tensor {
    const char *name;
    enum format format;
    uint32_t n_dims;
    uint64_t dims[4]; /* dims[0] contiguous; missing ones are 1 */
    uint64_t n_elements;
    uint64_t size_bytes;
    uint64_t offset_bytes; /* in its file */
    uint32_t shard;        /* GGUF_IN_MEMORY: made at opening, in no file */
    const void *data;      /* mapped; NULL after gguf_open_source */
    /* After gguf_open_outside only, else NULL and 0: */
    const struct gguf_place *parts; /* (dims[2]) the matrices, each for itself, where they do not lie together */
    /* The rows are of heads of so many, and rotated by halves, where a GGUF file of this architecture has them by pairs:
     * its row r is gguf_halves_row(r, head_rows) of this tensor. */
    uint32_t head_rows;
};

/* Where matrix i of dims[2] is. */
static inline struct gguf_place gguf_tensor_part(const struct gguf_tensor *tensor, uint64_t i)
{
    uint64_t at = tensor->parts ? 0 : i * (tensor->size_bytes / tensor->dims[2]);
    if (tensor->parts) return tensor->parts[i];
    return (struct gguf_place){.shard = tensor->shard,
                               .offset_bytes = tensor->offset_bytes + at,
                               .data = tensor->data ? (const char *)tensor->data + at : NULL};
}

/* Heads of n rows: where, of rows by halves (i, i + n / 2), that one is which stands at `row` by pairs (2 i, 2 i + 1). */
static inline uint64_t gguf_halves_row(uint64_t row, uint32_t n)
{
    uint64_t i = row % n;
    return row - i + i / 2 + (i % 2) * (n / 2);
}

struct gguf_string {
    const char *bytes; /* not NUL-terminated; may hold any bytes */
    size_t n;
};

struct gguf {
    const char *path; /* as opened */
    uint32_t version;
    uint32_t n_shards;
    struct map **maps; /* one per shard; NULL: the files are not mapped */
    bool halves;       /* some tensors have head_rows: q and k of this model are rotated by halves */
    size_t n_kv;
    const struct gguf_kv *kv; /* of the first shard, in file order */
    size_t n_tensors;
    const struct gguf_tensor *tensors; /* of all shards, in file order */
    struct gguf_private *private;
};

/* Opens a file, or the whole set when it is a shard (any shard of the set may be named; the others are found by
 * their published names, PREFIX-00001-of-00003.gguf, beside it). */
int gguf_open(struct gguf **gguf, const char *path, struct stile_error *error);
void gguf_close(struct gguf *gguf);

/* Of the metadata, which is kept in private memory. */
uint64_t gguf_memory_bytes(const struct gguf *gguf);

/* NULL when missing. */
const struct gguf_kv *gguf_find(const struct gguf *gguf, const char *key);
const struct gguf_tensor *gguf_find_tensor(const struct gguf *gguf, const char *name);
/* Has any shard lost pages or been written to since it was opened? Fills the error naming the file. */
int gguf_check_maps(const struct gguf *gguf, struct stile_error *error);

/* Typed reading. A missing key leaves *value as it was (the default) and succeeds; a value of the wrong type or
 * outside [min, max] is an error that names the file and key. Any integer type is accepted for integers, F32 and
 * F64 for floats (finite ones only). */
int gguf_get_u64(const struct gguf *gguf, const char *key, uint64_t min, uint64_t max, uint64_t *value,
                 struct stile_error *error);
int gguf_get_f32(const struct gguf *gguf, const char *key, float *value, struct stile_error *error);
int gguf_get_bool(const struct gguf *gguf, const char *key, bool *value, struct stile_error *error);
/* String without NUL inside, copied NUL-terminated into memory that lives as long as the gguf. The one reader that
 * must not run in two threads at once. */
int gguf_get_string(const struct gguf *gguf, const char *key, const char **value, struct stile_error *error);
/* Element i of a numeric array (or i == 0 of a scalar): any integer or bool type; false if it is not one, if i is
 * not below n, and for a u64 past INT64_MAX. */
bool gguf_element_i64(const struct gguf_kv *kv, uint64_t i, int64_t *value);
/* The same for F32 and F64, whatever the number is (NaN too). */
bool gguf_element_f64(const struct gguf_kv *kv, uint64_t i, double *value);

/* Walks the strings of a string array: */
struct gguf_strings {
    const uint8_t *at;
    uint64_t n_left;
};
struct gguf_strings gguf_strings(const struct gguf_kv *kv);
bool gguf_strings_next(struct gguf_strings *strings, struct gguf_string *string);

/* Without files, for fuzzing and tests: `n` bytes as one GGUF file of that size. They must outlive the gguf. */
int gguf_open_bytes(struct gguf **gguf, const uint8_t *bytes, size_t n, struct stile_error *error);
/* As gguf_open_bytes, for `n` bytes that were mapped for this (mmap, anonymous): the gguf takes them over, also on
 * failure, and unmaps them in gguf_close. `name` stands for the path in messages; it is copied. */
int gguf_open_mapping(struct gguf **gguf, const char *name, void *mapping, size_t n, struct stile_error *error);
/* What has the tensors of a model elsewhere than in GGUF files. */
struct gguf_outside {
    const char *path; /* what it is called; copied */
    struct buffer
        header;        /* of a GGUF file (gguf_header.h) with all keys and tensors; where those lie is not looked at */
    struct map **maps; /* (n_maps) of the files that tensors are in */
    uint32_t n_maps;
    struct gguf_outside_tensor {
        const struct gguf_place *places; /* (n_places) */
        uint64_t n_places;               /* 1, or dims[2] */
        uint32_t head_rows;              /* as in gguf_tensor */
    } * tensors;                         /* as many as the header has, in its order */
    struct arena arena;                  /* the memory of the arrays above and of tensors in memory */
};
/* Takes over header, maps and arena, also on failure. The places are believed. */
int gguf_open_outside(struct gguf **gguf, struct gguf_outside *outside, struct stile_error *error);
/* Files that can be read but not mapped, such as those of a web server. One is read at a time. */
struct gguf_source {
    void *user;
    /* Turns to the file at `path`. */
    int (*open)(void *user, const char *path, uint64_t *size_bytes, struct stile_error *error);
    /* Reads n bytes of it, all of them below its size. */
    int (*read)(void *user, uint64_t at, uint64_t n, uint8_t *bytes, struct stile_error *error);
};
/* As gguf_open, with the same checks, but of the metadata only; the source is not needed afterwards. Reads little more
 * than the metadata. */
int gguf_open_source(struct gguf **gguf, const char *path, const struct gguf_source *source, struct stile_error *error);

/* Opens and closes. */
int gguf_check_bytes(const uint8_t *bytes, size_t n, struct stile_error *error);

#endif
