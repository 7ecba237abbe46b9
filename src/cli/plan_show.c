#include "cli/plan_show.h"

#include <inttypes.h>
#include <string.h>

uint32_t plan_usual_tokens(uint32_t n, const struct options *options)
{
    int64_t room = options->n_ctx > 0 ? options->n_ctx - options->n_depth : n;
    return room < 1 ? 1 : room < n ? (uint32_t)room : n;
}

/* ---- text ----------------------------------------------------------------------------------- */

uint64_t plan_needed_bytes(const struct stile_memory *memory)
{
    return memory->weights_bytes + memory->kv_bytes + memory->activations_bytes + memory->other_bytes;
}

static uint64_t tier_bytes(const struct stile_plan_tier *tier)
{
    return tier->weights_bytes + tier->experts_bytes + tier->kv_bytes + tier->other_bytes;
}

/* Of all memories that are computed with. */
static uint64_t room_bytes(const struct stile_plan *plan)
{
    uint64_t bytes = 0;
    for (uint32_t t = 0; t < plan->n_tiers; t++)
        if (plan->tiers[t].computes) bytes += plan->tiers[t].capacity_bytes;
    return bytes;
}

const char *plan_number(char out[32], double value)
{
    snprintf(out, 32, value >= 100 ? "%.0f" : value >= 1 ? "%.1f" : "%.3f", value);
    return out;
}

static void show_estimate(FILE *stream, const char *name, const struct stile_estimate *estimate, double unit,
                          const char *unit_name)
{
    char value[32], low[32], high[32];
    if (estimate->value <= 0) {
        fprintf(stream, "%-22s not known\n", name);
        return;
    }
    fprintf(stream, "%-22s %7s %-8s %5s to %-6s limited by %s\n", name, plan_number(value, estimate->value * unit),
            unit_name, plan_number(low, estimate->low * unit), plan_number(high, estimate->high * unit),
            estimate->bound_by);
}

/* As a duration that is short is told, or one that is long. */
static void show_time(FILE *stream, const char *name, const struct stile_estimate *estimate)
{
    bool is_long = estimate->value >= 2;
    show_estimate(stream, name, estimate, is_long ? 1 : 1e3, is_long ? "s" : "ms");
}

static void show_memory(FILE *stream, const struct stile_plan *plan)
{
    char size[32];
    const struct {
        const char *name;
        size_t offset;
    } rows[] = {
        {"weights", offsetof(struct stile_plan_tier, weights_bytes)},
        {"experts", offsetof(struct stile_plan_tier, experts_bytes)},
        {"KV cache", offsetof(struct stile_plan_tier, kv_bytes)},
        {"activations, other", offsetof(struct stile_plan_tier, other_bytes)},
    };
    fprintf(stream, "\n%-20s", "");
    for (uint32_t t = 0; t < plan->n_tiers; t++)
        fprintf(stream, " %14s", plan->tiers[t].name);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        uint64_t bytes[STILE_PLAN_TIERS_MAX], sum = 0;
        for (uint32_t t = 0; t < plan->n_tiers; t++) {
            memcpy(&bytes[t], (const char *)&plan->tiers[t] + rows[r].offset, sizeof bytes[t]);
            sum += bytes[t];
        }
        if (sum == 0) continue;
        fprintf(stream, "\n%-20s", rows[r].name);
        for (uint32_t t = 0; t < plan->n_tiers; t++)
            fprintf(stream, " %14s", bytes[t] ? size_text(size, bytes[t]) : "-");
    }
    fprintf(stream, "\n%-20s", "all");
    for (uint32_t t = 0; t < plan->n_tiers; t++)
        fprintf(stream, " %14s", tier_bytes(&plan->tiers[t]) ? size_text(size, tier_bytes(&plan->tiers[t])) : "-");
    fprintf(stream, "\n%-20s", "free");
    for (uint32_t t = 0; t < plan->n_tiers; t++)
        fprintf(stream, " %14s",
                plan->tiers[t].capacity_bytes < UINT64_MAX ? size_text(size, plan->tiers[t].capacity_bytes) : "-");
    fputs("\n\n", stream);
}

/* "perplexity +2.8%, KL divergence 0.032 (q4_k_m, published of Llama-3-8B)", on two lines */
static void show_quality(FILE *stream, const struct stile_plan *plan)
{
    const struct stile_quality *q = &plan->quality;
    if (!q->model || !*q->model) return;
    fprintf(stream, "%-22s perplexity %+.2g%%", "quality", 100 * q->ppl_loss);
    if (q->divergence >= 0) fprintf(stream, ", KL divergence %.2g", q->divergence);
    fprintf(stream, "\n%-22s (%s%s, published of %s)\n", "", plan->format,
            q->imatrix ? " with an importance matrix" : "", q->model);
}

