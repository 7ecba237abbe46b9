/* encode_codebook.h - the codebooks of grids.h in the order the search of encode_grid.inc.h wants: private to the
 * format room. */
#ifndef STILE_FORMAT_ENCODE_CODEBOOK_H
#define STILE_FORMAT_ENCODE_CODEBOOK_H

#include <stdint.h>

enum codebook_id {
    CODEBOOK_IQ2_XXS,
    CODEBOOK_IQ2_XS,
    CODEBOOK_IQ2_S,
    CODEBOOK_IQ1,
    CODEBOOK_IQ3_XXS,
    CODEBOOK_IQ3_S,
    CODEBOOK_COUNT,
};

enum { CODEBOOK_ROWS = 2048, CODEBOOK_HALVES = 81, CODEBOOK_VALUES = 8, CODEBOOK_STRIDE = 4 };

/* A row is a pair of halves, a half a number in base n_values whose first digit is the lowest. Rows with the same upper
 * half are a run. Each run has its last row repeated until their number is a multiple of CODEBOOK_STRIDE, and runs are
 * in the order of their length: loops over them are unrolled, and predicted. */
struct codebook {
    const int8_t *grid; /* row r at r * group */
    int n_rows, group;  /* elements of a row: 8 or 4 */
    int n_values;       /* different values in it: 3 or 8, rising */
    int8_t values[CODEBOOK_VALUES];
    int n_runs;
    struct codebook_run {
        uint8_t high;   /* the upper half */
        uint16_t first; /* of `rows` and `low` */
        uint16_t n;     /* with those repeated */
    } runs[CODEBOOK_HALVES];
    uint16_t rows[CODEBOOK_ROWS + (CODEBOOK_STRIDE - 1) * CODEBOOK_HALVES];
    uint8_t low[CODEBOOK_ROWS + (CODEBOOK_STRIDE - 1) * CODEBOOK_HALVES]; /* the lower half of each of `rows` */
};

/* Made when first asked for. Any thread. */
const struct codebook *codebook_get(enum codebook_id id);

#endif
