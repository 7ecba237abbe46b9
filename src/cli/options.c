/* options.c - the table, and reading a command line by it. */
#include "cli/options.h"

#include "base/edit_distance.h"
#include "cli/output.h"
#include "lab/bench.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct options, field)

enum { CTX_MAX = 1 << 24, THREADS_LIMIT = 256 };

const struct option option_table[] = {
    {"prompt", 'p', OPTION_TEXT, "TEXT", 0, 0, "", "the prompt", FOR_RUN, AT(prompt)},
    {"file", 'f', OPTION_FILE, "FILE", 0, 0, "",
     "read the prompt (or the text) from FILE, - for standard input; one final newline is dropped",
     FOR_RUN | FOR_TOKENIZE | FOR_QUALITY, AT(file)},
    {"file", 'f', OPTION_FILE, "FILE", 0, 0, "one that comes with stile",
     "the text, - for standard input: like what the model will be used for", FOR_CALIBRATE | FOR_QUANTIZE, AT(file)},
    {"out", 'o', OPTION_FILE, "FILE", 0, 0, "imatrix.gguf", "write the result to FILE", FOR_CALIBRATE, AT(out)},
    {"tokens", 'n', OPTION_INTEGER, "N", 0, CTX_MAX, "until the reply ends or the context is full",
     "stop after N tokens of reply", FOR_RUN, AT(n_tokens)},
    {"ctx", 0, OPTION_INTEGER, "N", 1, CTX_MAX, "4096, or less if the model was trained on less",
     "tokens of context: prompt and reply together", FOR_RUN | FOR_INFO | FOR_PLAN | FOR_QUANTIZE, AT(n_ctx)},
    {"ctx", 0, OPTION_INTEGER, "N", 4, CTX_MAX, "512", "tokens of a window", FOR_QUALITY | FOR_CALIBRATE, AT(n_ctx)},
    {"threads", 't', OPTION_INTEGER, "N", 1, THREADS_LIMIT, "one per core", "threads to work with",
     FOR_RUN | FOR_PLAN | FOR_QUALITY | FOR_QUANTIZE | FOR_CALIBRATE, AT(n_threads)},
    {"temp", 0, OPTION_NUMBER, "X", 0, 100, NULL, "temperature: 0 always takes the most likely token", FOR_RUN,
     AT(temperature)},
    {"top-k", 0, OPTION_INTEGER, "N", 0, INT_MAX, NULL, "draw from the N most likely tokens; 0: from all", FOR_RUN,
     AT(top_k)},
    {"top-p", 0, OPTION_NUMBER, "X", 0, 1, NULL,
     "draw from the smallest set of tokens whose probabilities sum to X; 1: from all", FOR_RUN, AT(top_p)},
    {"min-p", 0, OPTION_NUMBER, "X", 0, 1, NULL, "drop tokens less likely than X times the most likely one", FOR_RUN,
     AT(min_p)},
    {"repeat-penalty", 0, OPTION_NUMBER, "X", 0.01, 100, NULL,
     "make the last 64 tokens less likely by this factor; 1: off", FOR_RUN, AT(repeat_penalty)},
    {"seed", 0, OPTION_INTEGER, "N", 0, 9.2e18, NULL, "start of the random numbers; the same seed gives the same reply",
     FOR_RUN, AT(seed)},
    {"system", 0, OPTION_TEXT, "TEXT", 0, 0, "", "the system message", FOR_RUN, AT(system)},
    {"raw", 0, OPTION_FLAG, NULL, 0, 0, "", "give the prompt to the model as it is, without its chat template", FOR_RUN,
     AT(raw)},
    {"draft", 0, OPTION_FILE, "MODEL", 0, 0, "",
     "a smaller model of the same family, which guesses several tokens ahead where that is faster; it changes no token",
     FOR_RUN | FOR_INFO, AT(draft)},
    {"no-lookup", 0, OPTION_FLAG, NULL, 0, 0, "",
     "do not guess text that repeats; guessing is faster there, and changes no token", FOR_RUN, AT(no_lookup)},
    {"stop", 0, OPTION_STOP, "TEXT", 0, 0, "", "end the reply before TEXT; may be given up to 16 times", FOR_RUN,
     AT(stop)},
    {"kv", 0, OPTION_CHOICE, "f16|f32|q8_0", 0, 0, NULL, "number format of the KV cache",
     FOR_RUN | FOR_INFO | FOR_BENCH | FOR_PLAN | FOR_QUALITY, AT(kv)},
    {"isa", 0, OPTION_TEXT, "NAME", 0, 0, "the best this processor has",
     "kernels to use: scalar, avx2, avx512, neon, dotprod or i8mm; all give the same bits",
     FOR_RUN | FOR_BENCH | FOR_QUALITY | FOR_CALIBRATE, AT(isa)},
    {"memory-limit", 0, OPTION_SIZE, "SIZE", 0, 0, "what is free",
     "memory for the model and its context at most, such as 6G (the program itself takes some 20 MB beside): weights "
     "beyond it are read from the file whenever they are needed",
     FOR_RUN | FOR_BENCH | FOR_PLAN | FOR_QUALITY, AT(memory_limit)},
    {"place", 0, OPTION_TEXT, "PATTERN=TIER,...", 0, 0, "",
     "where tensors go whose names match: resident (in memory), streamed (read each time), cached (experts)",
     FOR_RUN | FOR_BENCH | FOR_PLAN | FOR_QUALITY, AT(place)},
    {"expert-profile", 0, OPTION_FLAG, NULL, 0, 0, "",
     "show how the experts of a mixture larger than memory were used, layer by layer", FOR_RUN, AT(expert_profile)},
    {"logits-hash", 0, OPTION_FLAG, NULL, 0, 0, "", "print a hash of all logits: equal hashes, equal arithmetic",
     FOR_RUN, AT(logits_hash)},
    {"json", 0, OPTION_FLAG, NULL, 0, 0, "", "print one JSON object",
     FOR_RUN | FOR_INFO | FOR_PROBE | FOR_PLAN | FOR_QUALITY | FOR_QUANTIZE | FOR_CALIBRATE, AT(json)},
    {"tensors", 0, OPTION_FLAG, NULL, 0, 0, "", "list the tensors too", FOR_INFO, AT(tensors)},
    {"ids", 0, OPTION_FLAG, NULL, 0, 0, "", "print only the ids, on one line", FOR_TOKENIZE, AT(ids)},
    {"man", 0, OPTION_FLAG, NULL, 0, 0, "", NULL, FOR_HELP, AT(man)},
    {"completion", 0, OPTION_CHOICE, "bash|zsh|fish", 0, 0, "", NULL, FOR_HELP, AT(completion)},
    {"prompt-tokens", 'p', OPTION_LIST, "N,...", 0, CTX_MAX, "512", "measure prefill of N tokens; 0: none", FOR_BENCH,
     AT(prompts)},
    {"gen-tokens", 'n', OPTION_LIST, "N,...", 0, CTX_MAX, "128", "measure decode of N tokens, one by one; 0: none",
     FOR_BENCH, AT(generates)},
    {"depth", 'd', OPTION_LIST, "N,...", 0, CTX_MAX, "0", "with N tokens in the context before", FOR_BENCH, AT(depths)},
    {"batch", 'b', OPTION_LIST, "N,...", 1, CTX_MAX, "the engine's", "tokens evaluated together in prefill", FOR_BENCH,
     AT(batches)},
    {"threads", 't', OPTION_LIST, "N,...", 1, THREADS_LIMIT, "one per core", "threads to work with", FOR_BENCH,
     AT(threads)},
    {"repetitions", 'r', OPTION_INTEGER, "N", 1, 1000, NULL, "measure each at most N times", FOR_BENCH,
     AT(n_repetitions)},
    {"spread", 0, OPTION_NUMBER, "X", 0, 1, NULL,
     "stop after 5 repetitions when the median is known to within this share", FOR_BENCH, AT(spread)},
    {"time", 0, OPTION_NUMBER, "S", 0, 1e6, NULL,
     "stop after S seconds on one test of one model (but not before 3 repetitions)", FOR_BENCH, AT(time_s)},
    {"start", 0, OPTION_FLAG, NULL, 0, 0, "", "also measure loading, and the time to the first token", FOR_BENCH,
     AT(start)},
    {"cold", 0, OPTION_FLAG, NULL, 0, 0, "", "that with the file not in memory: read from its disk", FOR_BENCH,
     AT(cold)},
    {"profile", 0, OPTION_CHOICE, "kinds|layers", 0, 0, "",
     "also show where the time goes, by kind of operation or by layer", FOR_BENCH, AT(profile)},
    {"shape", 0, OPTION_TEXT, "NAME,...", 0, 0, "",
     "measure synthetic models of these shapes, such as llama-3.1-8b, in memory", FOR_BENCH, AT(shape)},
    {"format", 0, OPTION_TEXT, "NAME,...", 0, 0, NULL, "number formats of the synthetic models", FOR_BENCH, AT(format)},
    {"format", 0, OPTION_TEXT, "NAME", 0, 0, NULL, "number format of a shape: q4_k_m, q8_0, bf16, ...", FOR_INFO,
     AT(format)},
    {"out", 0, OPTION_FILE, "FILE", 0, 0, "", "write the synthetic model to a GGUF file, and measure that", FOR_BENCH,
     AT(out)},
    {"shapes", 0, OPTION_FLAG, NULL, 0, 0, "", "list the shapes that are known", FOR_BENCH, AT(shapes)},
    {"compare", 0, OPTION_FLAG, NULL, 0, 0, "", "compare two files of records (--json or --jsonl) instead", FOR_BENCH,
     AT(compare)},
    {"json", 0, OPTION_FLAG, NULL, 0, 0, "", "print a JSON array of records", FOR_BENCH, AT(json)},
    {"jsonl", 0, OPTION_FLAG, NULL, 0, 0, "", "print records as they are made, one JSON object on each line", FOR_BENCH,
     AT(jsonl)},
    {"csv", 0, OPTION_FLAG, NULL, 0, 0, "", "print comma-separated values", FOR_BENCH, AT(csv)},
    {"md", 0, OPTION_FLAG, NULL, 0, 0, "", "print a Markdown table", FOR_BENCH, AT(markdown)},
    {"thorough", 0, OPTION_FLAG, NULL, 0, 0, "", "take more samples, for about a minute and a half", FOR_PROBE,
     AT(thorough)},
    {"disk", 0, OPTION_FILE, "PATH", 0, 0, "the folder of the models",
     "measure reading in this folder, of a file that is written for it and removed, or of this file", FOR_PROBE,
     AT(disk)},
    {"cached", 0, OPTION_FLAG, NULL, 0, 0, "", "measure nothing, show what was measured last", FOR_PROBE, AT(cached)},
    {"batch", 'b', OPTION_INTEGER, "N", 1, CTX_MAX, "512", "tokens evaluated together in prefill", FOR_PLAN,
     AT(n_batch)},
    {"format", 0, OPTION_TEXT, "NAME,...", 0, 0, "the file's; of a shape q4_k_m",
     "as if the model came in these number formats: q4_k_m, q8_0, bf16, ...", FOR_PLAN, AT(plan_format)},
    {"audit", 0, OPTION_FLAG, NULL, 0, 0, "",
     "instead, say how far earlier predictions were from what was measured then", FOR_PLAN, AT(audit)},
    {"show-plan", 0, OPTION_FLAG, NULL, 0, 0, "", "first say what to expect, as 'stile plan' does", FOR_RUN | FOR_BENCH,
     AT(show_plan)},
    {"prompt-tokens", 'p', OPTION_INTEGER, "N", 1, CTX_MAX, "512", "length of the prompt", FOR_PLAN, AT(n_prompt)},
    {"gen-tokens", 'n', OPTION_INTEGER, "N", 1, CTX_MAX, "128", "decode so many tokens", FOR_PLAN, AT(n_generated)},
    {"depth", 'd', OPTION_INTEGER, "N", 0, CTX_MAX, "0", "with N tokens in the context before", FOR_PLAN, AT(n_depth)},
    {"machine", 0, OPTION_TEXT, "NAME|FILE", 0, 0, "this",
     "for another computer: a device with the memory of its host and a disk (rtx5090+ddr5-6000x2:64+nvme4, "
     "m4-max-40:128, "
     "epyc-9554), or a file that 'stile probe --json' wrote",
     FOR_PLAN, AT(machine)},
    {"all-machines", 0, OPTION_FLAG, NULL, 0, 0, "",
     "for all computers that stile has data sheets of, the fastest first", FOR_PLAN, AT(all_machines)},
    {"all-formats", 0, OPTION_FLAG, NULL, 0, 0, "", "in all number formats, the one that loses least first", FOR_PLAN,
     AT(all_formats)},
    {"min-tps", 0, OPTION_NUMBER, "X", 0, 1e9, "any", "of these only what decodes X tokens a second", FOR_PLAN,
     AT(min_tps)},
    {"max-loss", 0, OPTION_NUMBER, "PERCENT", 0, 1e9, "any", "only what raises perplexity by at most this", FOR_PLAN,
     AT(max_loss)},
    {"max-watts", 0, OPTION_NUMBER, "W", 1, 1e9, "any", "only computers rated at most this", FOR_PLAN, AT(max_watts)},
    {"max-memory", 0, OPTION_SIZE, "SIZE", 0, 0, "any", "only what needs at most this much memory", FOR_PLAN,
     AT(max_memory_bytes)},
    {"svg", 0, OPTION_FILE, "FILE", 0, 0, "",
     "draw what disk, memory and arithmetic allow, and where the model runs into them", FOR_PLAN, AT(svg)},
    {"sweep", 0, OPTION_TEXT, "FORMAT|FILE,...", 0, 0, "",
     "instead make the model in each of these formats, and say what it takes, what it costs and how fast it is; with "
     "--imatrix also with that; files (.gguf) are measured as they are",
     FOR_QUALITY, AT(sweep)},
    {"svg", 0, OPTION_FILE, "FILE", 0, 0, "", "draw the sweep: divergence over bits per weight", FOR_QUALITY, AT(svg)},
    {"reference", 0, OPTION_FILE, "MODEL|LOGITS", 0, 0, "",
     "what it should be like: its original weights, or a file of their logits, which brings text and windows along",
     FOR_QUALITY, AT(reference)},
    {"save-logits", 0, OPTION_FILE, "FILE", 0, 0, "",
     "keep the model's logits for comparing others with them: two bytes for each scored token and word of the "
     "vocabulary",
     FOR_QUALITY, AT(save_logits)},
    {"tasks", 0, OPTION_FILE, "FILE", 0, 0, "",
     "multiple-choice questions, one JSON object with question, choices and answer on each line", FOR_QUALITY,
     AT(tasks)},
    {"stride", 0, OPTION_INTEGER, "N", 1, CTX_MAX, "none",
     "windows overlap: each is N tokens after the one before, and every token is scored once, after many others",
     FOR_QUALITY, AT(stride)},
    {"chunks", 0, OPTION_INTEGER, "N", 1, CTX_MAX, "all", "only the first N windows of the text",
     FOR_QUALITY | FOR_CALIBRATE | FOR_QUANTIZE, AT(n_windows)},
    {"time", 0, OPTION_NUMBER, "S", 0.01, 3600, "", NULL, FOR_PROBE, AT(probe_s)}, /* for tests */
    {"format", 0, OPTION_TEXT, "NAME", 0, 0, "", "number format to make: q4_k_m, q8_0, nvfp4, bf16, ...", FOR_QUANTIZE,
     AT(to_format)},
    {"target-bpw", 0, OPTION_NUMBER, "X", 0.5, 32, "",
     "instead of a format: at most X bits per weight, each tensor in the format with which least is lost", FOR_QUANTIZE,
     AT(target_bpw)},
    {"target-size", 0, OPTION_SIZE, "SIZE", 0, 0, "", "the same for the size of the file, such as 4GB", FOR_QUANTIZE,
     AT(target_size)},
    {"fit", 0, OPTION_TEXT, "MACHINE", 0, 0, "",
     "the same for what fits into the fastest memory of a machine beside --ctx: this, or as for 'stile plan --machine'",
     FOR_QUANTIZE, AT(fit)},
    {"recipe", 0, OPTION_TEXT, "PATTERN=FORMAT,...", 0, 0, "",
     "other formats for tensors whose names match, such as 'blk.*.ffn_down.weight=q6_k'; or a file of such lines. The "
     "first pattern that fits decides",
     FOR_QUANTIZE, AT(recipe)},
    {"imatrix", 0, OPTION_FILE, "FILE", 0, 0, "", "an importance matrix: which inputs of each matrix matter",
     FOR_QUANTIZE | FOR_QUALITY, AT(imatrix)},
    {"method", 0, OPTION_CHOICE, "gptq", 0, 0, "",
     "gptq: later weights make good the errors of earlier ones, as far as the inputs over the text (-f) allow; slower",
     FOR_QUANTIZE, AT(method)},
    {"dry-run", 0, OPTION_FLAG, NULL, 0, 0, "",
     "only show what each tensor would become; MODEL may also be a shape or a "
     "URL, as for 'stile info'",
     FOR_QUANTIZE, AT(dry_run)},
    {"resume", 0, OPTION_FLAG, NULL, 0, 0, "", "continue what was interrupted; where nothing was, begin", FOR_QUANTIZE,
     AT(resume)},
    {"force", 0, OPTION_FLAG, NULL, 0, 0, "", "replace OUT if it is there, and what was interrupted", FOR_QUANTIZE,
     AT(force)},
    {"help", 'h', OPTION_FLAG, NULL, 0, 0, "", "say what the command does", FOR_ALL, AT(help)},
    {NULL, 0, OPTION_FLAG, NULL, 0, 0, NULL, NULL, 0, 0},
};

