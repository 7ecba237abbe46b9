/* stats.c - what the last reply cost, as a line and as JSON. */
#include "base/terminal.h"
#include "cli/reply.h"

#include <string.h>
#include <sys/resource.h>

struct stats {
    double open_ms, map_ms, ready_ms;
    double prompt_rate, generate_rate;            /* tokens per second, 0: nothing was measured */
    double read_bytes_per_s, machine_bytes_per_s; /* 0: not known */
    uint64_t peak_bytes;
};

static double per_second(uint64_t n, uint64_t time_ns)
{
    return time_ns ? (double)n * 1e9 / (double)time_ns : 0;
}

static uint64_t peak_memory(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

/* Above 1 where guesses were right. */
static double tokens_per_pass(const struct stile_generation *result)
{
    uint32_t n_accepted = result->lookup.n_accepted + result->draft.n_accepted;
    return result->n_passes ? 1 + (double)n_accepted / result->n_passes : 0;
}

/* ", 3.11 a pass (lookup 40 of 52, draft 96 of 130)" */
static void guesses_text(FILE *stream, const struct stile_generation *result)
{
    const struct {
        const char *name;
        struct stile_guesses guesses;
    } sources[] = {{"lookup", result->lookup}, {"draft", result->draft}};
    const char *before = " (";
    if (tokens_per_pass(result) <= 1) return;
    fprintf(stream, ", %.2f a pass", tokens_per_pass(result));
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        if (sources[i].guesses.n_drafted == 0) continue;
        fprintf(stream, "%s%s %u of %u", before, sources[i].name, sources[i].guesses.n_accepted,
                sources[i].guesses.n_drafted);
        before = ", ";
    }
    fputs(")", stream);
}

static json_t *guesses_json(const struct stile_guesses *guesses)
{
    return json_pack("{s:I, s:I}", "drafted_tokens", (json_int_t)guesses->n_drafted, "accepted_tokens",
                     (json_int_t)guesses->n_accepted);
}

static struct stats gather(const struct engine *engine)
{
    const struct stile_generation *result = &engine->result;
    struct stile_load_times load;
    struct stile_machine machine = {0};
    struct stats stats = {.peak_bytes = peak_memory()}; /* before the probe uses memory of its own */
    stile_model_load_times(engine->model, &load);
    if (stile_machine_describe(&machine, NULL) == STILE_OK) stats.machine_bytes_per_s = machine.read_bytes_per_s;
    stats.open_ms = (double)load.open_ns / 1e6;
    stats.map_ms = (double)load.map_ns / 1e6;
    stats.ready_ms = (double)load.ready_ns / 1e6;
    stats.prompt_rate = per_second(result->n_prompt_tokens, result->prompt_ns);
    stats.generate_rate = per_second(result->n_tokens, result->generate_ns);
    stats.read_bytes_per_s = per_second(result->generate_bytes, result->generate_ns);
    return stats;
}

static double per_pass(const struct stile_generation *result)
{
    return result->n_passes ? (double)result->generate_disk_bytes / result->n_passes : 0;
}

/* Where weights come from that are not all in memory. */
static void tiers_text(const struct engine *engine)
{
    struct stile_tiers tiers;
    if (!stile_session_tiers(engine->session, &tiers)) return;
    fprintf(stderr, " | %.1f GB of weights in memory, %.2f GB a pass from the disk at %.2f GB/s",
            (double)(tiers.resident_bytes - tiers.absent_bytes) / 1e9, per_pass(&engine->result) / 1e9,
            per_second(tiers.read_bytes, tiers.reading_ns) / 1e9);
    if (tiers.wanted_bytes > 0)
        fprintf(stderr, ", experts found in memory %.0f%%, %.0f%% of the others foreseen",
                100 * (double)tiers.hit_bytes / (double)tiers.wanted_bytes,
                100 * (double)tiers.right_bytes / (double)(tiers.wanted_bytes - tiers.hit_bytes + 1));
}

static json_t *tiers_json(const struct engine *engine)
{
    struct stile_tiers tiers;
    const struct stile_generation *result = &engine->result;
    if (!stile_session_tiers(engine->session, &tiers)) return json_null();
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:s, s:I, s:I, s:I, s:I}", "resident_bytes",
                     (json_int_t)tiers.resident_bytes, "absent_bytes", (json_int_t)tiers.absent_bytes, "streamed_bytes",
                     (json_int_t)tiers.streamed_bytes, "cached_bytes", (json_int_t)tiers.cached_bytes, "memory_bytes",
                     (json_int_t)tiers.memory_bytes, "prompt_disk_bytes", (json_int_t)result->prompt_disk_bytes,
                     "reply_disk_bytes", (json_int_t)result->generate_disk_bytes, "disk_bytes_per_pass",
                     per_pass(result), "disk_bytes_per_s", per_second(tiers.read_bytes, tiers.reading_ns), "waiting_ms",
                     (double)tiers.waiting_ns / 1e6, "mechanism", tiers.mechanism, "wanted_bytes",
                     (json_int_t)tiers.wanted_bytes, "hit_bytes", (json_int_t)tiers.hit_bytes, "guessed_bytes",
                     (json_int_t)tiers.guessed_bytes, "right_bytes", (json_int_t)tiers.right_bytes);
}

