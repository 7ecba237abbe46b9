#include "plan/published.h"

#include "plan/standin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 256 };

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

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void plan_published_errors(struct published_errors *errors, const char *metric, bool mixtures)
{
    double all[ROWS_MAX];
    *errors = (struct published_errors){.n = 0};
    for (size_t i = 0; i < n_published_table && errors->n < ROWS_MAX; i++) {
        const struct published *row = &published_table[i];
        const struct shape *shape = shape_find(row->shape);
        struct plan_range range;
        if (strcmp(row->metric, metric) != 0 || !shape || (shape->n_experts > 0) != mixtures) continue;
        if (!published_predict(row, &range)) continue;
        double error = fabs(range.value / row->value - 1);
        if (error > errors->worst) {
            errors->worst = error;
            errors->worst_row = i;
        }
        errors->n_within += range.low <= row->value && row->value <= range.high;
        all[errors->n++] = error;
    }
    if (errors->n == 0) return;
    qsort(all, errors->n, sizeof *all, compare);
    errors->median = (all[(errors->n - 1) / 2] + all[errors->n / 2]) / 2;
}
