#include "cli/plan_rank.h"

#include "base/terminal.h"
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

enum column { COMPUTER, FORMAT, NEEDS, ELSEWHERE, DECODE, PREFILL, LOSS, WATTS, JOULES, BOUND, N_COLUMNS };

/* What is left out first where there is too little room: the highest of these. */
static const struct {
    const char *title;
    int leave;
    bool left; /* aligned to the left */
} columns[N_COLUMNS] = {
    [COMPUTER] = {"computer", 0, true},
    [FORMAT] = {"format", 0, true},
    [NEEDS] = {"needs", 1, false},
    [ELSEWHERE] = {"weights elsewhere", 4, true},
    [DECODE] = {"decode, tokens/s", 0, true},
    [PREFILL] = {"prefill", 3, false},
    [LOSS] = {"loss", 0, false},
    [WATTS] = {"W", 2, false},
    [JOULES] = {"J/token", 6, false},
    [BOUND] = {"limited by", 5, true},
};

struct cells {
    char text[N_COLUMNS][48];
};

static void fill_cells(struct cells *cells, const struct stile_plan *plan)
{
    char size[32], text[48], number[32];
    const double prefill = plan->prefill_tokens_per_s.value, loss = plan->quality.ppl_loss;
    const struct {
        enum column column;
        const char *text;
    } of[] = {
        {COMPUTER, plan->machine},
        {FORMAT, *plan->format ? plan->format : "-"},
        {NEEDS, size_text(size, plan_needed_bytes(&plan->memory))},
        {BOUND, plan->possible ? plan->decode_tokens_per_s.bound_by : "-"},
    };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        snprintf(cells->text[of[i].column], sizeof *cells->text, "%s", of[i].text);
    snprintf(cells->text[ELSEWHERE], sizeof *cells->text, "%s", where_text(text, plan));
    snprintf(cells->text[DECODE], sizeof *cells->text, "%s", rate_text(text, &plan->decode_tokens_per_s));
    snprintf(cells->text[PREFILL], sizeof *cells->text, "%s", prefill > 0 ? plan_number(number, prefill) : "-");
    snprintf(cells->text[LOSS], sizeof *cells->text, "%s", unknown_or(number, "%+.2f%%", 100 * loss, loss >= 0));
    snprintf(cells->text[WATTS], sizeof *cells->text, "%s",
             unknown_or(number, "%.0f", plan->rated_w, plan->rated_w > 0));
    snprintf(cells->text[JOULES], sizeof *cells->text, "%s",
             plan->token_j.value > 0 ? plan_number(number, plan->token_j.value) : "-");
}

/* Widths; 0 of a column that says nothing, or for which there is no room. Returns the names of the latter. */
static void choose_columns(size_t widths[N_COLUMNS], const struct cells *rows, size_t n, char left_out[64])
{
    size_t sum = 0;
    *left_out = '\0';
    for (int c = 0; c < N_COLUMNS; c++) {
        bool says = columns[c].leave == 0;
        widths[c] = strlen(columns[c].title);
        for (size_t i = 0; i < n; i++) {
            size_t width = strlen(rows[i].text[c]);
            if (width > widths[c]) widths[c] = width;
            says = says || strcmp(rows[i].text[c], "-") != 0;
        }
        if (!says) widths[c] = 0;
        sum += widths[c] ? widths[c] + 2 : 0;
    }
    while (sum > terminal_columns(STDOUT_FILENO) + 2) {
        int first = 0;
        for (int c = 1; c < N_COLUMNS; c++)
            if (widths[c] && (!widths[first] || columns[c].leave > columns[first].leave)) first = c;
        if (columns[first].leave == 0) return; /* what is left is needed */
        sum -= widths[first] + 2;
        widths[first] = 0;
        size_t used = strlen(left_out);
        snprintf(left_out + used, 64 - used, "%s%s", used ? ", " : "", columns[first].title);
    }
}

static void show_cells(const size_t widths[N_COLUMNS], const struct cells *row)
{
    char line[N_COLUMNS * 100];
    size_t n = 0;
    for (int c = 0; c < N_COLUMNS; c++) {
        int width = (int)widths[c];
        if (!width) continue;
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%*s", n ? "  " : "", columns[c].left ? -width : width,
                              row ? row->text[c] : columns[c].title);
    }
    while (n > 0 && line[n - 1] == ' ')
        n--;
    line[n] = '\0';
    text_line(stdout, line);
    putchar('\n');
}

static void show_rows(const struct stile_plan_ranking *ranking)
{
    size_t widths[N_COLUMNS];
    char left_out[64];
    struct cells *rows = calloc(ranking->n_plans, sizeof *rows);
    if (!rows) return;
    for (uint32_t i = 0; i < ranking->n_plans; i++)
        fill_cells(&rows[i], &ranking->plans[i]);
    choose_columns(widths, rows, ranking->n_plans, left_out);
    show_cells(widths, NULL);
    for (uint32_t i = 0; i < ranking->n_plans; i++)
        show_cells(widths, &rows[i]);
    free(rows);
    if (*left_out) printf("\nNot shown, for want of room: %s (--json has all).\n", left_out);
}

static void show_notes(const struct options *options, const struct stile_plan_ranking *ranking)
{
    const struct stile_plan *best = &ranking->plans[0];
    fputs("\nloss: what perplexity rises by, as published of other models", stdout);
    if (best->quality.model && *best->quality.model) printf("\n(%s: %s)", best->format, best->quality.model);
    puts(".");
    if (!best->data_sheet) return;
    puts("By data sheets, and what published engines make of them:\n"
         "stile itself computes on processors only, so far.\n"
         "W: rated, the computer with what is busy of it. J/token: modelled.");
    if (options->all_machines)
        puts("Assumed: host memory ddr5-5600x2:64 beside a card, and an nvme4 disk;\n"
             "the smallest memory that does, of those sold.");
    else if (*best->assumed)
        printf("Assumed: %s.\n", best->assumed + 1);
}

static void show(const struct options *options, const struct stile_plan_ranking *ranking)
{
    text_line(stdout, options->arguments[0]);
    printf(", context of %u tokens: %u of %u plans\n\n", ranking->plans[0].n_ctx, ranking->n_plans, ranking->n_tried);
    show_rows(ranking);
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
