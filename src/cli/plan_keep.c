/* plan_keep.c - what came of a prediction goes to the records. */
#include "cli/plan_audit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static struct stile_estimate memory_of(const struct stile_plan *plan)
{
    double bytes = 0;
    for (uint32_t t = 0; t < plan->n_tiers; t++) {
        const struct stile_plan_tier *tier = &plan->tiers[t];
        if (tier->computes)
            bytes += (double)(tier->weights_bytes + tier->experts_bytes + tier->kv_bytes + tier->other_bytes);
    }
    return (struct stile_estimate){.value = bytes, .low = 0, .high = bytes, .bound_by = "memory"};
}

void plan_keep(const struct stile_plan *plan, const struct stile_model *model, const struct stile_plan_options *options,
               enum plan_kind kind, double measured, struct stile_estimate *predicted)
{
    static const char *const kinds[] = {"decode", "prefill", "first token", "first token", "memory"};
    const struct stile_model_info *info = stile_model_info(model);
    const struct stile_estimate estimates[] = {plan->decode_tokens_per_s, plan->prefill_tokens_per_s,
                                               plan->first_token_warm_s, plan->first_token_cold_s, memory_of(plan)};
    struct stile_format_share share = {.format = ""};
    const char *slash = strrchr(info->path, '/');
    bool decode = kind == PLAN_DECODE || kind == PLAN_MEMORY;
    struct stile_outcome outcome = {
        .time = (int64_t)time(NULL),
        .n_ctx = plan->n_ctx,
        .n_depth = options->n_depth,
        .n_tokens = decode ? options->n_generated : options->n_prompt,
        .n_batch = plan->n_batch,
        .n_threads = plan->n_threads,
        .memory_limit_bytes = options->session.memory_limit_bytes,
        .streamed = !plan->fits,
        .predicted = estimates[kind],
        .measured = measured,
    };
    if (predicted) *predicted = estimates[kind];
    if (!(outcome.predicted.value > 0 && measured > 0)) return;
    stile_model_formats(model, &share, 1);
    snprintf(outcome.kind, sizeof outcome.kind, "%s", kinds[kind]);
    snprintf(outcome.model, sizeof outcome.model, "%s", slash ? slash + 1 : info->path);
    snprintf(outcome.format, sizeof outcome.format, "%s", share.format);
    snprintf(outcome.commit, sizeof outcome.commit, "%s", stile_commit());
    stile_outcome_keep(&outcome, NULL); /* a by-product: that it cannot be kept is no reason to fail */
}
