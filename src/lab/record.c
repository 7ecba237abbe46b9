#include "lab/record.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FORMATS_MAX = 64 };

/* ---- writing -------------------------------------------------------------------------------- */

static void set(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value ? value : json_null());
}

static void set_text(json_t *object, const char *name, const char *text)
{
    set(object, name, json_string(text)); /* a text that is not UTF-8 becomes null */
}

static void set_count(json_t *object, const char *name, uint64_t n)
{
    set(object, name, json_integer((json_int_t)n));
}

/* What cannot be known is null: no rate is 0. */
static void set_real(json_t *object, const char *name, double value)
{
    set(object, name, value != 0 && isfinite(value) ? json_real(value) : NULL);
}

static json_t *samples_json(const double *samples, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(array, json_real(samples[i]));
    return array;
}

static void set_model(json_t *record, const struct stile_model *model, const struct bench_model *from)
{
    const struct stile_model_info *info = stile_model_info(model);
    struct stile_format_share shares[FORMATS_MAX];
    size_t n = stile_model_formats(model, shares, FORMATS_MAX);
    const char *slash = strrchr(info->path, '/');
    char hash[48] = "", format[32];
    snprintf(format, sizeof format, "%s", from->path ? n ? shares[0].format : "" : from->format);
    for (char *c = format; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    set(record, "shape", from->path ? NULL : json_string(from->shape));
    set_text(record, "model", *info->name ? info->name : slash ? slash + 1 : info->path);
    set(record, "path", from->path ? json_string(info->path) : NULL);
    set_text(record, "architecture", info->architecture);
    set_text(record, "format", format);
    json_t *formats = json_object();
    for (size_t i = 0; i < n && i < FORMATS_MAX; i++)
        set_count(formats, shares[i].format, shares[i].size_bytes);
    set(record, "format_bytes", formats);
    set_count(record, "size_bytes", info->size_bytes);
    set_count(record, "n_parameters", info->n_parameters);
    set_count(record, "n_parameters_active", info->n_parameters_active);
    if (from->path) host_file_hash(info->path, hash, sizeof hash);
    set(record, "file_hash", *hash ? json_string(hash) : NULL);
}

static json_t *machine_json(const struct host *host)
{
    json_t *object = json_object();
    set_text(object, "cpu", host->machine.cpu);
    set_count(object, "n_processors", (uint64_t)host->n_processors);
    set_count(object, "memory_bytes", host->machine.memory_bytes);
    set_text(object, "isa", host->machine.isa);
    json_t *caches = json_object();
    set_count(caches, "l1", host->machine.caches.l1_bytes);
    set_count(caches, "l2", host->machine.caches.l2_bytes);
    set_count(caches, "l3", host->machine.caches.l3_bytes);
    set(object, "cache_bytes", caches);
    set_text(object, "large_pages", host->machine.large_pages);
    set_text(object, "kernel", host->kernel);
    set_text(object, "governor", host->governor);
    set_real(object, "read_bytes_per_s", host->machine.read_bytes_per_s);
    return object;
}

static json_t *noise_json(const struct bench_plan *plan, const struct bench_result *result)
{
    char summary[300];
    const struct host_noise *noise = &result->noise;
    json_t *object = json_object();
    record_noise(plan, result, summary, sizeof summary);
    set_text(object, "summary", summary);
    set(object, "steal_share", json_real(noise->steal_share));
    set(object, "others_processors", json_real(noise->others_processors));
    set(object, "halves_shift", json_real(stats_halves_shift(result->samples, result->n_samples)));
    set_real(object, "mhz_begin", noise->mhz_begin);
    set_real(object, "mhz_end", noise->mhz_end);
    set_count(object, "n_throttled", noise->n_throttled);
    return object;
}

static json_t *settings_json(const struct bench_plan *plan)
{
    json_t *object = json_object();
    set_count(object, "n_repetitions", plan->n_repetitions);
    set(object, "spread", json_real(plan->spread));
    set(object, "time_s", json_real(plan->time_s));
    set_count(object, "n_models", plan->n_models);
    return object;
}

double record_limit(const struct bench_plan *plan, const struct bench_result *result)
{
    struct stats stats;
    stats_of(result->limit_samples, result->n_limit_samples, &stats);
    return stats.median > 0 ? stats.median : plan->host->machine.read_bytes_per_s;
}

/* Bytes and arithmetic, by the program's own cost. */
static void set_rates(json_t *record, const struct bench_plan *plan, const struct bench_result *result, double rate)
{
    double n = result->n_tokens, limit = record_limit(plan, result);
    double bytes = (double)(result->cost.weight_bytes + result->cost.kv_bytes) / (n > 0 ? n : 1);
    bool counted = result->metric == BENCH_TOKENS_PER_S;
    set_real(record, "bytes_per_token", counted ? bytes : 0);
    set_real(record, "rate_bytes_per_s", counted ? bytes * rate : 0);
    set_real(record, "macs_per_s", counted ? (double)result->cost.macs / n * rate : 0);
    set(record, "share_of_limit", NULL);
    set(record, "limit", NULL);
    set_real(record, "limit_bytes_per_s", counted ? limit : 0);
    set(record, "limit_samples", counted ? samples_json(result->limit_samples, result->n_limit_samples) : NULL);
    set_real(record, "limit_macs_per_s", result->matmul_limit_s > 0 ? result->matmul_macs / result->matmul_limit_s : 0);
    if (result->decode && limit > 0) {
        set_text(record, "limit", "memory");
        set_real(record, "share_of_limit", bytes * rate / limit);
    } else if (counted && result->matmul_limit_s > 0) {
        set_text(record, "limit", "arithmetic");
        set_real(record, "share_of_limit", result->matmul_limit_s * rate / n);
    }
}

static json_t *ratio_json(const struct bench_result *result)
{
    struct stats ratio;
    stats_paired_ratio(result->first_samples, result->samples, result->n_samples, &ratio);
    json_t *object = json_object();
    set_real(object, "median", ratio.median);
    set_real(object, "low", ratio.low);
    set_real(object, "high", ratio.high);
    return object;
}

const char *const bench_kv_names[] = {[STILE_KV_F16] = "f16", [STILE_KV_F32] = "f32", [STILE_KV_Q8_0] = "q8_0"};

static json_t *tiers_json(const struct bench_result *result)
{
    const struct stile_tiers *tiers = result->tiers;
    if (!tiers) return NULL;
    double n = result->n_tiers_tokens > 0 ? result->n_tiers_tokens : 1, reading_s = (double)tiers->reading_ns / 1e9;
    json_t *object = json_object();
    set_count(object, "resident_bytes", tiers->resident_bytes);
    set_count(object, "streamed_bytes", tiers->streamed_bytes);
    set_count(object, "cached_bytes", tiers->cached_bytes);
    set_count(object, "memory_bytes", tiers->memory_bytes);
    set_count(object, "n_passes", tiers->n_passes);
    set_count(object, "read_bytes", tiers->read_bytes);
    set_real(object, "read_bytes_per_token", (double)tiers->read_bytes / n);
    set_real(object, "read_bytes_per_s", reading_s > 0 ? (double)tiers->read_bytes / reading_s : 0);
    set_real(object, "reading_s_per_token", reading_s / n);
    set_real(object, "waiting_s_per_token", (double)tiers->waiting_ns / 1e9 / n);
    if (tiers->wanted_bytes > 0)
        set_real(object, "expert_hit_rate", (double)tiers->hit_bytes / (double)tiers->wanted_bytes);
    if (tiers->guessed_bytes > 0)
        set_real(object, "expert_guessed_right", (double)tiers->right_bytes / (double)tiers->guessed_bytes);
    set_text(object, "mechanism", tiers->mechanism);
    return object;
}

json_t *record_make(const struct bench_plan *plan, const struct bench_result *result)
{
    struct stats stats;
    char now[32] = "", samples[32];
    time_t seconds = time(NULL);
    struct tm calendar;
    json_t *record = json_object();
    if (!record) return NULL;
    const char *metric = result->metric == BENCH_SECONDS ? "seconds" : "tokens_per_s";
    stats_of(result->samples, result->n_samples, &stats);
    set_text(record, "test", result->test);
    set_model(record, result->model, &plan->models[result->i_model]);
    set_count(record, "n_tokens", result->n_tokens);
    set_count(record, "depth", result->depth);
    set_count(record, "threads", result->threads);
    set_count(record, "batch", result->batch);
    set_text(record, "kv", bench_kv_names[plan->kv_format]);
    set_text(record, "isa", host_isa(plan->host, plan->isa));
    set_text(record, "metric", metric);
    set(record, "tokens_per_s", NULL);
    set_real(record, metric, stats.median);
    snprintf(samples, sizeof samples, "%s_samples", metric);
    set(record, samples, samples_json(result->samples, result->n_samples));
    set(record, "min", json_real(stats.min));
    set(record, "max", json_real(stats.max));
    set(record, "low", json_real(stats.low));
    set(record, "high", json_real(stats.high));
    set(record, "confidence", json_real(stats.confidence));
    set(record, "mad", json_real(stats.mad));
    set(record, "spread", json_real(stats_spread(&stats)));
    set_rates(record, plan, result, stats.median);
    set_count(record, "peak_memory_bytes", host_peak_memory());
    set_count(record, "own_memory_bytes", host_own_memory());
    set(record, "ratio_to_first", result->first_samples ? ratio_json(result) : NULL);
    set(record, "tiers", tiers_json(result));
    set_count(record, "memory_limit_bytes", plan->memory_limit_bytes);
    set(record, "interrupted", json_boolean(result->interrupted));
    set(record, "noise", noise_json(plan, result));
    set(record, "machine", machine_json(plan->host));
    set(record, "settings", settings_json(plan));
    if (result->profile) {
        set(record, "profile",
            json_pack("{s:I, s:o, s:o}", "time_ns", (json_int_t)result->profile_ns, "kinds",
                      record_profile(plan, result, false), "layers", record_profile(plan, result, true)));
    }
    set_text(record, "version", stile_version());
    set(record, "commit", *stile_commit() ? json_string(stile_commit()) : NULL);
    if (gmtime_r(&seconds, &calendar)) strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &calendar);
    set_text(record, "time", now);
    return record;
}

