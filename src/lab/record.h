/* record.h - a measurement as one JSON object that can be laid beside those of other days and machines.
 *
 * A field that has no meaning for a test (bytes of a load) is null. Rates are medians; *_samples are in the order of
 * measuring. docs/measuring.md describes every field.
 */
#ifndef STILE_LAB_RECORD_H
#define STILE_LAB_RECORD_H

#include "lab/bench.h"

#include <jansson.h>

/* NULL when memory is out. */
json_t *record_make(const struct bench_plan *plan, const struct bench_result *result);

/* The main number of a record: "tokens_per_s" or "seconds". */
const char *record_metric(const json_t *record);
/* Its samples; false when the record is not one. */
bool record_stats(const json_t *record, struct stats *stats);
/* The text of a field, "" where it is none; the number, 0 where it is none. A path may lead inside: "machine.cpu". */
const char *record_text(const json_t *record, const char *path);
double record_number(const json_t *record, const char *path);

/* Bytes per second that memory can be read with: the median of what was measured between the repetitions, or where that
 * could not be, the machine's bandwidth; 0 where nothing is known. */
double record_limit(const struct bench_plan *plan, const struct bench_result *result);

/* What disturbed the measurement, "steal 4%, halves differ by 7%", or "" for nothing. Also in the record, as
 * noise.summary. */
void record_noise(const struct bench_plan *plan, const struct bench_result *result, char *out, size_t capacity);

/* A profile: one object for each kind of operation, or each layer (by_layer), most time first or in order. */
json_t *record_profile(const struct bench_plan *plan, const struct bench_result *result, bool by_layer);

#endif
