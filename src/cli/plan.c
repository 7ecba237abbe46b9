/* plan.c - `stile plan`: what to expect of a model on this machine, and what would help. */
#include "base/error.h"
#include "cli/commands.h"
#include "cli/header.h"
#include "cli/interrupt.h"
#include "cli/plan_audit.h"
#include "cli/plan_rank.h"
#include "cli/plan_show.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { FORMATS_MAX = 16, NAME_MAX_BYTES = 32 };
static const double probe_s = 6;

/* A change is worth mentioning when decode or prefill gets this much faster, or something fits that did not. */
static const double worth = 1.05;

/* What n-gram guessing gives on text that repeats itself (code, edits, retrieval): of three guesses one or two hold. */
static const double guessed_tokens_per_pass = 2.2;
enum { GUESSED = 3 };

/* ---- the machine ---------------------------------------------------------------------------- */

static void on_progress(void *user, const char *what, uint32_t i, uint32_t n)
{
    (void)user;
    fprintf(stderr, "\r\033[Kmeasuring this machine, once: %s, %u of %u", what, i, n);
}

/* Measures what is missing: a machine that was never probed, or by a stile that measured less. */
static int know_machine(struct stile_error *error)
{
    struct stile_probe *probe = malloc(sizeof *probe);
    struct stile_machine machine;
    bool tty = isatty(STDERR_FILENO);
    if (!probe) return error_memory(error, sizeof *probe, "a probe");
    int failed = stile_machine_known(&machine, error);
    stile_probe_known(probe);
    if (!failed && !stile_probe_find(probe, STILE_MATVEC_CACHED, machine.n_threads, 0, "Q8_0")) {
        const struct stile_probe_options options = {
            .time_s = probe_s, .cancel = interrupt_flag(), .on_progress = tty ? on_progress : NULL};
        if (!tty) fputs("measuring this machine, once\n", stderr);
        failed = stile_probe_measure(probe, &options, error);
        if (tty) fputs("\r\033[K", stderr);
    }
    free(probe);
    return failed;
}

/* How fast it is now. What cannot be had stays 0. */
static void look_at_machine(struct stile_pace *pace)
{
    struct stile_machine machine;
    struct stile_meter *meter;
    if (stile_machine_known(&machine, NULL) != STILE_OK) return;
    if (stile_meter_create(&meter, machine.n_threads, NULL) != STILE_OK) return;
    stile_meter_pace(meter, pace);
    stile_meter_free(meter);
}

/* ---- what would help ------------------------------------------------------------------------ */

static bool better(const struct stile_plan *plan, const struct stile_plan *than)
{
    double decode = plan->decode_tokens_per_s.value, prefill = plan->prefill_tokens_per_s.value;
    double decode_than = than->decode_tokens_per_s.value, prefill_than = than->prefill_tokens_per_s.value;
    if (plan->possible != than->possible) return plan->possible;
    return decode > worth * decode_than || (prefill > worth * prefill_than && worth * decode > decode_than) ||
           (plan->fits && !than->fits);
}

static void try_change(struct plan_report *report, const struct stile_model *model,
                       const struct stile_plan_options *options, const char *what)
{
    struct plan_change *change = &report->changes[report->n_changes];
    if (report->n_changes == PLAN_CHANGES_MAX) return;
    if (stile_plan_make(&change->plan, model, options, NULL) != STILE_OK || !better(&change->plan, &report->plan))
        return;
    snprintf(change->what, sizeof change->what, "%s", what);
    report->n_changes++;
}

static int by_decode(const void *a, const void *b)
{
    const struct plan_change *x = a, *y = b;
    double left = x->plan.decode_tokens_per_s.value, right = y->plan.decode_tokens_per_s.value;
    return (left < right) - (left > right);
}

static void find_changes(struct plan_report *report, const struct stile_model *model)
{
    static const char *const formats[] = {"q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k"};
    const struct stile_plan *plan = &report->plan;
    struct stile_plan_options options = report->options;
    char what[64], size[32];
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (report->format && strcasecmp(report->format, formats[i]) == 0) continue;
        options.format = formats[i];
        snprintf(what, sizeof what, "--format %s", formats[i]);
        try_change(report, model, &options, what);
    }
    options = report->options;
    if (options.session.kv_format != STILE_KV_Q8_0) {
        options.session.kv_format = STILE_KV_Q8_0;
        try_change(report, model, &options, "--kv q8_0");
    }
    options = report->options;
    options.session.n_ctx = plan->n_ctx / 2;
    snprintf(what, sizeof what, "--ctx %u", plan->n_ctx / 2);
    if (options.session.n_ctx > options.n_prompt) try_change(report, model, &options, what);
    if (!plan->fits) {
        const struct stile_memory *memory = &plan->memory;
        options = report->options;
        options.assumed_memory_bytes =
            memory->weights_bytes + memory->kv_bytes + memory->activations_bytes + memory->other_bytes;
        options.session.memory_limit_bytes = 0;
        snprintf(what, sizeof what, "memory: %s free", size_text(size, options.assumed_memory_bytes));
        try_change(report, model, &options, what);
    }
    options = report->options;
    options.tokens_per_pass = guessed_tokens_per_pass;
    options.n_guessed = GUESSED;
    try_change(report, model, &options, "guessing, where text repeats itself");
    qsort(report->changes, report->n_changes, sizeof *report->changes, by_decode);
}

/* ---- the command ---------------------------------------------------------------------------- */

