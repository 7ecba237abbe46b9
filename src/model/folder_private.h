/* folder_private.h - what the files of the folder reader share.
 *
 *   folder.c         JSON files, and all of it together     folder_config.c   config.json: hyperparameters
 *   folder_tensors.c names of weights                       folder_vocab.c    tokenizer.json: tokens, special ones
 *   folder_pre.c     its pre-tokenizers                     folder_scores.c   its merges as SentencePiece scores
 */
#ifndef STILE_MODEL_FOLDER_PRIVATE_H
#define STILE_MODEL_FOLDER_PRIVATE_H

#include "file/gguf_header.h"
#include "file/safetensors.h"
#include "model/folder.h"
#include "model/hparams.h"

#include <jansson.h>

/* A kind of model as config.json names it. */
struct folder_family {
    const char *model_type;
    const char *architecture; /* in GGUF files */
    enum family family;
    bool has_experts;
    bool by_halves;         /* while GGUF files of the architecture have q and k by pairs */
    const char *activation; /* the one it is supported with */
    const char *defaults;   /* of keys that config.json may leave out: a JSON object */
};

struct folder {
    const char *path;
    struct arena arena;       /* goes to the gguf */
    json_t *config;           /* the language part, with defaults for what it leaves out */
    json_t *generation;       /* generation_config.json; NULL: none, as the next two */
    json_t *tokenizer;        /* tokenizer.json */
    json_t *tokenizer_config; /* tokenizer_config.json */
    const struct folder_family *family;
    uint32_t n_layers, d_model, n_experts, head_dim;
    uint64_t n_vocab;           /* rows of the embedding */
    bool is_tied;               /* the embedding is the output head too */
    const float *rope_divisors; /* (head_dim / 2) of Llama 3; NULL: none */
    struct safetensors *weights;
    struct gguf_header header;
    struct gguf_outside_tensor *tensors;
    size_t n_tensors;
    struct stile_error *error;
};

/* ---- folder.c ---- */

/* "FOLDER/FILE: MESSAGE"; returns the code. */
int folder_fail(struct folder *folder, int code, const char *file, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Reads FOLDER/FILE, at most max_bytes of text, into memory that the caller frees; *text is NULL where there is no such
 * file. */
int folder_text(struct folder *folder, const char *file, size_t max_bytes, char **text, size_t *n);
/* An integer of a JSON object: missing and null leave *value as it is. An error names `file` and key. */
int folder_u32(struct folder *folder, const char *file, const json_t *object, const char *key, uint32_t min,
               uint32_t max, uint32_t *value);
int folder_double(struct folder *folder, const char *file, const json_t *object, const char *key, double min,
                  double max, double *value);
int folder_bool(struct folder *folder, const char *file, const json_t *object, const char *key, bool *value);
/* NULL when missing, null or no string. */
const char *folder_string(const json_t *object, const char *key);

/* ---- folder_config.c ---- */

/* Reads config.json into folder->config and the fields from family to rope_divisors (but n_vocab), and writes the
 * architecture's keys. */
int folder_config(struct folder *folder);

/* ---- folder_tensors.c ---- */

/* Writes the table of tensors and folder->tensors. */
int folder_tensors(struct folder *folder);

/* ---- folder_vocab.c ---- */

/* A token of the vocabulary. */
struct folder_token {
    const char *text; /* NUL-terminated; NULL: no token has this id */
    int32_t type;     /* of tokenizer.ggml.token_type */
};
enum { FOLDER_NORMAL = 1, FOLDER_UNKNOWN, FOLDER_CONTROL, FOLDER_USER_DEFINED, FOLDER_UNUSED, FOLDER_BYTE };

/* Writes the keys of the vocabulary. */
int folder_vocab(struct folder *folder);

/* ---- folder_pre.c ---- */

/* The name that GGUF files have for a byte-level tokenizer's way of cutting text into words; static. */
int folder_pre(struct folder *folder, const char **name);

/* ---- folder_scores.c ---- */

/* Scores, (n_vocab), by which SentencePiece joins as the merges of model (in tokenizer.json) do. */
int folder_scores(struct folder *folder, const json_t *model, const struct folder_token *tokens, float *scores);

#endif
