#include "cli/quality_show.h"

#include "cli/output.h"

#include <math.h>
#include <string.h>

static const char plus_minus[] = " \xc2\xb1 ";

/* "0.0123 +- 0.0004", with as many digits as the error's first two need, or `digits` if those are more. */
static void estimate_text(char *out, size_t capacity, struct estimate estimate, double unit, int digits)
{
    const double value = estimate.value * unit, error = estimate.error * unit;
    const double least = isfinite(error) && error > 0 ? error : fabs(value) / 1000;
    const int needed = least > 0 ? 1 - (int)floor(log10(least)) : 0;
    digits = needed > digits ? needed : digits;
    if (digits > 9) digits = 9;
    int n = snprintf(out, capacity, "%.*f", digits, value);
    if (isfinite(error)) snprintf(out + n, capacity - (size_t)n, "%s%.*f", plus_minus, digits, error);
}

static void line(const char *name, struct estimate estimate, double unit, int digits, const char *after)
{
    char text[96];
    estimate_text(text, sizeof text, estimate, unit, digits);
    printf("%-22s%s%s\n", name, text, after);
}

static void show_difference(const struct estimates *e)
{
    static const char *const names[ESTIMATE_QUANTILES] = {"  median", "  90%", "  95%", "  99%", "  99.9%"};
    line("  of the reference", e->reference_perplexity, 1, 4, "");
    line("  ratio", e->perplexity_ratio, 1, 4, "");
    line("divergence, mean", e->divergence, 1, 0, " nats per token");
    for (int q = 0; q < ESTIMATE_QUANTILES; q++)
        line(names[q], e->divergence_quantiles[q], 1, 0, "");
    line("  most", (struct estimate){e->divergence_max, NAN}, 1, 0, "");
    line("same top token", e->same_top, 100, 2, " %");
    line("p of the text, differs", e->p_difference, 100, 2, " %");
    line("  rms difference", e->p_rms, 100, 2, " %");
}

static void show_name(const char *what, const char *name)
{
    printf("%-22s", what);
    text_line(stdout, name);
    putchar('\n');
}

void quality_show(const struct quality_report *report)
{
    const struct windows *w = report->plan->windows;
    const struct estimates *e = report->estimates;
    show_name("model", stile_model_info(report->plan->model)->path);
    if (report->plan->reference) show_name("reference", stile_model_info(report->plan->reference)->path);
    show_name("text", report->text);
    printf("%-22s%zu of %u tokens", "windows", e->n_windows, w->n_ctx);
    if (w->step != w->n_ctx) printf(", each %u after the one before", w->step);
    if (e->n_windows < w->n) printf(" (interrupted: of %zu)", w->n);
    printf("; %zu tokens scored\n\n", e->n_scored);
    line("perplexity", e->perplexity, 1, 4, "");
    if (report->plan->reference) show_difference(e);
}

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value ? value : json_null());
}

static void set_estimate(json_t *object, const char *name, struct estimate estimate)
{
    char error[64];
    snprintf(error, sizeof error, "%s_error", name);
    set(object, name, json_real(estimate.value));
    set(object, error, isfinite(estimate.error) ? json_real(estimate.error) : json_null());
}

json_t *quality_json(const struct quality_report *report)
{
    static const char *const names[ESTIMATE_QUANTILES] = {"kl_median", "kl_p90", "kl_p95", "kl_p99", "kl_p999"};
    const struct quality_plan *plan = report->plan;
    const struct windows *w = plan->windows;
    const struct estimates *e = report->estimates;
    const struct stile_model_info *info = stile_model_info(plan->model);
    const char *reference = plan->reference ? stile_model_info(plan->reference)->path : NULL;
    json_t *object = json_object();
    set(object, "model", json_text(info->path, strlen(info->path)));
    set(object, "reference", reference ? json_text(reference, strlen(reference)) : NULL);
    set(object, "text", json_text(report->text, strlen(report->text)));
    set(object, "n_text_tokens", json_integer((json_int_t)w->n_tokens));
    set(object, "n_ctx", json_integer(w->n_ctx));
    set(object, "stride", w->step == w->n_ctx ? NULL : json_integer(w->step));
    set(object, "n_windows", json_integer((json_int_t)e->n_windows));
    set(object, "n_scored", json_integer((json_int_t)e->n_scored));
    set(object, "complete", json_boolean(e->n_windows == w->n));
    set(object, "memory_bytes", json_integer((json_int_t)report->memory_bytes));
    set(object, "size_bytes", json_integer((json_int_t)info->size_bytes));
    set(object, "bits_per_weight", json_real(8.0 * (double)info->size_bytes / (double)info->n_parameters));
    set(object, "eval_tokens_per_s",
        json_real((double)report->quality->n_evaluated * 1e9 / (double)(report->quality->eval_ns + 1)));
    set_estimate(object, "perplexity", e->perplexity);
    if (!plan->reference) return object;
    set_estimate(object, "reference_perplexity", e->reference_perplexity);
    set_estimate(object, "perplexity_ratio", e->perplexity_ratio);
    set_estimate(object, "kl_mean", e->divergence);
    for (int q = 0; q < ESTIMATE_QUANTILES; q++)
        set_estimate(object, names[q], e->divergence_quantiles[q]);
    set(object, "kl_max", json_real(e->divergence_max));
    set_estimate(object, "top1_agreement", e->same_top);
    set_estimate(object, "p_difference_mean", e->p_difference);
    set_estimate(object, "p_difference_rms", e->p_rms);
    return object;
}
