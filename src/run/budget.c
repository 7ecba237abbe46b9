#include "run/budget.h"

#include "base/error.h"

enum { MARGIN_BYTES = 64 << 20, MARGIN_SHARE = 64 };

uint64_t budget_margin_bytes(uint64_t available_bytes)
{
    return MARGIN_BYTES + available_bytes / MARGIN_SHARE;
}

uint64_t budget_usable_bytes(const struct stile_session_options *options, const struct machine_memory *memory)
{
    uint64_t margin = budget_margin_bytes(memory->available_bytes), limit = options->memory_limit_bytes;
    uint64_t bytes = memory->available_bytes > margin ? memory->available_bytes - margin : 0;
    return limit > 0 && limit < bytes ? limit : bytes;
}

static double gb(uint64_t n_bytes)
{
    return (double)n_bytes / 1e9;
}

static int too_little(const struct stile_session_options *options, const struct stile_memory *needed,
                      uint64_t least_bytes, uint64_t usable_bytes, struct stile_error *error)
{
    uint64_t rest = needed->activations_bytes + needed->other_bytes + needed->draft_bytes;
    return error_set(error, STILE_ERROR_MEMORY,
                     "at least %.2f GB of memory are needed (%.2f for the context of %u tokens, %.2f for activations, "
                     "vocabulary and others, %.2f to pass the weights through) and %.2f may be used: %s, or ask for a "
                     "smaller context",
                     gb(needed->kv_bytes + rest + least_bytes), gb(needed->kv_bytes), options->n_ctx, gb(rest),
                     gb(least_bytes), gb(usable_bytes),
                     options->memory_limit_bytes > 0 ? "raise the limit" : "free some memory");
}

int budget_place(struct placement **placement, const struct stile_model *model,
                 const struct stile_session_options *options, const struct machine_memory *memory,
                 struct stile_error *error)
{
    struct stile_memory needed;
    uint64_t bytes = budget_usable_bytes(options, memory), least_bytes;
    *placement = NULL;
    int failed = stile_model_memory(model, options, &needed, error);
    if (failed) return failed;
    uint64_t taken = needed.kv_bytes + needed.activations_bytes + needed.other_bytes + needed.draft_bytes;
    uint64_t left = bytes > taken ? bytes - taken : 0;
    if (!options->place && needed.weights_bytes <= left) return 0;
    if (!model->model->gguf->maps) { /* made in memory */
        if (!options->place && options->memory_limit_bytes == 0) return 0;
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "%s: the weights of a model made in memory stay there (write it to a file, with --out)",
                         model->path);
    }
    struct placement_request request = {.budget_bytes = left, .place = options->place};
    failed = placement_create(placement, model->program, &request, &least_bytes, error);
    return failed == STILE_ERROR_MEMORY && least_bytes > left ? too_little(options, &needed, least_bytes, bytes, error)
                                                              : failed;
}

void budget_keep(struct tiers *tiers, const struct machine_memory *memory, bool again)
{
    /* Memory is taken again in small parts: whoever needed it may come back, and nothing is lost by waiting but speed.
     * The least part of a margin that it is done for lies well above what giving back leaves free. */
    enum { PARTS = 4 };
    struct tiers_stats stats;
    uint64_t margin = budget_margin_bytes(memory->total_bytes), free_bytes = memory->available_bytes;
    tiers_stats(tiers, &stats);
    uint64_t needed = stats.absent_bytes + stats.experts.empty_bytes; /* what is yet to be read takes memory too */
    if (free_bytes < needed + margin / 4)
        tiers_shrink(tiers, needed - free_bytes + margin * 3 / 4);
    else if (again && free_bytes > needed + margin * 3 / 2)
        tiers_grow(tiers, (free_bytes - needed - margin) / PARTS);
}