struct options options_defaults(void)
{
    struct stile_sampler_options sampler = stile_sampler_defaults();
    /* Binary fractions of a float would show as 0.800000012: go through the decimal that was meant. */
    char digits[4][32];
    const float values[4] = {sampler.temperature, sampler.top_p, sampler.min_p, sampler.repeat_penalty};
    for (int i = 0; i < 4; i++)
        snprintf(digits[i], sizeof digits[i], "%.6g", (double)values[i]);
    return (struct options){
        .temperature = strtod(digits[0], NULL),
        .top_k = sampler.top_k,
        .top_p = strtod(digits[1], NULL),
        .min_p = strtod(digits[2], NULL),
        .repeat_penalty = strtod(digits[3], NULL),
        .seed = (int64_t)sampler.seed,
        .kv = "f16",
        .format = "q4_k_m",
        .n_repetitions = 15,
        .spread = 0.02,
        .time_s = 20,
        .max_loss = -1,
    };
}

enum stile_kv_format options_kv_format(const struct options *options)
{
    enum stile_kv_format format = STILE_KV_F16;
    while (strcmp(options->kv, bench_kv_names[format]) != 0)
        format++;
    return format;
}

void option_format(const struct option *option, const struct options *options, char *out, size_t capacity)
{
    const char *field = (const char *)options + option->offset;
    const char *text = "";
    switch (option->type) {
    case OPTION_FLAG: text = *(const bool *)field ? "true" : "false"; break;
    case OPTION_SIZE:
    case OPTION_INTEGER: snprintf(out, capacity, "%lld", (long long)*(const int64_t *)field); return;
    case OPTION_NUMBER: snprintf(out, capacity, "%.6g", *(const double *)field); return;
    case OPTION_TEXT:
    case OPTION_FILE:
    case OPTION_CHOICE: text = *(const char *const *)field; break;
    case OPTION_STOP:
    case OPTION_LIST: break;
    }
    snprintf(out, capacity, "%s", text ? text : "");
}

