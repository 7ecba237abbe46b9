/* plan.c - predictions for the public interface: a model, a session's options, this machine. */
#include "base/error.h"
#include "plan/predict.h"
#include "run/budget.h"
#include "run/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 512, GENERATED = 128 };
/* Of a process before it opens a model: code, libraries, the C library's own; and of a thread its stack. */
enum { PROCESS_BYTES = 8 << 20, THREAD_BYTES = 64 << 10 };

static struct stile_estimate estimate_of(const struct plan_machine *machine, const struct plan_estimate *estimate)
{
    struct stile_estimate e = {
        .value = estimate->range.value, .low = estimate->range.low, .high = estimate->range.high};
    snprintf(e.bound_by, sizeof e.bound_by, "%s", plan_bound_name(machine, estimate));
    return e;
}

static void publish(struct stile_plan *out, const struct plan *plan, const struct plan_machine *machine,
                    const struct stile_session_options *session)
{
    *out = (struct stile_plan){
        .possible = plan->possible,
        .fits = plan->fits,
        .memory = {plan->memory.weights_bytes, plan->memory.kv_bytes, plan->memory.activations_bytes,
                   plan->memory.other_bytes},
        .n_tiers = (uint32_t)machine->n_tiers,
        .expert_hit_share = plan->expert_hit_share,
        .decode_tokens_per_s = estimate_of(machine, &plan->decode_tokens_per_s),
        .prefill_tokens_per_s = estimate_of(machine, &plan->prefill_tokens_per_s),
        .first_token_warm_s = estimate_of(machine, &plan->first_warm_s),
        .first_token_cold_s = estimate_of(machine, &plan->first_cold_s),
        .n_ctx = session->n_ctx,
        .n_batch = session->n_batch,
        .n_threads = session->n_threads,
    };
    for (int t = 0; t < machine->n_tiers; t++) {
        const struct plan_tier *tier = &machine->tiers[t];
        const struct plan_place *place = &plan->places[t];
        struct stile_plan_tier *to = &out->tiers[t];
        *to = (struct stile_plan_tier){.computes = tier->computes,
                                       .capacity_bytes = tier->capacity_bytes,
                                       .weights_bytes = place->dense_bytes,
                                       .experts_bytes = place->expert_bytes,
                                       .kv_bytes = place->kv_bytes,
                                       .other_bytes = place->other_bytes,
                                       .token_bytes = plan->token_bytes[t],
                                       .read_bytes_per_s = tier->read_bytes_per_s.value};
        snprintf(to->name, sizeof to->name, "%s", tier->name);
    }
}

static int request_of(struct plan_request *request, const struct stile_model *model,
                      const struct stile_plan_options *options, const struct stile_session_options *session,
                      struct stile_error *error)
{
    struct stile_memory memory;
    int failed = stile_model_memory(model, session, &memory, error);
    if (failed) return failed;
    *request = (struct plan_request){
        .program = model->program,
        .memory = {.kv_bytes = memory.kv_bytes,
                   .activations_bytes = memory.activations_bytes,
                   .other_bytes = memory.other_bytes + memory.draft_bytes + PROCESS_BYTES +
                                  (uint64_t)session->n_threads * THREAD_BYTES},
        .n_batch = session->n_batch,
        .n_prompt = options->n_prompt > 0 ? options->n_prompt : PROMPT,
        .n_depth = options->n_depth,
        .n_generated = options->n_generated > 0 ? options->n_generated : GENERATED,
        .kv_format = session_kv_format(session->kv_format),
        .tokens_per_pass = options->tokens_per_pass,
        .n_guessed = options->n_guessed,
    };
    if (options->format && !(request->mix = mix_find(options->format))) {
        char names[600];
        mix_names(names, sizeof names);
        return error_set(error, STILE_ERROR_ARGUMENT, "no format \"%s\" is known: one of %s", options->format, names);
    }
    return 0;
}

/* Where the session would put the weights: *placement is NULL where they fit, or nothing could be placed (or they would
 * come in another format). */
static int place(struct placement **placement, const struct plan_request *request, const struct stile_model *model,
                 const struct stile_plan_options *options, uint64_t usable_bytes, struct stile_error *error)
{
    const struct plan_memory *memory = &request->memory;
    uint64_t taken = memory->kv_bytes + memory->activations_bytes + memory->other_bytes, least_bytes;
    uint64_t left = usable_bytes > taken ? usable_bytes - taken : 0;
    *placement = NULL;
    if (request->mix || (!options->session.place && model->info.size_bytes <= left)) return 0;
    struct placement_request asked = {.budget_bytes = left, .place = options->session.place};
    int failed = placement_create(placement, model->program, &asked, &least_bytes, error);
    return failed == STILE_ERROR_MEMORY ? 0 : failed;
}

int stile_plan_make(struct stile_plan *out, const struct stile_model *model, const struct stile_plan_options *given,
                    struct stile_error *error)
{
    static const struct stile_plan_options defaults = {.n_prompt = 0};
    const struct stile_plan_options *options = given ? given : &defaults;
    struct stile_session_options session;
    struct plan_request request;
    struct placement *placement = NULL;
    int failed = session_resolve_options(model, &options->session, &session, error);
    if (!failed) failed = request_of(&request, model, options, &session, error);
    if (failed) return failed;
    struct room {
        struct machine machine;
        struct plan_machine plan_machine;
        struct plan plan;
    } *room = malloc(sizeof *room);
    if (!room) return error_memory(error, sizeof *room, "a plan");
    failed = machine_describe(&room->machine, (int)session.n_threads, false, error);
    if (!failed) {
        uint64_t usable_bytes = budget_usable_bytes(&session, &room->machine.memory);
        if (options->assumed_memory_bytes > 0) usable_bytes = options->assumed_memory_bytes;
        plan_machine_here(&room->plan_machine, &room->machine, (int)session.n_threads);
        room->plan_machine.tiers[0].capacity_bytes = usable_bytes;
        failed = place(&placement, &request, model, options, usable_bytes, error);
    }
    if (!failed) {
        request.placement = placement;
        plan_predict(&room->plan, &request, &room->plan_machine);
        publish(out, &room->plan, &room->plan_machine, &session);
    }
    placement_free(placement);
    free(room);
    return failed;
}
