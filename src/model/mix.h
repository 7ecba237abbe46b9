/* mix.h - which number format each tensor of a model gets when a user says "q4_k_m".
 *
 * A mix has a format for most weights and others for those that suffer most from rounding: the value projection, the
 * down projection, the output head. The rules are those of the files people download (docs/formats.md, type choice per
 * tensor).
 */
#ifndef STILE_MODEL_MIX_H
#define STILE_MODEL_MIX_H

#include "model/model.h"

struct mix;

/* By name ("q4_k_m", "BF16"; q3_k, q4_k, q5_k mean their _m), case ignored; NULL when there is none. */
const struct mix *mix_find(const char *name);
/* The i-th, i = 0, 1, ...; NULL past the last. */
const struct mix *mix_at(size_t i);
/* All names, "f32, f16, ..."; NUL-terminated. */
void mix_names(char *names, size_t capacity);
const char *mix_name(const struct mix *mix);
enum format mix_base(const struct mix *mix); /* of most weights */
/* The value of the key general.file_type. */
uint32_t mix_file_type(const struct mix *mix);

enum mix_class {
    MIX_EMBEDDING,
    MIX_OUTPUT, /* or the embedding where it is the output head too */
    MIX_ATTN_K,
    MIX_ATTN_V,
    MIX_ATTN_OUTPUT,
    MIX_FFN_DOWN,
    MIX_EXPERTS, /* gate and up */
    MIX_EXPERTS_DOWN,
    MIX_OTHER,
};
/* `tied`: the embedding is the output head too. */
enum mix_class mix_class_of(enum role role, bool tied);

/* For a matrix with rows of `cols`; always one whose blocks fill them. `imatrix`: it is made with an importance matrix. */
enum format mix_format(const struct mix *mix, enum mix_class class, const struct hparams *hparams, uint32_t layer,
                       uint64_t cols, bool imatrix);
/* The format, or where its blocks do not fill rows of `cols` one of about the same size whose do. */
enum format mix_fitting(enum format format, uint64_t cols);

#endif
