#include "cli/plan_rank.h"

#include "cli/plan_show.h"

#include <stdlib.h>
#include <string.h>

int plan_rank_check(const struct options *options)
{
    bool limits =
        options->min_tps > 0 || options->max_loss >= 0 || options->max_watts > 0 || options->max_memory_bytes > 0;
    if (limits && !options->all_machines && !options->all_formats)
        return cli_usage("plan: --min-tps, --max-loss, --max-watts and --max-memory choose from what --all-machines or "
                         "--all-formats lists");
    if (options->all_machines && options->machine)
        return cli_usage("plan: --machine %s is one of --all-machines: give one or the other", options->machine);
    if (options->all_machines && options->svg) return cli_usage("plan: --svg is for one machine");
    if (options->all_formats && options->plan_format)
        return cli_usage("plan: --format %s is one of --all-formats: give one or the other", options->plan_format);
    return EXIT_OK;
}

/* ---- text ----------------------------------------------------------------------------------- */

/* "34% host, 5% disk": what does not lie in the first memory. */
static const char *where_text(char out[48], const struct stile_plan *plan)
{
    double all = (double)plan->memory.weights_bytes;
    size_t n = 0;
    if (!plan->possible) return "does not fit";
    for (uint32_t t = 1; t < plan->n_tiers && n < 40; t++) {
        double share = (double)(plan->tiers[t].weights_bytes + plan->tiers[t].experts_bytes) / all;
        if (share > 0.0005)
            n += (size_t)snprintf(out + n, 48 - n, "%s%.2g%% %s", n ? ", " : "", 100 * share,
                                  plan->tiers[t].computes ? "host" : plan->tiers[t].name);
    }
    return n ? out : "-";
}

static const char *unknown_or(char out[32], const char *format, double value, bool known)
{
    if (known) snprintf(out, 32, format, value);
    return known ? out : "-";
}

static const char *rate_text(char out[48], const struct stile_estimate *estimate)
{
    char value[32], low[32], high[32];
    if (!(estimate->value > 0)) return "-";
    snprintf(out, 48, "%s (%s-%s)", plan_number(value, estimate->value), plan_number(low, estimate->low),
             plan_number(high, estimate->high));
    return out;
}

static void show_row(const struct stile_plan *plan)
{
    char size[32], decode[48], prefill[32], where[48], loss[32], watts[32], joules[32];
    const struct stile_estimate *p = &plan->prefill_tokens_per_s;
    printf("%-22s %-8s %10s  %-20s %-22s %8s %8s %6s %8s  %s\n", plan->machine, *plan->format ? plan->format : "-",
           size_text(size, plan_needed_bytes(&plan->memory)), where_text(where, plan),
           rate_text(decode, &plan->decode_tokens_per_s), p->value > 0 ? plan_number(prefill, p->value) : "-",
           unknown_or(loss, "%+.2f%%", 100 * plan->quality.ppl_loss, plan->quality.ppl_loss >= 0),
           unknown_or(watts, "%.0f", plan->rated_w, plan->rated_w > 0),
           plan->token_j.value > 0 ? plan_number(joules, plan->token_j.value) : "-",
           plan->possible ? plan->decode_tokens_per_s.bound_by : "");
}

static void show_notes(const struct options *options, const struct stile_plan_ranking *ranking)
{
    const struct stile_plan *best = &ranking->plans[0];
    fputs("\nloss: what perplexity rises by, as published of other models", stdout);
    if (best->quality.model && *best->quality.model) printf(" (%s: %s)", best->format, best->quality.model);
    puts(".");
    if (!best->data_sheet) return;
    puts("By data sheets, and what published engines make of them: stile itself computes on processors only, so far.");
    puts("W: rated, the computer with what is busy of it. J/token: modelled.");
    if (options->all_machines)
        puts("Assumed: host memory ddr5-5600x2:64 beside a card, and an nvme4 disk; the smallest memory that does, of "
             "those sold.");
    else if (*best->assumed)
        printf("Assumed: %s.\n", best->assumed + 1);
}

static void show(const struct options *options, const struct stile_plan_ranking *ranking)
{
    text_line(stdout, options->arguments[0]);
    printf(", context of %u tokens: %u of %u plans\n\n", ranking->plans[0].n_ctx, ranking->n_plans, ranking->n_tried);
    printf("%-22s %-8s %10s  %-20s %-22s %8s %8s %6s %8s  %s\n", "computer", "format", "needs", "weights elsewhere",
           "decode, tokens/s", "prefill", "loss", "W", "J/token", "limited by");
    for (uint32_t i = 0; i < ranking->n_plans; i++)
        show_row(&ranking->plans[i]);
    show_notes(options, ranking);
}

/* Nothing is left: says why. */
static int show_none(const struct options *options, const struct stile_plan_ranking *ranking)
{
    char text[512] = "", size[32], limits[STILE_N_LIMITS][64];
    size_t n = 0;
    bool said[STILE_N_LIMITS] = {false};
    snprintf(limits[STILE_LIMIT_MEMORY_OF_MACHINE], sizeof *limits, "the memory of the machine");
    snprintf(limits[STILE_LIMIT_SPEED], sizeof *limits, "--min-tps %g", options->min_tps);
    snprintf(limits[STILE_LIMIT_LOSS], sizeof *limits, "--max-loss %g", options->max_loss);
    snprintf(limits[STILE_LIMIT_POWER], sizeof *limits, "--max-watts %g", options->max_watts);
    snprintf(limits[STILE_LIMIT_MEMORY], sizeof *limits, "--max-memory %s", size_text(size, options->max_memory_bytes));
    for (int round = 0; round < STILE_N_LIMITS; round++) { /* the one that rules out most first */
        int most = -1;
        for (int i = 0; i < STILE_N_LIMITS; i++)
            if (!said[i] && ranking->n_ruled_out[i] > 0 &&
                (most < 0 || ranking->n_ruled_out[i] > ranking->n_ruled_out[most]))
                most = i;
        if (most < 0) break;
        said[most] = true;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s rules out %u", n ? ", " : "", limits[most],
                              ranking->n_ruled_out[most]);
    }
    return cli_fail("nothing is left of %u plans: %s", ranking->n_tried, text);
}

int plan_rank(const struct options *options, const struct stile_model *model, const struct stile_plan_options *plan,
              json_t *array)
{
    struct stile_error error;
    struct stile_plan_ranking ranking;
    const struct stile_plan_limits limits = {
        .min_tokens_per_s = options->min_tps,
        .max_loss = options->max_loss < 0 ? 0 : options->max_loss / 100 + 1e-9, /* 0 is a limit, too */
        .max_w = options->max_watts,
        .max_memory_bytes = options->max_memory_bytes,
    };
    int status = EXIT_OK;
    if (stile_plan_rank(&ranking, model, plan, options->all_machines, options->all_formats, &limits, &error) !=
        STILE_OK)
        return cli_error(&error);
    if (ranking.n_plans == 0) {
        status = show_none(options, &ranking);
    } else if (array) {
        json_t *rows = json_array();
        for (uint32_t i = 0; i < ranking.n_plans; i++)
            json_array_append_new(rows, plan_prediction_json(&ranking.plans[i]));
        json_array_append_new(array, json_pack("{s:o, s:i, s:o}", "model",
                                               json_text(options->arguments[0], strlen(options->arguments[0])),
                                               "n_tried", (int)ranking.n_tried, "plans", rows));
    } else {
        show(options, &ranking);
    }
    stile_plan_ranking_free(&ranking);
    return status;
}
