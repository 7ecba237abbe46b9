/* safetensors.h - reads the weights of a Hugging Face folder: model.safetensors, or the shards that
 * model.safetensors.index.json names. Hostile input, as GGUF files are.
 *
 * Everything is checked at open as the reference implementation does: the header is one JSON object without duplicate
 * keys, every tensor's bytes are as many as its shape asks for, and the tensors tile the file without hole or overlap.
 * Beyond that: shards are files of the folder itself, no name appears twice, and index and shards name the same tensors.
 * Data is not aligned: read it with load_u16 and the like. Source of the layout: docs/formats.md.
 */
#ifndef STILE_FILE_SAFETENSORS_H
#define STILE_FILE_SAFETENSORS_H

#include "base/arena.h"
#include "file/map.h"
#include "format/format.h"

enum { SAFETENSORS_DIMS_MAX = 8 };

struct safetensors_tensor {
    const char *name;
    const char *dtype;                   /* "BF16", "I64", ... */
    enum format format;                  /* of F32, F16 and BF16; FORMAT_COUNT for the others */
    uint32_t n_dims;                     /* 0: one number */
    uint64_t dims[SAFETENSORS_DIMS_MAX]; /* the last one is contiguous */
    uint32_t shard;
    uint64_t offset_bytes; /* in its file */
    uint64_t size_bytes;
    const uint8_t *data; /* mapped */
};

struct safetensors {
    uint32_t n_shards;
    struct map **maps; /* (n_shards) */
    size_t n_tensors;
    const struct safetensors_tensor *tensors; /* of all shards, in the order of their names */
    struct arena arena;
};

/* Opens the weights in a folder. IO, MALFORMED, UNSUPPORTED, MEMORY; errors name file and tensor. */
int safetensors_open(struct safetensors **weights, const char *folder, struct stile_error *error);
void safetensors_close(struct safetensors *weights);
/* NULL when missing. */
const struct safetensors_tensor *safetensors_find(const struct safetensors *weights, const char *name);
/* The caller closes the maps from now on; the array itself lives as long as `weights`. */
struct map **safetensors_take_maps(struct safetensors *weights);

/* Opens n bytes, which must outlive it, as one file: for fuzzing and tests. Nothing is mapped: no shards, no maps. */
int safetensors_open_bytes(struct safetensors **weights, const uint8_t *bytes, size_t n, struct stile_error *error);

#endif
