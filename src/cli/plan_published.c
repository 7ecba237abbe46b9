/* plan_published.c - how far predictions are from what others measured on machines with known data sheets. */
#include "cli/plan_rank.h"
#include "cli/plan_show.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 256 };

static double error_of(const struct stile_published *p)
{
    return p->predicted_tokens_per_s.value / p->measured_tokens_per_s - 1;
}

static bool is_within(const struct stile_published *p)
{
    const struct stile_range *range = &p->predicted_tokens_per_s;
    return range->low <= p->measured_tokens_per_s && p->measured_tokens_per_s <= range->high;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Errors of the rows of a kind. */
struct summary {
    const char *name, *metric;
    bool mixture;
    size_t n, n_within;
    double median, worst, errors[ROWS_MAX];
};

static void add(struct summary *summary, const struct stile_published *p)
{
    if (strcmp(p->metric, summary->metric) != 0 || p->mixture != summary->mixture || summary->n == ROWS_MAX) return;
    summary->errors[summary->n++] = fabs(error_of(p));
    summary->n_within += is_within(p);
}

static void summarize(struct summary *s)
{
    if (s->n == 0) return;
    qsort(s->errors, s->n, sizeof *s->errors, by_size);
    s->median = (s->errors[(s->n - 1) / 2] + s->errors[s->n / 2]) / 2;
    s->worst = s->errors[s->n - 1];
}

static void show_row(const struct stile_published *p)
{
    char measured[32], predicted[32], low[32], high[32], range[80];
    snprintf(range, sizeof range, "%s-%s", plan_number(low, p->predicted_tokens_per_s.low),
             plan_number(high, p->predicted_tokens_per_s.high));
    printf("%-20s %-19s %-8s %-8s %9s %9s  %-16s %+5.0f%%%s  %s\n", p->machine, p->shape, p->format, p->metric,
           plan_number(measured, p->measured_tokens_per_s), plan_number(predicted, p->predicted_tokens_per_s.value),
           range, 100 * error_of(p), is_within(p) ? " " : "!", p->engine);
}

static json_t *row_json(const struct stile_published *p)
{
    const struct stile_range *range = &p->predicted_tokens_per_s;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:f, s:{s:f, s:f, s:f}, s:f}", "machine", p->machine, "shape",
                     p->shape, "format", p->format, "metric", p->metric, "engine", p->engine, "source", p->source,
                     "measured_tokens_per_s", p->measured_tokens_per_s, "predicted_tokens_per_s", "value", range->value,
                     "low", range->low, "high", range->high, "error", error_of(p));
}

json_t *plan_published_json(void)
{
    struct stile_published p;
    json_t *rows = json_array();
    for (size_t i = 0; stile_plan_published(&p, i); i++)
        json_array_append_new(rows, row_json(&p));
    return rows;
}

void plan_published_show(void)
{
    struct summary summaries[] = {{.name = "decode, dense", .metric = "decode"},
                                  {.name = "decode, mixtures", .metric = "decode", .mixture = true},
                                  {.name = "prefill", .metric = "prefill"}};
    enum { N = sizeof summaries / sizeof *summaries };
    struct stile_published p;
    printf("%-20s %-19s %-8s %-8s %9s %9s  %-16s %6s   %s\n", "published of", "model", "format", "what", "measured",
           "predicted", "between", "error", "engine");
    for (size_t i = 0; stile_plan_published(&p, i); i++) {
        show_row(&p);
        for (size_t s = 0; s < N; s++)
            add(&summaries[s], &p);
    }
    putchar('\n');
    for (size_t s = 0; s < N; s++) {
        summarize(&summaries[s]);
        printf("%-18s %2zu rows, error %.1f%% in the median, %.0f%% at worst, %zu within the predicted range\n",
               summaries[s].name, summaries[s].n, 100 * summaries[s].median, 100 * summaries[s].worst,
               summaries[s].n_within);
    }
    puts("What programs make of data sheets was fitted to the same rows: these are the errors of that fit.");
}
