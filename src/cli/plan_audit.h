/* plan_audit.h - predictions, and what came of them. */
#ifndef STILE_CLI_PLAN_AUDIT_H
#define STILE_CLI_PLAN_AUDIT_H

#include "cli/options.h"
#include "cli/output.h"

/* Prints how far predictions were off. Returns an exit code. */
int plan_audit(const struct options *options);

/* What of a plan was measured: tokens per second, seconds, bytes. */
enum plan_kind { PLAN_DECODE, PLAN_PREFILL, PLAN_FIRST_WARM, PLAN_FIRST_COLD, PLAN_MEMORY };

/* Keeps a prediction and what came of it, for the audit; one that is 0 is none. *predicted (may be NULL) is what the plan
 * says of it. */
void plan_keep(const struct stile_plan *plan, const struct stile_model *model, const struct stile_plan_options *options,
               enum plan_kind kind, double measured, struct stile_estimate *predicted);

#endif
