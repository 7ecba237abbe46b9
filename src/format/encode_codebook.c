#include "format/encode_codebook.h"

#include "format/grids.h"

#include <pthread.h>

static struct codebook codebooks[CODEBOOK_COUNT] = {
    [CODEBOOK_IQ2_XXS] = {.grid = grid_iq2_xxs[0], .n_rows = 256, .group = 8, .n_values = 3, .values = {8, 25, 43}},
    [CODEBOOK_IQ2_XS] = {.grid = grid_iq2_xs[0], .n_rows = 512, .group = 8, .n_values = 3, .values = {8, 25, 43}},
    [CODEBOOK_IQ2_S] = {.grid = grid_iq2_s[0], .n_rows = 1024, .group = 8, .n_values = 3, .values = {8, 25, 43}},
    [CODEBOOK_IQ1] = {.grid = grid_iq1_s[0], .n_rows = 2048, .group = 8, .n_values = 3, .values = {-1, 0, 1}},
    [CODEBOOK_IQ3_XXS] =
        {.grid = grid_iq3_xxs[0], .n_rows = 256, .group = 4, .n_values = 8, .values = {4, 12, 20, 28, 36, 44, 52, 62}},
    [CODEBOOK_IQ3_S] =
        {.grid = grid_iq3_s[0], .n_rows = 512, .group = 4, .n_values = 8, .values = {1, 3, 5, 7, 9, 11, 13, 15}},
};

static int half_number(const struct codebook *book, const int8_t *half)
{
    int number = 0;
    for (int k = book->group / 2 - 1; k >= 0; k--) {
        int v = 0;
        while (book->values[v] != half[k])
            v++;
        number = number * book->n_values + v;
    }
    return number;
}

static void split_rows(struct codebook *book)
{
    uint8_t high[CODEBOOK_ROWS];
    int lengths[CODEBOOK_HALVES] = {0}, n = 0;
    for (int r = 0; r < book->n_rows; r++) {
        high[r] = (uint8_t)half_number(book, book->grid + r * book->group + book->group / 2);
        lengths[high[r]]++;
    }
    for (int strides = 1; strides <= book->n_rows / CODEBOOK_STRIDE; strides++) {
        for (int h = 0; h < CODEBOOK_HALVES; h++) {
            if ((lengths[h] + CODEBOOK_STRIDE - 1) / CODEBOOK_STRIDE != strides) continue;
            struct codebook_run run = {(uint8_t)h, (uint16_t)n, (uint16_t)(strides * CODEBOOK_STRIDE)};
            for (int r = 0; r < book->n_rows; r++)
                if (high[r] == h) book->rows[n++] = (uint16_t)r;
            for (; n < run.first + run.n; n++)
                book->rows[n] = book->rows[n - 1];
            book->runs[book->n_runs++] = run;
        }
    }
    for (int i = 0; i < n; i++)
        book->low[i] = (uint8_t)half_number(book, book->grid + book->rows[i] * book->group);
}

static void split_all(void)
{
    for (int i = 0; i < CODEBOOK_COUNT; i++)
        split_rows(&codebooks[i]);
}

const struct codebook *codebook_get(enum codebook_id id)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, split_all);
    return &codebooks[id];
}