const struct option *options_other(const struct options *options, unsigned command, const char *const *names)
{
    const struct options defaults = options_defaults();
    for (const struct option *option = option_table; option->name; option++) {
        char value[256], usual[256];
        bool named = !(option->commands & command);
        for (size_t i = 0; names[i] && !named; i++)
            named = strcmp(names[i], option->name) == 0;
        if (named) continue;
        option_format(option, options, value, sizeof value);
        option_format(option, &defaults, usual, sizeof usual);
        if (strcmp(value, usual) != 0) return option;
    }
    return NULL;
}

/* How unlike two words are, for "did you mean": a beginning of the other counts as near. */
static size_t unlikeness(const char *typed, const char *word)
{
    size_t n = strlen(typed);
    if (n >= 2 && strncmp(typed, word, n) == 0) return 1;
    if (strncmp(word, typed, strlen(word)) == 0) return 2;
    return edit_distance(typed, word);
}

/* Of a short word, two changes leave little: it must at least begin alike. */
static bool near_enough(size_t distance, const char *typed, const char *word)
{
    size_t n = strlen(typed);
    return distance <= (n < 4 ? 1 : 2) && (distance < 2 || n >= 6 || *typed == *word);
}

static int unknown_option(const struct command *command, const char *typed)
{
    const char *name = typed + strspn(typed, "-"), *best = NULL;
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(name, "="), name);
    size_t distance = SIZE_MAX;
    for (const struct option *option = option_table; option->name; option++) {
        if (!(option->commands & command->bit) || !option->help) continue;
        size_t d = unlikeness(word, option->name);
        if (d < distance) distance = d, best = option->name;
    }
    if (best && near_enough(distance, word, best))
        return cli_usage("%s has no option %s: did you mean --%s?", command->name, typed, best);
    return cli_usage("%s has no option %s: see 'stile help %s'", command->name, typed, command->name);
}