static struct stile_plan_options plan_options(const struct options *options)
{
    return (struct stile_plan_options){
        .machine = options->machine,
        .session = {.n_ctx = (uint32_t)options->n_ctx,
                    .n_batch = (uint32_t)options->n_batch,
                    .n_threads = (uint32_t)options->n_threads,
                    .kv_format = options_kv_format(options),
                    .memory_limit_bytes = (uint64_t)options->memory_limit,
                    .place = options->place},
        .n_prompt = options->n_prompt ? (uint32_t)options->n_prompt : plan_usual_tokens(512, options),
        .n_depth = (uint32_t)options->n_depth,
        .n_generated = options->n_generated ? (uint32_t)options->n_generated : plan_usual_tokens(128, options),
    };
}

/* Has the context room for what was asked for? */
static int check_context(const struct options *options, const struct stile_plan *plan)
{
    int64_t n_more = options->n_prompt > options->n_generated ? options->n_prompt : options->n_generated;
    int64_t n = options->n_depth + (n_more > 0 ? n_more : 1);
    if (n <= plan->n_ctx) return EXIT_OK;
    return cli_usage("plan: a context of %u tokens has no room for %lld: give --ctx %lld", plan->n_ctx, (long long)n,
                     (long long)n);
}

/* One model in one format; NULL: as it is. pace: of this machine; NULL for others. */
static int plan_one(const struct options *options, const char *format, struct stile_pace *pace, json_t *array)
{
    struct stile_error error;
    struct stile_model *model;
    struct plan_report *report = calloc(1, sizeof *report);
    if (!report) return cli_fail("out of memory");
    int status = header_open(&model, options->arguments[0], format);
    if (status != EXIT_OK) {
        free(report);
        return status;
    }
    *report = (struct plan_report){.model = options->arguments[0], .format = format, .options = plan_options(options)};
    report->options.format = format;
    report->options.pace = pace;
    int failed = stile_plan_make(&report->plan, model, &report->options, &error);
    if (!failed && pace && !report->plan.fits && !(pace->disk_bytes_per_s > 0)) {
        pace->disk_bytes_per_s = stile_disk_pace(stile_model_info(model)->path);
        failed = stile_plan_make(&report->plan, model, &report->options, &error);
    }
    status = failed ? cli_error(&error) : EXIT_OK;
    if (!failed) failed = status = check_context(options, &report->plan);
    if (!failed && (options->all_machines || options->all_formats)) {
        status = plan_rank(options, model, &report->options, array);
    } else if (!failed) {
        find_changes(report, model);
        if (array)
            json_array_append_new(array, plan_json(report));
        else
            plan_show(stdout, report);
    }
    if (status == EXIT_OK && options->svg) status = plan_picture(options, model, &report->options);
    stile_model_close(model);
    free(report);
    return status;
}

/* "q8_0,q4_k_m" in pieces; returns how many, or -1 after an error. */
static int split_formats(const char *list, char names[FORMATS_MAX][NAME_MAX_BYTES])
{
    int n = 0;
    for (const char *at = list; at; n++) {
        size_t length = strcspn(at, ",");
        if (n == FORMATS_MAX || length == 0 || length >= NAME_MAX_BYTES) {
            cli_usage("--format %s: not names of formats, separated by commas", list);
            return -1;
        }
        memcpy(names[n], at, length);
        names[n][length] = '\0';
        at = at[length] ? at + length + 1 : NULL;
    }
    return n;
}

/* --audit goes with --json alone. */
static int check_audit(const struct options *options)
{
    static const char *const names[] = {"audit", "json", NULL};
    const struct option *other = options_other(options, FOR_PLAN, names);
    if (!other && options->n_arguments == 0) return EXIT_OK;
    return cli_usage("plan: --audit is of all that was predicted: it takes no %s%s", other ? "--" : "",
                     other ? other->name : "MODEL");
}

int command_plan(const struct options *options)
{
    if (options->audit) return check_audit(options) == EXIT_OK ? plan_audit(options) : EXIT_USAGE;
    char formats[FORMATS_MAX][NAME_MAX_BYTES];
    struct stile_error error;
    int status = EXIT_OK, n = options->plan_format ? split_formats(options->plan_format, formats) : 0;
    if (n < 0 || (n > 1 && options->svg)) return n < 0 ? EXIT_USAGE : cli_usage("plan: --svg is for one --format");
    int unusable = plan_rank_check(options);
    if (unusable) return unusable;
    if (options->n_arguments == 0) return cli_usage("plan needs MODEL or SHAPE: see 'stile help plan'");
    if ((options->machine || options->all_machines) && options->n_threads > 0)
        return cli_usage("plan: --threads is for this machine: another has the threads of its cores");
    if ((options->machine || options->all_machines) && options->place)
        return cli_usage("plan: --place is for this machine: on another, weights lie where they are fastest");
    interrupt_install();
    bool here = !options->all_machines && (!options->machine || strcmp(options->machine, "this") == 0);
    if (here && know_machine(&error) != STILE_OK) return cli_error(&error);
    struct stile_pace pace = {.n_threads = 0};
    if (here) look_at_machine(&pace);
    json_t *array = options->json ? json_array() : NULL;
    for (int i = 0; status == EXIT_OK && i < (n > 0 ? n : 1); i++) {
        if (i > 0 && !array) putchar('\n');
        status = plan_one(options, n > 0 ? formats[i] : NULL, here ? &pace : NULL, array);
    }
    if (array && status == EXIT_OK) json_show(n > 1 ? json_incref(array) : json_incref(json_array_get(array, 0)));
    json_decref(array);
    return status;
}
