/* gguf_private.h - what the files of the GGUF reader share.
 *
 *   gguf_reader.c   bytes of one file, front to back, each length checked before it is believed
 *   gguf_parse.c    header and key-values          gguf_tensors.c  tensor table and layout of the data
 *   gguf_shards.c   files and sets of files        gguf_get.c      typed reading of key-values
 */
#ifndef STILE_FILE_GGUF_PRIVATE_H
#define STILE_FILE_GGUF_PRIVATE_H

#include "base/arena.h"
#include "file/gguf.h"

/* Limits. The first group is the format's own, the second is ours, far above any published file. */
enum {
    GGUF_KEY_BYTES_MAX = 65535,
    GGUF_NAME_BYTES_MAX = 63,
    GGUF_DIMS_MAX = 4,
    GGUF_STRING_BYTES_MAX = 1 << 30,
    GGUF_ARRAY_ELEMENTS_MAX = 1 << 30,
    GGUF_ALIGNMENT_DEFAULT = 32,
    GGUF_ALIGNMENT_MIN = 8, /* so that numbers in the data are aligned for the processor */

    GGUF_ALIGNMENT_MAX = 1 << 20,
    GGUF_METADATA_BYTES_MAX = 1 << 26,
    GGUF_KV_MAX = 1 << 16,
    GGUF_TENSORS_MAX = 1 << 18,
    GGUF_SHARDS_MAX = 1024,
};

/* Reads a file front to back. What has been read so far is kept, as one piece: metadata cannot change after it was
 * checked. The piece grows as it is needed and moves when it grows: keep offsets, not pointers. */
struct gguf_reader {
    const char *path;                 /* for messages */
    const struct gguf_source *source; /* NULL: read from fd */
    int fd;                           /* -1, and no source: `bytes` holds the whole file and is not ours */
    uint64_t size_bytes;              /* of the file */
    uint64_t at;
    const uint8_t *bytes; /* the first n_bytes of the file */
    uint64_t n_bytes;
    uint8_t *owned;
    /* What is being read, for messages: "tensor" 3 "blk.0.attn_q.weight"; NULL outside of items. */
    const char *item;
    uint64_t item_i;
    const char *item_name;
};

/* One file of a set. */
struct gguf_file {
    const char *path;
    struct gguf_reader reader;
    struct map *map; /* NULL: from bytes or a source */
    uint32_t version;
    uint64_t alignment;
    size_t n_kv;
    size_t kv_capacity;
    struct gguf_kv *kv;
    uint64_t *kv_at;             /* offset of each value; n_kv */
    const struct gguf_kv **keys; /* sorted by key; n_kv */
};

struct gguf_private {
    struct arena arena;               /* paths, keys, names, strings handed out */
    const struct gguf_source *source; /* NULL: files are mapped */
    size_t n_files;
    struct gguf_file *files;
    /* All tensors of the set; the offset of each record in its file. */
    size_t n_tensors;
    size_t tensor_capacity;
    struct gguf_tensor *tensors;
    uint64_t *tensor_at;
    const struct gguf_tensor **names; /* sorted by name; n_tensors */
    void *mapping;                    /* taken over by gguf_open_mapping; NULL otherwise */
    size_t mapping_bytes;
    const struct gguf_outside_tensor *outside; /* of gguf_open_outside, as are its maps; NULL otherwise */
    struct map **maps;
    uint32_t n_maps;
};

/* ---- gguf_reader.c ---- */

/* "PATH: offset AT: ITEM: MESSAGE", with what to do when the code is MALFORMED. Returns the code. */
int gguf_fail(const struct gguf_reader *reader, uint64_t at, int code, struct stile_error *error, const char *format,
              ...) __attribute__((format(printf, 5, 6)));
/* Makes the next n bytes available. `what` names the field in messages. */
int gguf_reader_need(struct gguf_reader *reader, uint64_t n, const char *what, struct stile_error *error);
int gguf_reader_u32(struct gguf_reader *reader, const char *what, uint32_t *value, struct stile_error *error);
int gguf_reader_u64(struct gguf_reader *reader, const char *what, uint64_t *value, struct stile_error *error);
/* A count of records or elements of at least `bytes_min` each that follow in the file, at most `max`. */
int gguf_reader_count(struct gguf_reader *reader, const char *what, uint64_t bytes_min, uint64_t max, uint64_t *value,
                      struct stile_error *error);
/* A string of 1..max bytes without NUL inside, copied into the arena. */
int gguf_reader_name(struct gguf_reader *reader, const char *what, uint64_t max, struct arena *arena, const char **name,
                     struct stile_error *error);
/* Passes over n strings. */
int gguf_reader_skip_strings(struct gguf_reader *reader, uint64_t n, struct stile_error *error);

/* Gives back what was read beyond the metadata. */
void gguf_reader_trim(struct gguf_reader *reader);

/* Room for one more item in two arrays that grow together; `n_max` bounds the growth. */
int gguf_grow(void **items, size_t item_bytes, uint64_t **offsets, size_t n, size_t *capacity, size_t n_max,
              struct stile_error *error);

/* ---- gguf_parse.c ---- */

/* Reads and checks a file whose `path`, `reader` and `map` are set, and appends its tensors to the set's. */
int gguf_parse(struct gguf_private *set, struct gguf_file *file, uint32_t shard, struct stile_error *error);
/* Bytes of a scalar type; 0 for strings and arrays. */
uint64_t gguf_type_bytes(enum gguf_type type);

/* ---- gguf_tensors.c ---- */

/* Reads n tensor records, then checks where their data lies. */
int gguf_parse_tensors(struct gguf_private *set, struct gguf_file *file, uint32_t shard, uint64_t n,
                       struct stile_error *error);
/* Sorts the names of the whole set; an error when one appears twice. */
int gguf_index_tensors(struct gguf_private *set, struct stile_error *error);

/* ---- gguf_get.c ---- */

const struct gguf_kv *gguf_file_find(const struct gguf_file *file, const char *key);
int gguf_file_u64(const struct gguf_file *file, const char *key, uint64_t min, uint64_t max, uint64_t *value,
                  struct stile_error *error);

#endif