static int parse_choice(const struct option *option, const char *text, const char **choice)
{
    size_t n = strlen(text);
    for (const char *word = option->argument; word;) {
        size_t n_word = strcspn(word, "|");
        if (n == n_word && memcmp(word, text, n) == 0) return *choice = text, EXIT_OK;
        word = word[n_word] ? word + n_word + 1 : NULL;
    }
    return cli_usage("--%s %s: not one of %s", option->name, text, option->argument);
}

static int parse_list(const struct option *option, const char *text, struct option_list *list)
{
    list->n = 0;
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        long long value = strtoll(at, &end, 10);
        if (end == at || (*end && *end != ',') || errno || (double)value < option->min || (double)value > option->max)
            return cli_usage("--%s %s: not whole numbers from %.0f to %.0f, separated by commas", option->name, text,
                             option->min, option->max);
        if (list->n == OPTIONS_LIST_MAX)
            return cli_usage("--%s %s: more than %d numbers", option->name, text, OPTIONS_LIST_MAX);
        list->values[list->n++] = (uint32_t)value;
        if (!*end) return EXIT_OK;
        at = end;
    }
}

/* A number and a unit: none or B, or one of K, M, G, T (thousands), Ki, Mi, Gi, Ti (1024s), with or without B. */
static int parse_size(const struct option *option, const char *text, int64_t *size_bytes)
{
    static const char units[] = "kmgt";
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    bool failed = end == text || errno || !(value > 0);
    while (*end == ' ')
        end++;
    const char *unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;
    bool binary = unit && end[1] == 'i';
    if (unit) end += binary ? 2 : 1;
    for (ptrdiff_t i = unit ? unit - units + 1 : 0; i > 0; i--)
        value *= binary ? 1024 : 1000;
    if (*end == 'B' || *end == 'b') end++;
    if (failed || *end || value < 1 || value > 9e18)
        return cli_usage("--%s %s: not a size such as 6G, 512M or 7.5GiB", option->name, text);
    *size_bytes = (int64_t)value;
    return EXIT_OK;
}

