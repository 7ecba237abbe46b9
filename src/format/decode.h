/* decode.h - one block of each format to floats: private to the format room.
 *
 * Written element by element from the formulas of docs/formats.md, in the order of evaluation that ggml's reference
 * uses, so the floats are the same bits. `block` needs no alignment; `y` holds the format's block_elements.
 */
#ifndef STILE_FORMAT_DECODE_H
#define STILE_FORMAT_DECODE_H

#include <stdint.h>

typedef void decode_block(const uint8_t *block, float *y);

decode_block decode_f32, decode_f16, decode_bf16;
decode_block decode_q4_0, decode_q4_1, decode_q5_0, decode_q5_1, decode_q8_0, decode_iq4_nl, decode_mxfp4, decode_nvfp4;
decode_block decode_q1_0, decode_q2_0;
decode_block decode_q2_k, decode_q3_k, decode_q4_k, decode_q5_k, decode_q6_k, decode_tq1_0, decode_tq2_0;
decode_block decode_iq1_s, decode_iq1_m, decode_iq2_xxs, decode_iq2_xs, decode_iq2_s, decode_iq3_xxs, decode_iq3_s;
decode_block decode_iq4_xs;

#endif