static void show_energy(FILE *stream, const struct stile_plan *plan)
{
    char value[32], low[32], high[32];
    const struct stile_range *j = &plan->token_j;
    if (!(j->value > 0)) return;
    fprintf(stream, "%-22s %7s %-8s %5s to %-6s modelled: %.0f of %.0f W\n", "energy", plan_number(value, j->value),
            "J/token", plan_number(low, j->low), plan_number(high, j->high), plan->power_w.value, plan->rated_w);
}

static const char *known_number(char out[32], double value)
{
    return value > 0 ? plan_number(out, value) : "-";
}

static void show_changes(FILE *stream, const struct plan_report *report)
{
    if (report->n_changes == 0) return;
    fprintf(stream, "\n%-35s %11s %12s %9s %8s\n", "what would help", "decode, t/s", "prefill, t/s", "memory",
            "quality");
    for (size_t i = 0; i < report->n_changes; i++) {
        char decode[32], prefill[32], size[32], loss[32] = "-";
        const struct stile_plan *plan = &report->changes[i].plan;
        if (plan->quality.ppl_loss >= 0) snprintf(loss, sizeof loss, "%+.2g%%", 100 * plan->quality.ppl_loss);
        fprintf(stream, "%-35s %11s %12s %9s %8s\n", report->changes[i].what,
                known_number(decode, plan->decode_tokens_per_s.value),
                known_number(prefill, plan->prefill_tokens_per_s.value),
                size_text(size, plan_needed_bytes(&plan->memory)), loss);
    }
    fputs("quality: perplexity against full precision, as published\n", stream);
}

/* Threads, and how the machine is just now. */
static void show_here(FILE *stream, const struct stile_plan *plan)
{
    fprintf(stream, ", %u thread%s\n", plan->n_threads, plan->n_threads > 1 ? "s" : "");
    if (plan->pace_read_bytes_per_s > 0 && plan->probed_read_bytes_per_s > 0)
        fprintf(stream, "memory reads at %.0f GB/s now, %.0f when it was probed\n", plan->pace_read_bytes_per_s / 1e9,
                plan->probed_read_bytes_per_s / 1e9);
    fputc('\n', stream);
}

