/* reply_plan.c - what is expected of a reply, and what came of it. */
#include "cli/plan_audit.h"
#include "cli/plan_show.h"
#include "cli/reply.h"

#include <sys/resource.h>

enum { TOKENS_MIN = 16 /* of a reply whose speed says something */ };

static struct stile_plan_options plan_options(const struct engine *engine, const struct options *options)
{
    return (struct stile_plan_options){
        .session = {.n_ctx = (uint32_t)options->n_ctx,
                    .n_threads = (uint32_t)options->n_threads,
                    .kv_format = options_kv_format(options),
                    .isa = options->isa,
                    .memory_limit_bytes = (uint64_t)options->memory_limit,
                    .place = options->place,
                    .draft = engine->draft},
        .assumed_memory_bytes = engine->free_bytes,
        .n_prompt = plan_usual_tokens(512, options),
        .n_generated = plan_usual_tokens(128, options),
    };
}

void reply_show_plan(const struct engine *engine, const struct options *options)
{
    struct plan_report report = {.model = options->arguments[0], .options = plan_options(engine, options)};
    if (stile_plan_make(&report.plan, engine->model, &report.options, NULL) != STILE_OK) return;
    plan_show(stderr, &report);
    fputc('\n', stderr);
}

/* Was the file in memory at the beginning? Something between is neither warm nor cold. */
static bool start_of(const struct engine *engine, enum plan_kind *kind)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return false;
    double read_bytes = 512.0 * (double)usage.ru_inblock, size_bytes = (double)engine->memory.weights_bytes;
    *kind = read_bytes < size_bytes / 50 ? PLAN_FIRST_WARM : PLAN_FIRST_COLD;
    return *kind == PLAN_FIRST_WARM || read_bytes > size_bytes * 0.8;
}

/* Did others need the processors meanwhile? Threads that wait for each other spin, so undisturbed ones are busy all the
 * time. */
static bool disturbed(const struct engine *engine, const struct stile_plan *plan)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return true;
    double busy_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    double time_s = (double)(engine->result.prompt_ns + engine->result.generate_ns) / 1e9;
    return plan->fits && busy_s < 0.85 * time_s * plan->n_threads;
}

void reply_grade(const struct engine *engine, const struct options *options)
{
    const struct stile_generation *result = &engine->result;
    struct stile_plan_options asked = plan_options(engine, options);
    struct stile_plan plan;
    enum plan_kind kind;
    /* the engine of another instruction set was never probed; a draft model's work is not predicted */
    if (options->isa || engine->draft || result->n_prompt_tokens == 0 || result->n_tokens == 0) return;
    asked.n_prompt = result->n_prompt_tokens;
    asked.n_generated = result->n_tokens;
    if (engine->first_text_ns > 0 && start_of(engine, &kind) &&
        stile_plan_make(&plan, engine->model, &asked, NULL) == STILE_OK && !disturbed(engine, &plan))
        plan_keep(&plan, engine->model, &asked, kind, (double)engine->first_text_ns / 1e9, NULL);
    asked.n_depth = result->n_prompt_tokens;
    if (result->n_tokens >= TOKENS_MIN && result->lookup.n_drafted == 0 && result->generate_ns > 0 &&
        stile_plan_make(&plan, engine->model, &asked, NULL) == STILE_OK && !disturbed(engine, &plan))
        plan_keep(&plan, engine->model, &asked, PLAN_DECODE, 1e9 * result->n_passes / (double)result->generate_ns,
                  NULL);
}
