/* matmul.inc.h - quantize and matmul of a vector instruction set, written once over its vocabulary.
 *
 * Included by avx2.c, avx512.c, neon.c after f32x8_<isa>.h, f32v_* and i8_<isa>.h. Three ways through: float weights;
 * one token or a few, where reading the weights is the limit; many tokens, where the arithmetic is.
 */
#include "kernel/act.h"
#include "kernel/unpack.h"

#include <math.h>
#include <stddef.h>

#include "kernel/quantize.inc.h"
#include "kernel/unpack_codes.inc.h"

#include "kernel/matmul_row.inc.h"
#include "kernel/matmul_tile.inc.h"

#include "kernel/matmul_float.inc.h"

/* Up to so many tokens it is quicker to take dot products with rows in the first-level cache than to unpack a tile. */
static size_t few_tokens(enum format format)
{
    return unpack_table[format].class == UNPACK_S256 ? FEW_TOKENS_S256 : FEW_TOKENS;
}

static void matmul(const struct kernel_matmul *job, size_t row_begin, size_t row_end, void *scratch)
{
    if (unpack_table[job->format].class == UNPACK_FLOAT)
        matmul_floats(job, row_begin, row_end, scratch);
    else if (job->n_tokens <= few_tokens(job->format) && row_end - row_begin >= ROWS_AT_ONCE)
        matmul_rows(job, row_begin, row_end);
    else
        matmul_tiles(job, row_begin, row_end, scratch);
}
