#include "plan/published.h"

#include "plan/standin.h"

#include <string.h>

bool published_predict(const struct published *row, struct plan_range *tokens_per_s)
{
    struct computer computer;
    struct standin standin;
    struct plan_machine machine;
    struct plan plan;
    struct stile_error error;
    enum format format;
    const struct shape *shape = shape_find(row->shape);
    if (!shape || !format_by_name(row->format, &format)) return false;
    if (computer_parse(&computer, row->machine, &error) != STILE_OK) return false;
    if (!standin_create(&standin, shape, format, row->bits_per_weight)) return false;
    bool decode = strcmp(row->metric, "decode") == 0;
    uint32_t n = (uint32_t)row->n_tokens;
    const struct plan_request request = {
        .program = &standin.program,
        .n_batch = 512,
        .n_prompt = decode ? 1 : n,
        .n_depth = decode ? n : 0,
        .n_generated = 1,
        .kv_format = FORMAT_F16,
    };
    computer_machine(&computer, &standin.model.hparams, false, &machine);
    machine.tiers[0].capacity_bytes = UINT64_MAX; /* it did fit */
    plan_predict(&plan, &request, &machine);
    *tokens_per_s = decode ? plan.decode_tokens_per_s.range : plan.prefill_tokens_per_s.range;
    standin_free(&standin);
    return true;
}