void plan_show(FILE *stream, const struct plan_report *report)
{
    const struct stile_plan *plan = &report->plan;
    char size[32], room[32], name[64];
    text_line(stream, report->model);
    if (report->format) fprintf(stream, ", %s", report->format);
    fprintf(stream, ", context of %u token%s\n", plan->n_ctx, plan->n_ctx > 1 ? "s" : "");
    text_line(stream, plan->machine);
    if (plan->data_sheet)
        fprintf(stream, ", by data sheets and what published engines make of them%s%s%s\n\n",
                *plan->assumed ? " (assumed: " : "", plan->assumed, *plan->assumed ? ")" : "");
    else
        show_here(stream, plan);
    if (!plan->possible)
        fprintf(stream, "Does not fit: %s are needed for the context and what goes with it, of %s.\n",
                size_text(size, plan->memory.kv_bytes + plan->memory.activations_bytes + plan->memory.other_bytes),
                size_text(room, room_bytes(plan)));
    else if (plan->fits)
        fputs("Fits: everything lies where it is used.\n", stream);
    else
        fputs("Does not fit into memory: a part of the weights is read again for each pass.\n", stream);
    if (plan->possible) {
        show_memory(stream, plan);
        show_estimate(stream, "decode", &plan->decode_tokens_per_s, 1, "tokens/s");
        show_estimate(stream, "prefill", &plan->prefill_tokens_per_s, 1, "tokens/s");
        uint32_t n_prompt = report->options.n_prompt;
        snprintf(name, sizeof name, "first token after %u", n_prompt);
        show_time(stream, name, &plan->first_token_warm_s);
        show_time(stream, "  file not in memory", &plan->first_token_cold_s);
    }
    show_quality(stream, plan);
    show_energy(stream, plan);
    show_changes(stream, report);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

json_t *plan_estimate_json(const struct stile_estimate *estimate, double unit)
{
    return json_pack("{s:f, s:f, s:f, s:s}", "value", estimate->value * unit, "low", estimate->low * unit, "high",
                     estimate->high * unit, "bound_by", estimate->bound_by);
}

static json_t *count(uint64_t n)
{
    return n < INT64_MAX ? json_integer((json_int_t)n) : json_null();
}

static json_t *tiers_json(const struct stile_plan *plan)
{
    json_t *tiers = json_array();
    for (uint32_t t = 0; t < plan->n_tiers; t++) {
        const struct stile_plan_tier *tier = &plan->tiers[t];
        json_array_append_new(
            tiers, json_pack("{s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:f, s:f}", "name", tier->name, "computes",
                             (int)tier->computes, "capacity_bytes", count(tier->capacity_bytes), "weights_bytes",
                             count(tier->weights_bytes), "experts_bytes", count(tier->experts_bytes), "kv_bytes",
                             count(tier->kv_bytes), "other_bytes", count(tier->other_bytes), "token_bytes",
                             tier->token_bytes, "read_bytes_per_s", tier->read_bytes_per_s));
    }
    return tiers;
}

static json_t *range_json(const struct stile_range *range)
{
    if (!(range->value > 0)) return json_null();
    return json_pack("{s:f, s:f, s:f}", "value", range->value, "low", range->low, "high", range->high);
}

static json_t *number_json(double value, bool known)
{
    return known ? json_real(value) : json_null();
}

static json_t *text_json(const char *text)
{
    return text ? json_string(text) : json_null();
}

/* Where the format's quality and the energy come from, too. */
static void add_origin(json_t *object, const struct stile_plan *plan)
{
    const struct stile_quality *q = &plan->quality;
    json_object_set_new(object, "machine", json_text(plan->machine, strlen(plan->machine)));
    json_object_set_new(object, "assumed", json_string(plan->assumed));
    json_object_set_new(object, "data_sheet", json_boolean(plan->data_sheet));
    json_object_set_new(object, "format", *plan->format ? json_string(plan->format) : json_null());
    json_object_set_new(object, "quality",
                        json_pack("{s:o, s:o, s:b, s:o, s:o}", "ppl_loss", number_json(q->ppl_loss, q->ppl_loss >= 0),
                                  "kl_divergence", number_json(q->divergence, q->divergence >= 0), "imatrix",
                                  (int)q->imatrix, "measured_with", text_json(q->model), "source",
                                  text_json(q->source)));
    json_object_set_new(object, "rated_w", number_json(plan->rated_w, plan->rated_w > 0));
    json_object_set_new(object, "modelled_power_w", range_json(&plan->power_w));
    json_object_set_new(object, "modelled_token_j", range_json(&plan->token_j));
}

json_t *plan_prediction_json(const struct stile_plan *plan)
{
    const struct stile_memory *memory = &plan->memory;
    uint64_t resident = 0;
    for (uint32_t t = 0; t < plan->n_tiers; t++)
        if (plan->tiers[t].computes) resident += tier_bytes(&plan->tiers[t]);
    json_t *object = json_object();
    json_object_set_new(object, "possible", json_boolean(plan->possible));
    json_object_set_new(object, "fits", json_boolean(plan->fits));
    json_object_set_new(object, "memory_bytes",
                        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "weights", count(memory->weights_bytes), "kv",
                                  count(memory->kv_bytes), "activations", count(memory->activations_bytes), "overhead",
                                  count(memory->other_bytes), "total", count(plan_needed_bytes(memory)), "resident",
                                  count(resident)));
    json_object_set_new(object, "tiers", tiers_json(plan));
    json_object_set_new(object, "decode_tokens_per_s", plan_estimate_json(&plan->decode_tokens_per_s, 1));
    json_object_set_new(object, "prefill_tokens_per_s", plan_estimate_json(&plan->prefill_tokens_per_s, 1));
    json_object_set_new(object, "ttft_ms",
                        json_pack("{s:o, s:o}", "cold", plan_estimate_json(&plan->first_token_cold_s, 1e3), "warm",
                                  plan_estimate_json(&plan->first_token_warm_s, 1e3)));
    json_object_set_new(object, "expert_hit_share", json_real(plan->expert_hit_share));
    json_object_set_new(object, "read_bytes_per_s",
                        json_pack("{s:o, s:o}", "now",
                                  number_json(plan->pace_read_bytes_per_s, plan->pace_read_bytes_per_s > 0), "probed",
                                  number_json(plan->probed_read_bytes_per_s, plan->probed_read_bytes_per_s > 0)));
    add_origin(object, plan);
    return object;
}

json_t *plan_json(const struct plan_report *report)
{
    const struct stile_plan *plan = &report->plan;
    json_t *object = json_object(), *changes = json_array();
    json_object_set_new(object, "model", json_text(report->model, strlen(report->model)));
    json_object_set_new(object, "n_ctx", count(plan->n_ctx));
    json_object_set_new(object, "n_batch", count(plan->n_batch));
    json_object_set_new(object, "n_threads", count(plan->n_threads));
    json_object_set_new(object, "n_prompt", count(report->options.n_prompt));
    json_object_set_new(object, "n_depth", count(report->options.n_depth));
    json_object_set_new(object, "n_generated", count(report->options.n_generated));
    json_object_update_new(object, plan_prediction_json(plan));
    for (size_t i = 0; i < report->n_changes; i++) {
        json_t *change = plan_prediction_json(&report->changes[i].plan);
        json_object_set_new(change, "change", json_string(report->changes[i].what));
        json_array_append_new(changes, change);
    }
    json_object_set_new(object, "changes", changes);
    return object;
}
