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
    line("p differs by, mean", e->p_difference, 100, 2, " %");
    line("  root mean square", e->p_rms, 100, 2, " %");
}

static void show_name(const char *what, const char *name)
{
    printf("%-22s", what);
    text_line(stdout, name);
    putchar('\n');
}

/* The path of the reference, or of what was the reference; NULL: there is none. */
static const char *reference_name(const struct quality_plan *plan)
{
    if (plan->reference) return stile_model_info(plan->reference)->path;
    return plan->reference_file ? logits_file_model(plan->reference_file) : NULL;
}

static void show_text(const struct quality_report *report)
{
    const struct windows *w = report->plan->windows;
    const struct estimates *e = report->estimates;
    show_name("text", report->text);
    printf("%-22s%zu of %u tokens", "windows", e->n_windows, w->n_ctx);
    if (w->step != w->n_ctx) printf(", each %u after the one before", w->step);
    if (e->n_windows < w->n) printf(" (interrupted: of %zu)", w->n);
    printf("; %zu tokens scored\n\n", e->n_scored);
    line("perplexity", e->perplexity, 1, 4, "");
    if (quality_has_reference(report->plan)) show_difference(e);
}

static void show_share(const char *name, size_t n_right, size_t n)
{
    struct proportion p = proportion_of(n_right, n);
    printf("%-22s%zu, %.1f %% (95%% interval: %.1f to %.1f)\n", name, n_right, 100 * p.value, 100 * p.low,
           100 * p.high);
}

static void show_tasks(const struct quality_report *report)
{
    const struct tasks_result *r = report->tasks;
    show_name("tasks", report->tasks_path);
    printf("%-22s%zu", "questions", r->n);
    if (r->n < report->n_tasks) printf(" (interrupted: of %zu)", report->n_tasks);
    printf("; guessing gets %.1f %%\n", 100 * r->chance);
    show_share("right, by likelihood", r->n_right, r->n);
    show_share("  that of each byte", r->n_right_bytes, r->n);
}

void quality_show(const struct quality_report *report)
{
    show_name("model", stile_model_info(report->plan->model)->path);
    if (reference_name(report->plan)) show_name("reference", reference_name(report->plan));
    if (report->estimates) show_text(report);
    if (report->estimates && report->tasks) putchar('\n');
    if (report->tasks) show_tasks(report);
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

void quality_set_estimates(json_t *object, const struct estimates *e, bool has_reference)
{
    static const char *const names[ESTIMATE_QUANTILES] = {"kl_median", "kl_p90", "kl_p95", "kl_p99", "kl_p999"};
    set_estimate(object, "perplexity", e->perplexity);
    if (!has_reference) return;
    set_estimate(object, "reference_perplexity", e->reference_perplexity);
    set_estimate(object, "perplexity_ratio", e->perplexity_ratio);
    set_estimate(object, "kl_mean", e->divergence);
    for (int q = 0; q < ESTIMATE_QUANTILES; q++)
        set_estimate(object, names[q], e->divergence_quantiles[q]);
    set(object, "kl_max", json_real(e->divergence_max));
    set_estimate(object, "top1_agreement", e->same_top);
    set_estimate(object, "p_difference_mean", e->p_difference);
    set_estimate(object, "p_difference_rms", e->p_rms);
}

void quality_set_text(json_t *object, const char *text, const struct windows *w)
{
    set(object, "text", json_text(text, strlen(text)));
    set(object, "n_text_tokens", json_integer((json_int_t)w->n_tokens));
    set(object, "n_ctx", json_integer(w->n_ctx));
    set(object, "stride", w->step == w->n_ctx ? NULL : json_integer(w->step));
}

static void set_text(json_t *object, const struct quality_report *report)
{
    const struct estimates *e = report->estimates;
    quality_set_text(object, report->text, report->plan->windows);
    set(object, "n_windows", json_integer((json_int_t)e->n_windows));
    set(object, "n_scored", json_integer((json_int_t)e->n_scored));
    set(object, "eval_tokens_per_s",
        json_real((double)report->quality->n_evaluated * 1e9 / (double)(report->quality->eval_ns + 1)));
    quality_set_estimates(object, e, quality_has_reference(report->plan));
}

static void set_share(json_t *object, const char *name, size_t n_right, size_t n)
{
    struct proportion p = proportion_of(n_right, n);
    set(object, name,
        json_pack("{s:I, s:f, s:f, s:f}", "n", (json_int_t)n_right, "share", p.value, "low", p.low, "high", p.high));
}

static json_t *tasks_json(const struct quality_report *report)
{
    const struct tasks_result *r = report->tasks;
    json_t *object = json_object();
    set(object, "path", json_text(report->tasks_path, strlen(report->tasks_path)));
    set(object, "n", json_integer((json_int_t)r->n));
    set(object, "chance", json_real(r->chance));
    set_share(object, "right", r->n_right, r->n);
    set_share(object, "right_per_byte", r->n_right_bytes, r->n);
    set(object, "mean_log_p", json_real(r->log_p));
    return object;
}

json_t *quality_json(const struct quality_report *report)
{
    const struct stile_model_info *info = stile_model_info(report->plan->model);
    const char *reference = reference_name(report->plan);
    json_t *object = json_object();
    set(object, "model", json_text(info->path, strlen(info->path)));
    set(object, "reference", reference ? json_text(reference, strlen(reference)) : NULL);
    set(object, "size_bytes", json_integer((json_int_t)info->size_bytes));
    set(object, "bits_per_weight", json_real(8.0 * (double)info->size_bytes / (double)info->n_parameters));
    set(object, "memory_bytes", json_integer((json_int_t)report->memory_bytes));
    set(object, "complete",
        json_boolean((!report->estimates || report->estimates->n_windows == report->plan->windows->n) &&
                     (!report->tasks || report->tasks->n == report->n_tasks)));
    if (report->estimates) set_text(object, report);
    if (report->tasks) set(object, "tasks", tasks_json(report));
    return object;
}
