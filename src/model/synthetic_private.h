/* synthetic_private.h - what the files of synthetic models share.
 *
 *   synthetic.c         the plan: which tensors, which formats, where        synthetic_header.c   keys and vocabulary
 *   synthetic_write.c   the bytes, to a file or to memory                    synthetic_weights.c  random weights
 */
#ifndef STILE_MODEL_SYNTHETIC_PRIVATE_H
#define STILE_MODEL_SYNTHETIC_PRIVATE_H

#include "file/gguf_header.h"
#include "model/mix.h"
#include "model/model.h"
#include "model/synthetic.h"

enum { SYNTHETIC_POOLS_MAX = 32, SYNTHETIC_NAME_BYTES = 64 };

/* ---- synthetic_header.c ---- */

/* What is the same in all models of an architecture. */
struct synthetic_family {
    const char *shape_arch; /* in struct shape */
    enum family family;
    const char *architecture; /* in GGUF */
    const char *pre;          /* pre-tokenizer */
    float rope_base, rms_eps;
};
/* NULL when stile does not run it. */
const struct synthetic_family *synthetic_family(const char *shape_arch);

/* Smallest and largest vocabulary there can be. */
enum { SYNTHETIC_VOCAB_MIN = 256 + 3, SYNTHETIC_VOCAB_MAX = 1000000 };
/* The key-values. */
void synthetic_put_keys(struct gguf_header *header, const struct synthetic *synthetic);

/* ---- synthetic_weights.c ---- */

struct synthetic_random {
    uint64_t state;
};
uint64_t synthetic_random_u64(struct synthetic_random *random);

/* Encoded blocks of numbers with one standard deviation, which matrices are put together from. */
struct synthetic_pool {
    enum format format;
    float deviation;
    uint64_t n_used; /* elements of all matrices that are made from it */
    uint8_t *blocks; /* NULL until filled */
    size_t n_blocks;
    float scale; /* NVFP4: of the whole tensor */
};
int synthetic_pool_fill(struct synthetic_pool *pool, uint64_t seed, struct stile_error *error);

/* Numbers of a vector: mean * (1 + spread * normal), a few of them (outliers) several times as large. */
struct synthetic_vector {
    float mean, spread;
    float offset_deviation; /* instead: normal numbers around 0 */
    bool outliers;
};
void synthetic_vector_fill(const struct synthetic_vector *vector, uint64_t seed, float *x, size_t n);
/* (n_experts, d_model): see synthetic.h. */
int synthetic_router_fill(const struct hparams *hparams, uint64_t seed, float *x, struct stile_error *error);
/* Divisors of rotation frequencies as Llama 3 has them. */
void synthetic_rope_divisors(const struct hparams *hparams, float factor, float *x);

/* ---- synthetic.c ---- */

enum synthetic_kind { SYNTHETIC_MATRIX, SYNTHETIC_VECTOR, SYNTHETIC_ROUTER, SYNTHETIC_ROPE_DIVISORS, SYNTHETIC_SCALE };

struct synthetic_tensor {
    char name[SYNTHETIC_NAME_BYTES];
    enum format format;
    uint64_t cols, rows;               /* rows 0: one dimension */
    uint64_t n_experts;                /* a third dimension; 0: none */
    uint64_t offset_bytes, size_bytes; /* in the data section */
    enum synthetic_kind kind;
    size_t pool; /* of a matrix, or of the matrix this is the scale of */
    struct synthetic_vector vector;
};

struct synthetic {
    struct shape shape;
    const struct synthetic_family *family;
    const struct mix *mix;
    uint64_t seed;
    struct hparams hparams;
    float rope_factor; /* of Llama 3's divisors; 0: none */
    size_t n_tensors;
    struct synthetic_tensor *tensors;
    size_t n_pools;
    struct synthetic_pool pools[SYNTHETIC_POOLS_MAX]; /* not filled */
    struct buffer header;                             /* everything before the data section, padded */
    uint64_t size_bytes;
};

#endif
