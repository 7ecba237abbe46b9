/* plan.c - predictions for the public interface: a model, a session's options, a machine. */
#include "base/error.h"
#include "base/threads.h"
#include "run/budget.h"
#include "run/plan_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROMPT = 512, GENERATED = 128 };
/* Of a process before it opens a model: code, libraries, the C library's own; and of a thread its stack. */
enum { PROCESS_BYTES = 16 << 20, THREAD_BYTES = 64 << 10 };

struct stile_estimate plan_publish_estimate(const struct plan_machine *machine, const struct plan_estimate *estimate)
{
    struct stile_estimate e = {
        .value = estimate->range.value, .low = estimate->range.low, .high = estimate->range.high};
    snprintf(e.bound_by, sizeof e.bound_by, "%s", plan_bound_name(machine, estimate));
    return e;
}

/* The format that most weights of a model's layers have. */
static enum format main_format(const struct plan_ask *ask)
{
    const struct model *model = ask->request.program->model;
    const struct weight *weight = NULL;
    for (int role = ROLE_LAYER_FIRST; role < ROLE_COUNT; role++) {
        const struct weight *w = &model->layers[0][role];
        if (w->tensor && (!weight || w->rows * w->cols > weight->rows * weight->cols)) weight = w;
    }
    if (!weight) return FORMAT_F32;
    enum mix_class class = model->hparams.n_experts > 0 ? MIX_EXPERTS : MIX_OTHER;
    return ask->request.mix ? mix_format(ask->request.mix, class, &model->hparams, 0, weight->cols, false)
                            : weight->format;
}

/* What is done for a token, and how fast it could be. */
static void publish_work(struct stile_plan *out, const struct plan_ask *ask, const struct plan *plan,
                         const struct plan_machine *machine)
{
    const struct plan_request *request = &ask->request;
    if (!plan->possible) return;
    uint32_t n = request->n_prompt < request->n_batch ? request->n_prompt : request->n_batch;
    const struct step_shape one = {1, request->n_depth + request->n_generated / 2, 1, request->kv_format};
    const struct step_shape many = {n, request->n_depth, 1, request->kv_format};
    struct cost decode = program_cost(request->program, &one), prefill = program_cost(request->program, &many);
    out->decode_macs = (double)decode.macs;
    out->prefill_macs = (double)prefill.macs / n;
    for (int t = 0; t < machine->n_tiers; t++)
        out->decode_bytes += plan->token_bytes[t];
    /* the weights may be in other formats than the program's */
    double scale = (double)decode.weight_bytes > 0
                       ? (out->decode_bytes - (double)decode.kv_bytes) / (double)decode.weight_bytes
                       : 1;
    out->prefill_bytes = (scale * (double)prefill.weight_bytes + (double)prefill.kv_bytes) / n;
    out->macs_per_s = machine->tiers[0].processor.macs_per_s[main_format(ask)].value;
}

