/* plan_rank.h - `stile plan` of many machines and formats, and its picture. */
#ifndef STILE_CLI_PLAN_RANK_H
#define STILE_CLI_PLAN_RANK_H

#include "cli/options.h"
#include "cli/output.h"

/* Do the options of rankings go together? Returns an exit code. */
int plan_rank_check(const struct options *options);
/* Prints the ranking, or appends an array to `array`. Returns an exit code; FAILED when nothing is left. */
int plan_rank(const struct options *options, const struct stile_model *model, const struct stile_plan_options *plan,
              json_t *array);
/* Writes options->svg. */
int plan_picture(const struct options *options, const struct stile_model *model, const struct stile_plan_options *plan);

#endif