static int parse_value(const struct option *option, const char *text, struct options *options)
{
    char *field = (char *)options + option->offset, *end;
    errno = 0;
    switch (option->type) {
    case OPTION_FLAG: *(bool *)field = true; return EXIT_OK;
    case OPTION_INTEGER: {
        long long value = strtoll(text, &end, 10);
        if (end == text || *end || errno || (double)value < option->min || (double)value > option->max)
            return cli_usage("--%s %s: not a whole number from %.0f to %.0f", option->name, text, option->min,
                             option->max);
        *(int64_t *)field = value;
        return EXIT_OK;
    }
    case OPTION_SIZE: return parse_size(option, text, (int64_t *)field);
    case OPTION_NUMBER: {
        double value = strtod(text, &end);
        if (end == text || *end || !isfinite(value) || value < option->min || value > option->max)
            return cli_usage("--%s %s: not a number from %g to %g", option->name, text, option->min, option->max);
        *(double *)field = value;
        return EXIT_OK;
    }
    case OPTION_TEXT:
    case OPTION_FILE: *(const char **)field = text; return EXIT_OK;
    case OPTION_CHOICE: return parse_choice(option, text, (const char **)field);
    case OPTION_STOP:
        if (!*text) return cli_usage("--stop: the text is empty");
        if (options->n_stop == OPTIONS_STOP_MAX) return cli_usage("--stop: more than %d texts", OPTIONS_STOP_MAX);
        options->stop[options->n_stop++] = text;
        return EXIT_OK;
    case OPTION_LIST: return parse_list(option, text, (struct option_list *)field);
    }
    return EXIT_USAGE;
}

