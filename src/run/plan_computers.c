/* plan_computers.c - plans for computers by name, rankings of computers and formats, and published measurements. */
#include "plan/published.h"
#include "plan/quality.h"
#include "run/plan_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one plan ------------------------------------------------------------------------------- */

/* The mix that a file says it is; NULL when it does not say. */
static const struct mix *mix_of_file(const struct model *model)
{
    uint64_t file_type = UINT32_MAX;
    if (gguf_get_u64(model->gguf, "general.file_type", 0, UINT32_MAX - 1, &file_type, NULL) != STILE_OK) return NULL;
    size_t i = 0;
    while (mix_at(i) && mix_file_type(mix_at(i)) != file_type)
        i++;
    return mix_at(i);
}

void plan_publish_format(struct stile_plan *out, const struct plan_ask *ask)
{
    struct quality_expected quality;
    const struct mix *mix = ask->request.mix ? ask->request.mix : mix_of_file(ask->model->model);
    const char *name = mix ? mix_name(mix) : "";
    quality_expect(&quality, name, ask->model->info.n_parameters);
    snprintf(out->format, sizeof out->format, "%s", name);
    out->quality =
        (struct stile_quality){quality.ppl_loss, quality.divergence, quality.imatrix, quality.model, quality.source};
}

static struct stile_range publish_range(const struct plan_range *range)
{
    return (struct stile_range){range->value, range->low, range->high};
}

void plan_on_computer(struct stile_plan *out, const struct plan_ask *ask, struct computer *computer)
{
    struct computer_plan result;
    struct plan_request request = ask->request;
    request.capacity_bytes = ask->session.memory_limit_bytes;
    computer_predict(computer, &request, &result);
    plan_publish(out, ask, &result.plan, &result.machine);
    if (request.capacity_bytes > 0 && request.capacity_bytes < out->tiers[0].capacity_bytes)
        out->tiers[0].capacity_bytes = request.capacity_bytes;
    snprintf(out->machine, sizeof out->machine, "%s", computer->name);
    snprintf(out->assumed, sizeof out->assumed, "%s", computer->assumed);
    snprintf(out->decode_tokens_per_s.bound_by, sizeof out->decode_tokens_per_s.bound_by, "%s", result.decode_bound);
    snprintf(out->prefill_tokens_per_s.bound_by, sizeof out->prefill_tokens_per_s.bound_by, "%s", result.prefill_bound);
    out->data_sheet = true;
    out->n_threads = 0;
    out->rated_w = result.rated_w;
    out->power_w = publish_range(&result.power_w);
    out->token_j = publish_range(&result.token_j);
}

const char *stile_computer_name(size_t i, const char **description)
{
    if (i >= n_hardware_table) return NULL;
    if (description) *description = hardware_table[i].name;
    return hardware_table[i].id;
}

/* ---- rankings ------------------------------------------------------------------------------- */

static uint64_t needed_bytes(const struct stile_plan *plan)
{
    const struct stile_memory *m = &plan->memory;
    return m->weights_bytes + m->kv_bytes + m->activations_bytes + m->other_bytes;
}

/* Everything lies in the first memory. */
static bool is_whole(const struct stile_plan *plan)
{
    uint64_t elsewhere = 0;
    for (uint32_t t = 1; t < plan->n_tiers; t++)
        elsewhere += plan->tiers[t].weights_bytes + plan->tiers[t].experts_bytes + plan->tiers[t].kv_bytes;
    return plan->possible && elsewhere == 0;
}

/* Counts what rules the plan out; true when nothing does. `whole`: it must lie in the first memory. */
static bool is_allowed(struct stile_plan_ranking *ranking, const struct stile_plan *plan, bool whole,
                       const struct stile_plan_limits *limits)
{
    const bool ruled_out[STILE_N_LIMITS] = {
        [STILE_LIMIT_MEMORY_OF_MACHINE] = !plan->possible || (whole && !is_whole(plan)),
        [STILE_LIMIT_SPEED] = plan->possible && !(plan->decode_tokens_per_s.value >= limits->min_tokens_per_s),
        [STILE_LIMIT_LOSS] =
            limits->max_loss > 0 && !(plan->quality.ppl_loss >= 0 && plan->quality.ppl_loss <= limits->max_loss),
        [STILE_LIMIT_POWER] = limits->max_w > 0 && !(plan->rated_w > 0 && plan->rated_w <= limits->max_w),
        [STILE_LIMIT_MEMORY] = limits->max_memory_bytes > 0 && needed_bytes(plan) > limits->max_memory_bytes,
    };
    bool allowed = true;
    ranking->n_tried++;
    for (int i = 0; i < STILE_N_LIMITS; i++) {
        ranking->n_ruled_out[i] += ruled_out[i];
        allowed = allowed && !ruled_out[i];
    }
    return allowed;
}

/* What is not known comes after all that is. */
static double loss_of(const struct stile_plan *plan)
{
    return plan->quality.ppl_loss >= 0 ? plan->quality.ppl_loss : INFINITY;
}

