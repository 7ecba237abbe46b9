/* gguf_write.h - makes GGUF files for tests: right ones, and with one thing changed, wrong ones.
 *
 * A file is a list of key-values and a list of tensors. Setting a key or a tensor that is there already replaces it, so
 * a test takes gguf_write_tiny_model and changes what it is about. What gguf_write_finish writes is exactly what the
 * fields say, sense or nonsense; it also notes where each record went, for those who then patch bytes.
 * Out of memory ends the program: this is for tests.
 */
#ifndef STILE_TESTS_GGUF_WRITE_H
#define STILE_TESTS_GGUF_WRITE_H

#include "base/buffer.h"
#include "file/gguf.h"

struct gguf_write_kv {
    char *key;
    size_t n_key;
    uint32_t type;
    struct buffer value; /* as in the file; of an array: with element type and count */
    size_t at;           /* offset of the record, after gguf_write_finish */
};

struct gguf_write_tensor {
    char *name;
    size_t n_name;
    uint32_t n_dims; /* <= 8 */
    uint64_t dims[8];
    uint32_t format;
    uint64_t offset; /* in the data section; set by gguf_write_finish unless fixed (the data's place stays) */
    bool offset_fixed;
    struct buffer data; /* what stands there, whatever the dimensions say */
    size_t at;
};

struct gguf_write {
    uint32_t version;   /* 3 */
    uint64_t alignment; /* 32; what the file is laid out with. The key is set separately */
    bool pad_last;      /* true: the last tensor is padded too */
    size_t n_kv;
    struct gguf_write_kv *kv;
    size_t n_tensors;
    struct gguf_write_tensor *tensors;
    size_t data_at; /* offset of the data section, after gguf_write_finish */
};

void gguf_write_init(struct gguf_write *file);
void gguf_write_free(struct gguf_write *file);
/* Appends the whole file to `out`. */
void gguf_write_finish(struct gguf_write *file, struct buffer *out);

/* Key-values. gguf_write_key gives the record with an empty value, which gguf_put_* then fill. */
struct gguf_write_kv *gguf_write_key(struct gguf_write *file, const char *key, uint32_t type);
void gguf_write_u32(struct gguf_write *file, const char *key, uint32_t value);
void gguf_write_i32(struct gguf_write *file, const char *key, int32_t value);
void gguf_write_u64(struct gguf_write *file, const char *key, uint64_t value);
void gguf_write_f32(struct gguf_write *file, const char *key, float value);
void gguf_write_bool(struct gguf_write *file, const char *key, bool value);
void gguf_write_string(struct gguf_write *file, const char *key, const char *value);
struct gguf_write_kv *gguf_write_array(struct gguf_write *file, const char *key, uint32_t element, uint64_t n);
void gguf_write_drop_key(struct gguf_write *file, const char *key);

void gguf_put_u32(struct buffer *out, uint32_t value);
void gguf_put_u64(struct buffer *out, uint64_t value);
void gguf_put_f32(struct buffer *out, float value);
void gguf_put_string(struct buffer *out, const char *bytes, size_t n);
/* Overwrites bytes that are there. */
void gguf_patch_u32(struct buffer *out, size_t at, uint32_t value);
void gguf_patch_u64(struct buffer *out, size_t at, uint64_t value);

/* Tensors. The data is zeros, as many as format and dimensions ask for (none for a format that does not exist). */
struct gguf_write_tensor *gguf_write_tensor(struct gguf_write *file, const char *name, uint32_t format, uint32_t n_dims,
                                            const uint64_t *dims);
/* F32 in centre +- spread, the same numbers every time for the same name. */
void gguf_write_floats(struct gguf_write *file, const char *name, uint32_t n_dims, const uint64_t *dims, float centre,
                       float spread);
/* One that is there; ends the program when it is not. */
struct gguf_write_tensor *gguf_write_get_tensor(struct gguf_write *file, const char *name);
void gguf_write_drop_tensor(struct gguf_write *file, const char *name);

/* A whole llama model: 1 layer, d_model 32, 2 heads of 16, 1 KV head, d_ff 32, F32; a gpt2 vocabulary of TINY_VOCAB
 * tokens: the 256 bytes, TINY_MERGES merges, <|endoftext|> (bos), <|im_start|>, <|im_end|> (eos); a ChatML template. */
enum { TINY_WIDTH = 32, TINY_HEAD = 16, TINY_MERGES = 41, TINY_VOCAB = 256 + TINY_MERGES + 3 };
void gguf_write_tiny_model(struct gguf_write *file);
/* Makes it a mixture of TINY_EXPERTS experts of width 32 (Mixtral), two of which are used. */
enum { TINY_EXPERTS = 4 };
void gguf_write_tiny_mixture(struct gguf_write *file);
/* Its vocabulary alone, for those who change it: texts and types are (TINY_VOCAB), merges (TINY_MERGES); the strings
 * are static. */
struct tiny_vocab {
    const char *texts[TINY_VOCAB];
    int32_t types[TINY_VOCAB];
    const char *merges[TINY_MERGES];
};
void tiny_vocab(struct tiny_vocab *vocab);
void gguf_write_vocab(struct gguf_write *file, const struct tiny_vocab *vocab);

#endif
