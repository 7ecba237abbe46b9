/* compare.h - two files of records side by side. */
#ifndef STILE_LAB_COMPARE_H
#define STILE_LAB_COMPARE_H

#include "stile.h"

#include <jansson.h>
#include <stdio.h>

/* Reads records: a JSON array of them, or one on each line. */
int records_load(const char *path, json_t **records, struct stile_error *error);

/* Pairs the records of the same test, model, format, threads, batch, depth and KV format. Gives
 *   {"pairs": [{"test", "model", ..., "metric", "a", "b", "ratio", "low", "high", "faster", "beyond_noise"}, ...],
 *    "only_in_a": n, "only_in_b": n, "differs": ["machine.cpu", ...]}
 * ratio is b / a; "faster" is "a" or "b" where the difference is beyond noise, otherwise "". NULL: out of memory. */
json_t *compare_records(const json_t *a, const json_t *b);

/* The same as a table for people. */
void compare_show(FILE *stream, const json_t *comparison);

#endif
