/* published.h - what others measured on machines whose data sheets are known, and what is predicted for it.
 *
 * The data is data/published.csv, which names the source of each row; published_data.c is written from it by
 * tools/make-tables.py. The shares of efficiency.h were fitted to the same rows, so the errors are those of a fit; what
 * they would be for a row that was left out, tools/fit-efficiency.py prints.
 */
#ifndef STILE_PLAN_PUBLISHED_H
#define STILE_PLAN_PUBLISHED_H

#include <stdbool.h>
#include <stddef.h>

#include "plan/computer.h"

struct published {
    const char *machine; /* of computer.h */
    const char *shape;   /* of shapes.h */
    const char *format;  /* of format.h */
    const char *engine;
    const char *metric; /* "decode", "prefill" */
    const char *source;
    double bits_per_weight; /* of the weights that a token needs */
    double n_tokens;        /* in the context, or of the prompt; 0: not said, and few */
    double value;           /* tokens per second */
};

extern const struct published published_table[];
extern const size_t n_published_table;

/* What is predicted for a row of the table; false when memory is out or the row makes no sense. */
bool published_predict(const struct published *row, struct plan_range *tokens_per_s);

#endif