/* Less loss first; of the same, what is faster. */
static int by_loss(const void *a, const void *b)
{
    const struct stile_plan *x = a, *y = b;
    double left = x->decode_tokens_per_s.value, right = y->decode_tokens_per_s.value;
    if (loss_of(x) != loss_of(y)) return loss_of(x) < loss_of(y) ? -1 : 1;
    return (left < right) - (left > right);
}

static int by_speed(const void *a, const void *b)
{
    const struct stile_plan *x = a, *y = b;
    double left = x->decode_tokens_per_s.value, right = y->decode_tokens_per_s.value;
    if (left != right) return left < right ? 1 : -1;
    return by_loss(a, b);
}

/* Formats that a model may come in without being trained for them; the same number of bits once. */
static bool is_choice(const struct mix *mix)
{
    static const char *const others[] = {"f32", "f16", "tq1_0", "tq2_0", "q1_0", "q2_0"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(mix_name(mix), others[i]) == 0) return false;
    return true;
}

struct search {
    struct stile_plan_ranking *ranking;
    const struct stile_plan_options *options;
    const struct stile_plan_limits *limits;
    struct plan_ask ask;
    const struct mix *given; /* format; NULL: as it is */
    bool all_machines, all_formats;
};

/* Adds the allowed plans of one machine, device being NULL for that of the options. */
static int search_machine(struct search *search, const struct hardware *device, struct stile_error *error)
{
    struct stile_plan_ranking *ranking = search->ranking;
    size_t first = ranking->n_plans;
    bool whole = search->all_machines && search->all_formats && !(search->limits->min_tokens_per_s > 0);
    for (size_t i = 0; search->all_formats ? mix_at(i) != NULL : i == 0; i++) {
        struct stile_plan *plan = &ranking->plans[ranking->n_plans];
        struct computer computer;
        int failed = 0;
        if (search->all_formats && !is_choice(mix_at(i))) continue;
        search->ask.request.mix = search->all_formats ? mix_at(i) : search->given;
        if (device) {
            computer_of(&computer, device);
            plan_on_computer(plan, &search->ask, &computer);
        } else {
            failed = plan_on(plan, &search->ask, search->options, error);
        }
        if (failed) return failed;
        ranking->n_plans += is_allowed(ranking, plan, whole, search->limits);
    }
    if (search->all_machines && ranking->n_plans > first) {
        qsort(&ranking->plans[first], ranking->n_plans - first, sizeof *ranking->plans, by_loss);
        ranking->n_plans = (uint32_t)first + 1;
    }
    return 0;
}

int stile_plan_rank(struct stile_plan_ranking *ranking, const struct stile_model *model,
                    const struct stile_plan_options *given, bool all_machines, bool all_formats,
                    const struct stile_plan_limits *limits, struct stile_error *error)
{
    static const struct stile_plan_options defaults = {.n_prompt = 0};
    static const struct stile_plan_limits any = {.max_w = 0};
    size_t n_formats = 1, n_machines = all_machines ? n_hardware_table : 1;
    struct search search = {.ranking = ranking,
                            .options = given ? given : &defaults,
                            .limits = limits ? limits : &any,
                            .all_machines = all_machines,
                            .all_formats = all_formats};
    *ranking = (struct stile_plan_ranking){.plans = NULL};
    int failed = plan_ask_make(&search.ask, model, search.options, error);
    if (failed) return failed;
    search.given = search.ask.request.mix;
    while (all_formats && mix_at(n_formats))
        n_formats++;
    ranking->plans = calloc(n_machines + n_formats, sizeof *ranking->plans); /* at most one kept of each machine */
    if (!ranking->plans) return error_memory(error, (n_machines + n_formats) * sizeof *ranking->plans, "plans");
    for (size_t i = 0; i < n_machines && !failed; i++)
        failed = search_machine(&search, all_machines ? &hardware_table[i] : NULL, error);
    if (failed)
        stile_plan_ranking_free(ranking);
    else
        qsort(ranking->plans, ranking->n_plans, sizeof *ranking->plans, all_machines ? by_speed : by_loss);
    return failed;
}

void stile_plan_ranking_free(struct stile_plan_ranking *ranking)
{
    free(ranking->plans);
    *ranking = (struct stile_plan_ranking){.plans = NULL};
}

/* ---- published measurements ----------------------------------------------------------------- */

bool stile_plan_published(struct stile_published *published, size_t i)
{
    struct plan_range range = {0, 0, 0};
    if (i >= n_published_table) return false;
    const struct published *row = &published_table[i];
    const struct shape *shape = shape_find(row->shape);
    published_predict(row, &range);
    *published = (struct stile_published){row->machine,
                                          row->shape,
                                          row->format,
                                          row->engine,
                                          row->metric,
                                          row->source,
                                          shape && shape->n_experts > 0,
                                          row->value,
                                          publish_range(&range)};
    return true;
}
