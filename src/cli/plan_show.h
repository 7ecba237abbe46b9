/* plan_show.h - predictions as text and as JSON. */
#ifndef STILE_CLI_PLAN_SHOW_H
#define STILE_CLI_PLAN_SHOW_H

#include "cli/options.h"
#include "cli/output.h"

/* Another way to run the model, and what it would bring. */
struct plan_change {
    char what[64]; /* "--kv q8_0" */
    struct stile_plan plan;
};

enum { PLAN_CHANGES_MAX = 16 };

struct plan_report {
    const char *model, *format; /* as it is called, and in what it is or would be */
    struct stile_plan_options options;
    struct stile_plan plan;
    struct plan_change changes[PLAN_CHANGES_MAX]; /* those that help, best first */
    size_t n_changes;
};

/* So many tokens, or what the context has room for where it was given. */
uint32_t plan_usual_tokens(uint32_t n, const struct options *options);

/* "12.3", "0.412", "5310" */
const char *plan_number(char out[32], double value);
uint64_t plan_needed_bytes(const struct stile_memory *memory);
/* What is known of a prediction without the question: machine, format, places, speed, quality, energy. */
json_t *plan_prediction_json(const struct stile_plan *plan);

void plan_show(FILE *stream, const struct plan_report *report);
/* Values times `unit`. */
json_t *plan_estimate_json(const struct stile_estimate *estimate, double unit);
json_t *plan_json(const struct plan_report *report);

#endif