static const struct option *find_long(const struct command *command, const char *name, size_t n)
{
    for (const struct option *option = option_table; option->name; option++)
        if (option->commands & command->bit && strlen(option->name) == n && memcmp(option->name, name, n) == 0)
            return option;
    return NULL;
}

static const struct option *find_letter(const struct command *command, char letter)
{
    for (const struct option *option = option_table; option->name; option++)
        if (option->commands & command->bit && option->letter && option->letter == letter) return option;
    return NULL;
}

/* argv[*i] is an option: reads it and the value that belongs to it, "--name=value", "--name value", "-nvalue" or
 * "-n value". */
static int parse_option(const struct command *command, int argc, char **argv, int *i, struct options *options)
{
    const char *word = argv[*i], *value = NULL;
    const struct option *option;
    if (word[1] == '-') {
        size_t n = strcspn(word + 2, "=");
        option = find_long(command, word + 2, n);
        if (word[2 + n] == '=') value = word + 2 + n + 1;
    } else {
        option = find_letter(command, word[1]);
        if (word[1] && word[2]) value = word + 2;
    }
    if (!option) return unknown_option(command, word);
    if (option->type == OPTION_FLAG) {
        if (value) return cli_usage("--%s takes no value", option->name);
    } else if (!value) {
        if (*i + 1 >= argc) return cli_usage("--%s needs a value: %s", option->name, option->argument);
        value = argv[++*i];
    }
    return parse_value(option, value, options);
}

