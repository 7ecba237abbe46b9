/* rope.h - angles of rotary position embeddings, with the ways of stretching the context.
 *
 * Angle of pair i at position p: p * frequency[i]; both cos and sin are multiplied by the magnitude.
 * Sources: Su et al. 2021 (RoPE); Peng et al. 2023 (YaRN); Llama 3's stretching comes as divisors in a tensor.
 */
#ifndef STILE_PROGRAM_ROPE_H
#define STILE_PROGRAM_ROPE_H

#include "model/hparams.h"

/* Fills frequencies (n_rot / 2) and the magnitude. `divisors` (n_rot / 2) or NULL. */
void rope_frequencies(const struct rope *rope, uint32_t n_rot, const float *divisors, double *frequencies,
                      double *magnitude);
/* cos and sin (n_rot / 2 each) at a position. */
void rope_angles(const double *frequencies, double magnitude, uint32_t n_rot, uint32_t position, float *cosines,
                 float *sines);

#endif
