/* options.h - the one table of options: parsing, --help, the man page, completion and the record of a run all read
 * it, and the commands it belongs to.
 */
#ifndef STILE_CLI_OPTIONS_H
#define STILE_CLI_OPTIONS_H

#include "stile.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

enum { OPTIONS_STOP_MAX = 16, OPTIONS_ARGUMENTS_MAX = 16, OPTIONS_LIST_MAX = 16 };

struct option_list {
    uint32_t values[OPTIONS_LIST_MAX];
    size_t n;
};

/* What a command line asks for. Strings belong to argv. */
struct options {
    uint64_t start_ns;                            /* when the program began (clock_ns) */
    const char *arguments[OPTIONS_ARGUMENTS_MAX]; /* MODEL and TEXT, or COMMAND; NULL where not given */
    size_t n_arguments;
    bool help;
    const char *prompt, *file, *system, *draft;
    const char *stop[OPTIONS_STOP_MAX];
    size_t n_stop;
    int64_t n_tokens, n_ctx, n_threads, top_k, seed;
    double temperature, top_p, min_p, repeat_penalty;
    const char *kv, *isa, *place;
    int64_t memory_limit;
    bool raw, no_lookup, expert_profile, json, logits_hash, tensors, ids, man;
    const char *completion;
    /* bench */
    struct option_list prompts, generates, depths, batches, threads;
    int64_t n_repetitions;
    double spread, time_s;
    bool start, cold, jsonl, csv, markdown, compare, shapes;
    const char *profile, *shape, *format, *out;
    /* probe */
    bool thorough, cached;
    const char *disk;
    double probe_s;
    /* plan */
    int64_t n_batch, n_depth, n_prompt, n_generated;
    const char *plan_format;
    bool audit, show_plan, all_machines, all_formats;
    const char *machine, *svg;
    double min_tps, max_loss, max_watts;
    uint64_t max_memory_bytes;
    /* quality */
    const char *reference, *save_logits, *tasks, *sweep;
    int64_t stride, n_windows;
    /* quantize */
    const char *to_format, *recipe, *imatrix, *fit, *method;
    double target_bpw;
    int64_t target_size;
    bool dry_run, force, resume;
};

enum option_type {
    OPTION_FLAG,    /* bool */
    OPTION_INTEGER, /* int64_t in min .. max */
    OPTION_NUMBER,  /* double in min .. max, finite */
    OPTION_SIZE,    /* int64_t, bytes: "4G", "512MiB", "1.5 GB" */
    OPTION_TEXT,    /* const char * */
    OPTION_FILE,    /* const char *, completed as a file name */
    OPTION_CHOICE,  /* const char *, one of the words of `argument`, separated by | */
    OPTION_STOP,    /* may repeat: the array stop */
    OPTION_LIST,    /* struct option_list: whole numbers in min .. max, separated by commas */
};

enum {
    FOR_RUN = 1,
    FOR_INFO = 2,
    FOR_TOKENIZE = 4,
    FOR_HELP = 8,
    FOR_BENCH = 16,
    FOR_PROBE = 32,
    FOR_PLAN = 64,
    FOR_QUANTIZE = 128,
    FOR_QUALITY = 512,
    FOR_CALIBRATE = 256,
    FOR_ALL = INT_MAX
};

struct option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum option_type type;
    const char *argument; /* its name in help; NULL for a flag */
    double min, max;
    const char *fallback; /* the default in words; NULL: the value in options_defaults, "" nothing worth saying */
    const char *help;     /* NULL: works, but is not listed */
    unsigned commands;
    size_t offset; /* in struct options */
};
extern const struct option option_table[]; /* ends with name NULL */

struct command {
    const char *name;
    unsigned bit;          /* FOR_... */
    const char *arguments; /* "MODEL [-p TEXT | -f FILE]" */
    const char *summary;   /* one line */
    const char *text;      /* paragraphs */
    int n_arguments_min, n_arguments_max;
    int (*run)(const struct options *options); /* returns the exit code */
};
extern const struct command command_table[]; /* ends with name NULL */
/* NULL, after one line on stderr that names the nearest, when there is no such command. */
const struct command *command_find(const char *name);

struct options options_defaults(void);
/* Reads what follows the command's name. Returns EXIT_OK, or EXIT_USAGE after one line on stderr. */
int options_parse(const struct command *command, int argc, char **argv, struct options *options);

enum stile_kv_format options_kv_format(const struct options *options);

/* The first of a command's options (FOR_...) that is not as usual and not one of `names`, which end with NULL; NULL when
 * there is none. */
const struct option *options_other(const struct options *options, unsigned command, const char *const *names);

/* Writes the value of an option ("0.8") or, for texts that were not given, "". */
void option_format(const struct option *option, const struct options *options, char *out, size_t capacity);

#endif