void stats_line(const struct engine *engine)
{
    const struct stile_generation *result = &engine->result;
    struct stats stats = gather(engine);
    bool colour = terminal_colour(STDERR_FILENO);
    char peak[32];
    fprintf(stderr, "%sload %.0f ms (open %.1f, map %.1f, ready %.1f)", colour ? "\033[2m" : "",
            stats.open_ms + stats.map_ms + stats.ready_ms, stats.open_ms, stats.map_ms, stats.ready_ms);
    fprintf(stderr, " | prompt %u tokens, %.1f/s", result->n_prompt_tokens, stats.prompt_rate);
    fprintf(stderr, " | reply %u tokens, %.1f/s", result->n_tokens, stats.generate_rate);
    guesses_text(stderr, result);
    fprintf(stderr, " | read %.1f GB/s", stats.read_bytes_per_s / 1e9);
    if (stats.machine_bytes_per_s > 0)
        fprintf(stderr, ", %.0f%% of this machine's %.1f", 100 * stats.read_bytes_per_s / stats.machine_bytes_per_s,
                stats.machine_bytes_per_s / 1e9);
    tiers_text(engine);
    fprintf(stderr, " | peak %s%s\n", size_text(peak, stats.peak_bytes), colour ? "\033[0m" : "");
}

static const char *finish_name(enum stile_finish finish)
{
    switch (finish) {
    case STILE_FINISH_END: return "end";
    case STILE_FINISH_LENGTH: return "length";
    case STILE_FINISH_CONTEXT: return "context";
    case STILE_FINISH_STOP: return "stop";
    case STILE_FINISH_CANCELLED: return "cancelled";
    }
    return "";
}

/* The settings of the run, from the table of options. */
static json_t *record(const struct options *options)
{
    json_t *object = json_object();
    for (const struct option *option = option_table; option->name; option++) {
        if (!(option->commands & FOR_RUN) || option->type == OPTION_STOP || !option->help) continue;
        const void *field = (const char *)options + option->offset;
        json_t *value = NULL;
        switch (option->type) {
        case OPTION_FLAG: value = json_boolean(*(const bool *)field); break;
        case OPTION_SIZE:
        case OPTION_INTEGER: value = json_integer(*(const int64_t *)field); break;
        case OPTION_NUMBER: value = json_real(*(const double *)field); break;
        default: {
            const char *text = *(const char *const *)field;
            value = text ? json_text(text, strlen(text)) : json_null();
        }
        }
        json_object_set_new(object, option->name, value);
    }
    json_t *stop = json_array();
    for (size_t i = 0; i < options->n_stop; i++)
        json_array_append_new(stop, json_text(options->stop[i], strlen(options->stop[i])));
    json_object_set_new(object, "stop", stop);
    return object;
}

json_t *stats_json(const struct engine *engine, const struct options *options)
{
    const struct stile_generation *result = &engine->result;
    struct stats stats = gather(engine);
    json_t *object = json_pack("{s:o, s:s, s:I, s:I}", "text", json_text(engine->text.data, engine->text.n), "finish",
                               finish_name(result->finish), "prompt_tokens", (json_int_t)result->n_prompt_tokens,
                               "reply_tokens", (json_int_t)result->n_tokens);
    json_object_set_new(
        object, "load_ms",
        json_pack("{s:f, s:f, s:f}", "open", stats.open_ms, "map", stats.map_ms, "ready", stats.ready_ms));
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"first_text_ms", (double)engine->first_text_ns / 1e6},
        {"prompt_ms", (double)result->prompt_ns / 1e6},
        {"reply_ms", (double)result->generate_ns / 1e6},
        {"prompt_tokens_per_s", stats.prompt_rate},
        {"reply_tokens_per_s", stats.generate_rate},
        {"draft_ms", (double)result->draft_ns / 1e6},
        {"tokens_per_pass", tokens_per_pass(result)},
        {"read_bytes_per_s", stats.read_bytes_per_s},
        {"machine_read_bytes_per_s", stats.machine_bytes_per_s},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_set_new(object, numbers[i].name, json_real(numbers[i].value));
    json_object_set_new(object, "passes", json_integer((json_int_t)result->n_passes));
    json_object_set_new(object, "lookup", guesses_json(&result->lookup));
    json_object_set_new(object, "draft", guesses_json(&result->draft));
    json_object_set_new(object, "memory", memory_json(&engine->memory));
    json_object_set_new(object, "peak_memory_bytes", json_integer((json_int_t)stats.peak_bytes));
    json_object_set_new(object, "tiers", tiers_json(engine));
    if (options->expert_profile) json_object_set_new(object, "experts", experts_json(engine));
    if (options->logits_hash)
        json_object_set_new(object, "logits_hash",
                            json_sprintf("%016llx", (unsigned long long)stile_logits_hash(engine->session)));
    json_object_set_new(object, "model", json_text(options->arguments[0], strlen(options->arguments[0])));
    json_object_set_new(object, "version", json_string(stile_version()));
    json_object_set_new(object, "options", record(options));
    return object;
}
