/* standin.h - a program in place of one that stile cannot build: of any shape in the table, for predictions alone.
 *
 * Attention of every family is priced as grouped heads, with matrices scaled such that a token reads as many weights as
 * the table says; experts and head have their own sizes. So bytes are right, the number of operations is about right,
 * and the context of families with a smaller one (latent, linear) is not.
 */
#ifndef STILE_PLAN_STANDIN_H
#define STILE_PLAN_STANDIN_H

#include "model/shapes.h"
#include "program/op.h"

enum { STANDIN_WEIGHTS = 12 };

struct standin {
    struct program program;
    struct model model;
    struct weight weights[STANDIN_WEIGHTS];
    struct op *ops;
};

/* All weights of `format`, but bits_per_weight long. False when memory is out or the shape has no layers or heads. */
bool standin_create(struct standin *standin, const struct shape *shape, enum format format, double bits_per_weight);
void standin_free(struct standin *standin);

#endif