void plan_publish(struct stile_plan *out, const struct plan_ask *ask, const struct plan *plan,
                  const struct plan_machine *machine)
{
    const struct stile_session_options *session = &ask->session;
    *out = (struct stile_plan){
        .possible = plan->possible,
        .fits = plan->fits,
        .memory = {.weights_bytes = plan->memory.weights_bytes,
                   .kv_bytes = plan->memory.kv_bytes,
                   .activations_bytes = plan->memory.activations_bytes,
                   .other_bytes = plan->memory.other_bytes},
        .n_tiers = (uint32_t)machine->n_tiers,
        .expert_hit_share = plan->expert_hit_share,
        .decode_tokens_per_s = plan_publish_estimate(machine, &plan->decode_tokens_per_s),
        .prefill_tokens_per_s = plan_publish_estimate(machine, &plan->prefill_tokens_per_s),
        .first_token_warm_s = plan_publish_estimate(machine, &plan->first_warm_s),
        .first_token_cold_s = plan_publish_estimate(machine, &plan->first_cold_s),
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
    snprintf(out->machine, sizeof out->machine, "%s", machine->name);
    publish_work(out, ask, plan, machine);
    plan_publish_format(out, ask);
}

static uint64_t process_bytes(const struct stile_session_options *session)
{
    return PROCESS_BYTES + (uint64_t)session->n_threads * THREAD_BYTES;
}

int plan_ask_make(struct plan_ask *ask, const struct stile_model *model, const struct stile_plan_options *options,
                  struct stile_error *error)
{
    struct plan_request *request = &ask->request;
    struct stile_session_options *session = &ask->session;
    struct stile_memory memory;
    int failed = session_resolve_options(model, &options->session, session, error);
    if (!failed) failed = stile_model_memory(model, session, &memory, error);
    if (failed) return failed;
    ask->model = model;
    *request = (struct plan_request){
        .program = model->program,
        .memory = {.kv_bytes = memory.kv_bytes,
                   .activations_bytes = memory.activations_bytes,
                   .other_bytes = memory.other_bytes + memory.draft_bytes + process_bytes(session)},
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
static int place(struct placement **placement, const struct plan_ask *ask, const struct stile_plan_options *options,
                 uint64_t usable_bytes, struct stile_error *error)
{
    const struct plan_request *request = &ask->request;
    const struct stile_model *model = ask->model;
    const struct plan_memory *memory = &request->memory;
    uint64_t least_bytes, taken = memory->kv_bytes + memory->activations_bytes + memory->other_bytes;
    taken -= process_bytes(&ask->session); /* a limit is for what a session asks for, as in run/budget.c */
    uint64_t left = usable_bytes > taken ? usable_bytes - taken : 0;
    *placement = NULL;
    if (request->mix || (!options->session.place && model->info.size_bytes <= left)) return 0;
    struct placement_request asked = {.budget_bytes = left, .place = options->session.place};
    int failed = placement_create(placement, model->program, &asked, &least_bytes, error);
    return failed == STILE_ERROR_MEMORY ? 0 : failed;
}

static uint64_t assumed(const struct stile_plan_options *options)
{
    uint64_t bytes = options->assumed_memory_bytes, limit = options->session.memory_limit_bytes;
    return limit > 0 && limit < bytes ? limit : bytes;
}

/* A machine that was measured: this one, or one in a file. */
static int plan_measured(struct stile_plan *out, const struct plan_ask *ask, const struct stile_plan_options *options,
                         const char *path, struct stile_error *error)
{
    struct placement *placement = NULL;
    struct plan_request request = ask->request;
    int n_threads = (int)ask->session.n_threads;
    uint64_t usable_bytes = 0;
    struct room {
        struct machine machine;
        struct plan_machine plan_machine;
        struct plan plan;
    } *room = malloc(sizeof *room);
    if (!room) return error_memory(error, sizeof *room, "a plan");
    int failed = path ? machine_read_file(&room->machine, path, error)
                      : machine_describe(&room->machine, threads_default_count(), false, error);
    if (!failed) {
        usable_bytes = budget_usable_bytes(&ask->session, &room->machine.memory);
        if (options->assumed_memory_bytes > 0) usable_bytes = assumed(options);
        if (path) n_threads = room->machine.n_threads;
        plan_machine_here(&room->plan_machine, &room->machine, n_threads, path ? NULL : options->pace);
        room->plan_machine.tiers[0].capacity_bytes = usable_bytes + process_bytes(&ask->session);
        failed = place(&placement, ask, options, usable_bytes, error);
    }
    if (!failed) {
        request.placement = placement;
        plan_predict(&room->plan, &request, &room->plan_machine);
        plan_publish(out, ask, &room->plan, &room->plan_machine);
        out->tiers[0].capacity_bytes = usable_bytes;
        out->probed_read_bytes_per_s = room->plan_machine.probed_read_bytes_per_s;
        if (!path && options->pace) out->pace_read_bytes_per_s = options->pace->read_bytes_per_s;
        out->n_threads = (uint32_t)n_threads;
    }
    placement_free(placement);
    free(room);
    return failed;
}

int plan_on(struct stile_plan *out, const struct plan_ask *ask, const struct stile_plan_options *options,
            struct stile_error *error)
{
    const char *machine = options->machine;
    struct computer computer;
    if (!machine || strcmp(machine, "this") == 0) return plan_measured(out, ask, options, NULL, error);
    if (strchr(machine, '/')) return plan_measured(out, ask, options, machine, error);
    int failed = computer_parse(&computer, machine, error);
    if (failed && access(machine, F_OK) == 0) return plan_measured(out, ask, options, machine, error);
    if (!failed) plan_on_computer(out, ask, &computer);
    return failed;
}

int stile_plan_make(struct stile_plan *out, const struct stile_model *model, const struct stile_plan_options *given,
                    struct stile_error *error)
{
    static const struct stile_plan_options defaults = {.n_prompt = 0};
    const struct stile_plan_options *options = given ? given : &defaults;
    struct plan_ask ask;
    int failed = plan_ask_make(&ask, model, options, error);
    return failed ? failed : plan_on(out, &ask, options, error);
}