/* ---- reading -------------------------------------------------------------------------------- */

static const json_t *find(const json_t *record, const char *path)
{
    char name[64];
    while (record) {
        size_t n = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, path);
        record = json_object_get(record, name);
        if (!path[n]) break;
        path += n + 1;
    }
    return record;
}

const char *record_text(const json_t *record, const char *path)
{
    const char *text = json_string_value(find(record, path));
    return text ? text : "";
}

double record_number(const json_t *record, const char *path)
{
    return json_number_value(find(record, path));
}

const char *record_metric(const json_t *record)
{
    return strcmp(record_text(record, "metric"), "seconds") == 0 ? "seconds" : "tokens_per_s";
}

bool record_stats(const json_t *record, struct stats *stats)
{
    double samples[STATS_SAMPLES_MAX];
    char name[32];
    snprintf(name, sizeof name, "%s_samples", record_metric(record));
    const json_t *array = json_object_get(record, name);
    size_t n = json_array_size(array), i;
    if (n == 0 || n > STATS_SAMPLES_MAX) return false;
    for (i = 0; i < n; i++) {
        samples[i] = json_number_value(json_array_get(array, i));
        if (!(samples[i] > 0) || !isfinite(samples[i])) return false;
    }
    stats_of(samples, n, stats);
    return true;
}
