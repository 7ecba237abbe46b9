/* synthetic.h - models made up on the spot: a real GGUF file of a known shape in any format, with random weights.
 *
 * For measuring a model before downloading it, and for tests. Everything but the words is as in a published file: the
 * tensors and their formats, the keys, a byte-level vocabulary of the right size (its words are syllables) and a ChatML
 * template. Weights are normal numbers scaled so that activations and logits stay of the size that trained models
 * have, encoded by the real quantizers; a matrix is put together from pieces of a pool of encoded blocks, so making a
 * model takes about as long as writing its bytes. The same shape, format and seed give the same bytes.
 *
 * Experts are not equally popular, as in trained models. Rows of a router have deviations of their own, so that the
 * scores of some experts reach further out; which experts these are is drawn anew for each layer. The r-th most popular
 * of n experts (r = 1, 2, ...) is meant to be chosen in proportion to 1 / (r + 1 + 3% of n), a flattened Zipf law, and
 * by at most 30% of the tokens. What comes of it with random tokens: of 128 experts, 8 of them used, an eighth gets 43%
 * of the choices, a quarter 62%, half of them 81%; of 8, 2 of them used, the most popular is chosen by 37% of the
 * tokens, the least popular by 12%. Text is more uneven yet, for neighbouring tokens tend to choose alike; here each
 * token chooses for itself.
 */
#ifndef STILE_MODEL_SYNTHETIC_H
#define STILE_MODEL_SYNTHETIC_H

#include "file/gguf.h"
#include "model/shapes.h"

struct synthetic;

/* `mix` as a user says it: "q4_k_m", "bf16", "nvfp4", ... (mix.h). Makes no weights yet. Errors: ARGUMENT for an
 * unknown mix or a shape that makes no sense, UNSUPPORTED for one of a family that stile does not run. */
int synthetic_create(struct synthetic **synthetic, const struct shape *shape, const char *mix, uint64_t seed,
                     struct stile_error *error);
void synthetic_free(struct synthetic *synthetic);
/* Of the whole file. */
uint64_t synthetic_size_bytes(const struct synthetic *synthetic);

struct synthetic_options {
    /* Called now and then with what is done so far; non-zero stops the work (CANCELLED). May be NULL. */
    int (*on_progress)(void *user, uint64_t done_bytes, uint64_t total_bytes);
    void *user;
};

/* Writes the file: beside `path` first, renamed over it once whole, so a failure leaves nothing behind. `options` may
 * be NULL. */
int synthetic_write(const struct synthetic *synthetic, const char *path, const struct synthetic_options *options,
                    struct stile_error *error);
/* The same bytes in anonymous memory (large pages where the system gives them), opened. gguf_close frees them. Whether
 * that much memory is free is the caller's to know. */
int synthetic_open(const struct synthetic *synthetic, const struct synthetic_options *options, struct gguf **gguf,
                   struct stile_error *error);
/* Its metadata alone, opened (gguf_open_source). Makes no weights. */
int synthetic_open_header(const struct synthetic *synthetic, struct gguf **gguf, struct stile_error *error);

#endif
