/* plan_picture.c - `stile plan --svg`: the limits of a machine, and where a model runs into them. */
#include "base/beside.h"
#include "cli/plan_rank.h"
#include "cli/roofline.h"
#include "cli/svg.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* For comparison with the model's own format. */
static const char *const others[] = {"bf16", "q8_0", "q4_k_m", "q2_k"};

static struct roofline_point point_of(const struct stile_estimate *estimate, double macs, double bytes)
{
    return (struct roofline_point){.macs_per_byte = bytes > 0 ? macs / bytes : 0,
                                   .macs_per_s = macs * estimate->value,
                                   .tokens_per_s = estimate->value,
                                   .tokens_low_per_s = estimate->low,
                                   .tokens_high_per_s = estimate->high};
}

static void add_series(struct roofline *r, const struct stile_plan *plan, const char *name)
{
    if (r->n_series == ROOFLINE_SERIES_MAX) return;
    size_t i = r->n_series++;
    snprintf(r->series[i].name, sizeof r->series[i].name, "%s", name);
    r->series[i].decode = point_of(&plan->decode_tokens_per_s, plan->decode_macs, plan->decode_bytes);
    r->series[i].prefill = point_of(&plan->prefill_tokens_per_s, plan->prefill_macs, plan->prefill_bytes);
}

static void add_level(struct roofline *r, const struct stile_plan *plan, const char *name)
{
    size_t i = r->n_levels;
    bool near = i > 0 && plan->macs_per_s < 1.3 * r->levels[i - 1].macs_per_s &&
                r->levels[i - 1].macs_per_s < 1.3 * plan->macs_per_s; /* no room for two names */
    if (i == ROOFLINE_LEVELS_MAX || !(plan->macs_per_s > 0) || near) return;
    snprintf(r->levels[i].name, sizeof r->levels[i].name, "arithmetic, %s", name);
    r->levels[i].macs_per_s = plan->macs_per_s;
    r->n_levels++;
}

static void add_slopes(struct roofline *r, const struct stile_plan *plan)
{
    for (uint32_t t = 0; t < plan->n_tiers && r->n_slopes < ROOFLINE_SLOPES_MAX; t++) {
        if (!(plan->tiers[t].read_bytes_per_s > 0)) continue;
        snprintf(r->slopes[r->n_slopes].name, sizeof r->slopes->name, "%s", plan->tiers[t].name);
        r->slopes[r->n_slopes++].bytes_per_s = plan->tiers[t].read_bytes_per_s;
    }
}

int plan_picture(const struct options *options, const struct stile_model *model, const struct stile_plan_options *given)
{
    struct stile_error error = {0};
    struct stile_plan plan;
    struct stile_plan_options how = *given;
    struct roofline r = {.n_slopes = 0};
    int failed = stile_plan_make(&plan, model, &how, &error);
    if (failed) return cli_error(&error);
    const char *own = *plan.format ? plan.format : "as it is";
    snprintf(r.title, sizeof r.title, "%.90s on %.60s", options->arguments[0], plan.machine);
    snprintf(r.subtitle, sizeof r.subtitle,
             "what can be had is below the lines; context of %u tokens, prompt of %u; %s", plan.n_ctx, given->n_prompt,
             plan.data_sheet ? "by data sheets and published engines" : "by what was measured of the machine");
    add_slopes(&r, &plan);
    add_series(&r, &plan, own);
    add_level(&r, &plan, own);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        how.format = others[i];
        if (strcasecmp(others[i], plan.format) == 0) continue;
        struct stile_plan other;
        if (stile_plan_make(&other, model, &how, &error) != STILE_OK || !other.possible) continue;
        add_series(&r, &other, others[i]);
        if (strcmp(others[i], "bf16") == 0) add_level(&r, &other, others[i]);
    }
    char *text = roofline_svg(&r);
    if (!text) return cli_fail("out of memory");
    failed = beside_replace(options->svg, text, strlen(text), &error);
    free(text);
    return failed ? cli_error(&error) : EXIT_OK;
}