int options_parse(const struct command *command, int argc, char **argv, struct options *options)
{
    int n_arguments = 0;
    bool only_arguments = false;
    for (int i = 0; i < argc; i++) {
        if (!only_arguments && strcmp(argv[i], "--") == 0) {
            only_arguments = true;
        } else if (!only_arguments && argv[i][0] == '-' && argv[i][1]) {
            int status = parse_option(command, argc, argv, &i, options);
            if (status != EXIT_OK) return status;
        } else {
            if (n_arguments == command->n_arguments_max)
                return cli_usage("%s: '%s' is one argument too many: see 'stile help %s'", command->name, argv[i],
                                 command->name);
            options->arguments[n_arguments++] = argv[i];
            options->n_arguments = (size_t)n_arguments;
        }
    }
    if (n_arguments < command->n_arguments_min && !options->help)
        return cli_usage("%s needs %s: see 'stile help %s'", command->name, command->arguments, command->name);
    return EXIT_OK;
}

const struct command *command_find(const char *name)
{
    for (const struct command *command = command_table; command->name; command++)
        if (strcmp(command->name, name) == 0) return command;
    const char *best = NULL;
    size_t distance = SIZE_MAX;
    for (const struct command *command = command_table; command->name; command++) {
        size_t d = unlikeness(name, command->name);
        if (d < distance) distance = d, best = command->name;
    }
    if (best && near_enough(distance, name, best))
        cli_usage("no command '%s': did you mean '%s'?", name, best);
    else
        cli_usage("no command '%s': see 'stile help'", name);
    return NULL;
}
