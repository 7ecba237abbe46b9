/* plan_private.h - what the files of public plans share: a question, and answers to it on measured machines (plan.c) and
 * on computers by name (plan_computers.c).
 */
#ifndef STILE_RUN_PLAN_PRIVATE_H
#define STILE_RUN_PLAN_PRIVATE_H

#include "plan/computer.h"
#include "run/session.h"

struct plan_ask {
    const struct stile_model *model;
    struct stile_session_options session; /* with defaults filled in */
    struct plan_request request;
};

int plan_ask_make(struct plan_ask *ask, const struct stile_model *model, const struct stile_plan_options *options,
                  struct stile_error *error);
/* On options->machine; options->format is ask's. */
int plan_on(struct stile_plan *out, const struct plan_ask *ask, const struct stile_plan_options *options,
            struct stile_error *error);
/* May take a larger size of the computer. */
void plan_on_computer(struct stile_plan *out, const struct plan_ask *ask, struct computer *computer);

/* For the public interface. */
void plan_publish(struct stile_plan *out, const struct plan_ask *ask, const struct plan *plan,
                  const struct plan_machine *machine);
struct stile_estimate plan_publish_estimate(const struct plan_machine *machine, const struct plan_estimate *estimate);
/* Name of the format, and its quality. */
void plan_publish_format(struct stile_plan *out, const struct plan_ask *ask);

#endif
