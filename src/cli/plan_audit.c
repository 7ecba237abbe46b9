/* plan_audit.c - `stile plan --audit`: how far predictions were from what came of them. */
#include "cli/plan_audit.h"

#include "base/terminal.h"
#include "cli/plan_show.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Predictions of one kind. */
struct audit {
    const char *kind;
    size_t n, n_within, n_under; /* within the predicted range; predicted less than it came to be */
    double *errors;              /* (n) |predicted / measured - 1| */
    double bias;                 /* median of predicted / measured - 1 */
    double median, ninth, worst; /* ninth: nine of ten are no worse */
    struct stile_outcome worst_outcome;
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *sorted, size_t n)
{
    return n == 0 ? 0 : (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

static void summarize(struct audit *audit, const struct stile_outcome *outcomes, size_t n_outcomes)
{
    double *signed_errors = calloc(n_outcomes + 1, sizeof *signed_errors);
    audit->errors = calloc(n_outcomes + 1, sizeof *audit->errors);
    for (size_t i = 0; i < n_outcomes && audit->errors && signed_errors; i++) {
        const struct stile_outcome *o = &outcomes[i];
        if (strcmp(o->kind, audit->kind) != 0) continue;
        double error = o->predicted.value / o->measured - 1;
        if (fabs(error) >= audit->worst) {
            audit->worst = fabs(error);
            audit->worst_outcome = *o;
        }
        signed_errors[audit->n] = error;
        audit->errors[audit->n++] = fabs(error);
        audit->n_within += o->measured >= o->predicted.low && o->measured <= o->predicted.high;
        audit->n_under += o->predicted.value < o->measured;
    }
    if (audit->n > 0) {
        qsort(audit->errors, audit->n, sizeof *audit->errors, by_size);
        qsort(signed_errors, audit->n, sizeof *signed_errors, by_size);
        audit->median = middle(audit->errors, audit->n);
        audit->bias = middle(signed_errors, audit->n);
        audit->ninth = audit->errors[(audit->n * 9 + 9) / 10 - 1];
    }
    free(signed_errors);
    free(audit->errors);
    audit->errors = NULL;
}

/* In the unit of its kind. */
static void worst_text(char *out, size_t capacity, const struct stile_outcome *o)
{
    char predicted[32], measured[32];
    const char *unit = strcmp(o->kind, "first token") == 0 ? "s" : "tokens/s";
    if (strcmp(o->kind, "memory") == 0)
        snprintf(out, capacity, "%s predicted, %s measured", size_text(predicted, (uint64_t)o->predicted.value),
                 size_text(measured, (uint64_t)o->measured));
    else
        snprintf(out, capacity, "%s %s predicted, %s measured", plan_number(predicted, o->predicted.value), unit,
                 plan_number(measured, o->measured));
}

static void show_worst(const struct audit *a)
{
    char text[128], what[256];
    const struct stile_outcome *o = &a->worst_outcome;
    worst_text(text, sizeof text, o);
    int n = snprintf(what, sizeof what, "worst %s: %s %s", a->kind, o->model, o->format);
    if (o->n_tokens > 0 && n > 0 && (size_t)n < sizeof what)
        snprintf(what + n, sizeof what - (size_t)n, ", %u tokens after %u", o->n_tokens, o->n_depth);
    text_line(stdout, what);
    bool fits = strlen(what) + 2 + strlen(text) <= terminal_columns(STDOUT_FILENO);
    printf("%s%s\n", fits ? ": " : ":\n    ", text);
}

static void show(const struct audit *audits, size_t n_audits, size_t n_outcomes, const char *what)
{
    printf("%zu %s\n\n%-14s %6s %9s %12s %9s %9s %14s\n", n_outcomes, what, "", "n", "median", "nine of ten", "worst",
           "bias", "within range");
    for (size_t i = 0; i < n_audits; i++) {
        const struct audit *a = &audits[i];
        if (a->n == 0) continue;
        printf("%-14s %6zu %8.1f%% %11.1f%% %8.1f%% %+8.1f%% %11zu/%zu\n", a->kind, a->n, 100 * a->median,
               100 * a->ninth, 100 * a->worst, 100 * a->bias, a->n_within, a->n);
    }
    for (size_t i = 0; i < n_audits; i++)
        if (audits[i].n > 0 && strcmp(audits[i].kind, "memory") == 0)
            printf("\nmemory was more than predicted %zu times\n", audits[i].n_under);
    putchar('\n');
    for (size_t i = 0; i < n_audits; i++)
        if (audits[i].n > 0) show_worst(&audits[i]);
}

/* ---- what others published ------------------------------------------------------------------ */

enum { PUBLISHED_MAX = 1000 };

/* The rows of a metric, as outcomes. */
static struct stile_outcome *published(size_t *n)
{
    struct stile_published row;
    struct stile_outcome *outcomes = calloc(PUBLISHED_MAX, sizeof *outcomes);
    *n = 0;
    for (size_t i = 0; outcomes && i < PUBLISHED_MAX && stile_plan_published(&row, i); i++) {
        struct stile_outcome *o = &outcomes[*n];
        const struct stile_range *range = &row.predicted_tokens_per_s;
        if (!(range->value > 0 && row.measured_tokens_per_s > 0)) continue;
        o->predicted = (struct stile_estimate){range->value, range->low, range->high, ""};
        o->measured = row.measured_tokens_per_s;
        snprintf(o->kind, sizeof o->kind, "%s%s", row.metric, row.mixture ? ", MoE" : "");
        snprintf(o->model, sizeof o->model, "%s on %s", row.shape, row.machine);
        snprintf(o->format, sizeof o->format, "%s", row.format);
        ++*n;
    }
    return outcomes;
}

static json_t *audit_json(const struct audit *a)
{
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:I, s:I}", "kind", a->kind, "n", (json_int_t)a->n, "median",
                     a->median, "nine_of_ten", a->ninth, "worst", a->worst, "bias", a->bias, "n_within",
                     (json_int_t)a->n_within, "n_under", (json_int_t)a->n_under);
}

/* Summarizes and prints; as JSON returns it instead. */
static json_t *audit_all(const struct stile_outcome *outcomes, size_t n, const char *const *kinds, size_t n_kinds,
                         bool json, const char *what)
{
    struct audit audits[4];
    json_t *array = json ? json_array() : NULL;
    for (size_t i = 0; i < n_kinds; i++) {
        audits[i] = (struct audit){.kind = kinds[i]};
        summarize(&audits[i], outcomes, n);
        if (json) json_array_append_new(array, audit_json(&audits[i]));
    }
    if (!json) show(audits, n_kinds, n, what);
    return array;
}

int plan_audit(const struct options *options)
{
    static const char *const here[] = {"decode", "prefill", "first token", "memory"};
    static const char *const elsewhere[] = {"decode", "decode, MoE", "prefill"};
    struct stile_error error;
    struct stile_outcome *outcomes;
    size_t n, n_rows;
    if (stile_outcomes(&outcomes, &n, &error) != STILE_OK) return cli_error(&error);
    struct stile_outcome *rows = published(&n_rows);
    json_t *mine = audit_all(outcomes, n, here, 4, options->json, "predictions on this machine");
    if (!options->json) putchar('\n');
    json_t *theirs = audit_all(rows, n_rows, elsewhere, 3, options->json,
                               "measurements that others published, of other engines on other machines");
    if (options->json) json_show(json_pack("{s:o, s:o}", "here", mine, "published", theirs));
    stile_free(outcomes);
    free(rows);
    return EXIT_OK;
}
