/* quality_show.h - what was measured of a model's quality, as a table and as JSON. */
#ifndef STILE_CLI_QUALITY_SHOW_H
#define STILE_CLI_QUALITY_SHOW_H

#include "lab/estimate.h"
#include "lab/quality.h"
#include "lab/tasks.h"

#include <jansson.h>

struct quality_report {
    const struct quality_plan *plan;
    const struct quality *quality; /* NULL, like the next: there was no text */
    const struct estimates *estimates;
    const char *text; /* where it came from */
    uint64_t memory_bytes;
    const struct tasks_result *tasks; /* NULL: there were none */
    const char *tasks_path;
    size_t n_tasks;
};

void quality_show(const struct quality_report *report);
json_t *quality_json(const struct quality_report *report);

/* Fields of an object that all reports of quality share. */
void quality_set_estimates(json_t *object, const struct estimates *estimates, bool has_reference);
void quality_set_text(json_t *object, const char *text, const struct windows *windows);

#endif
