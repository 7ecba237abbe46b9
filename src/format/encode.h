/* encode.h - floats to blocks: a quantizer for every format of weights.
 *
 * The codes and scales are chosen to make sum(importance * (x - decoded)^2) small, with `decoded` what format_decode
 * gives for the stored block. How: encode_tile.inc.h, encode_k.inc.h. All arithmetic is in a fixed order, so the bytes
 * are the same on every machine.
 */
#ifndef STILE_FORMAT_ENCODE_H
#define STILE_FORMAT_ENCODE_H

#include "format/format.h"

/* Encodes n floats, a multiple of the block; `out` gets n / block_elements blocks and needs no alignment. The floats
 * must be finite; importance: n weights >= 0, or NULL where nothing is known: then large ones are worth more, within
 * 256 elements from the first on, so a row should begin with the call. */
void format_encode(enum format format, const float *x, size_t n, const float *importance, void *out);

/* For methods that choose codes one element at a time, because each error changes what the next elements should be:
 * encode the block first, which chooses its scales, then round its elements in any order. format_round replaces the
 * code of element i (of the block) with the one nearest to x at the scale the block has, and returns what that decodes
 * to. format_rounds: whether the elements of a format have codes of their own and this works. */
bool format_rounds(enum format format);
float format_round(enum format format, void *block, int i, float x);

/* NVFP4 has a second scale for the whole tensor, kept beside it: encode x / scale. This is the one recommended for n
 * floats: the largest of them gets a block scale of 256, which leaves room below E4M3's 448 for the search. 1 when all
 * are zero. */
float format_nvfp4_tensor_scale(const float *x, size_t n);

#endif
