/* sweep.h - one model in many number formats: what each takes, what it costs in quality, how fast it is here.
 *
 * Formats are made one at a time, as a file in a folder of the caller's, measured, and removed again. Ready files can be
 * measured among them. The reference is the model itself, unless there is another.
 */
#ifndef STILE_LAB_SWEEP_H
#define STILE_LAB_SWEEP_H

#include "lab/estimate.h"
#include "lab/host.h"
#include "lab/quality.h"
#include "lab/stats.h"

enum { SWEEP_ENTRIES_MAX = 128 };

struct sweep_entry {
    char name[96];    /* "q4_k_m", "q4_k_m+imatrix", or the file's */
    const char *file; /* a ready one, or ... */
    char format[32];  /* ... what is to be made */
    bool with_imatrix;
};

struct sweep_plan {
    /* The model, the windows, the reference if it is not the model, the session's options. */
    struct quality_plan quality;
    const char *folder;  /* where files are made; empty before and after, unless it is stopped */
    bool keep_logits;    /* those of the model are kept there meanwhile, instead of evaluating it beside each format */
    const char *imatrix; /* a file; NULL: none */
    const struct sweep_entry *entries;
    size_t n_entries;
    const struct host *host;
    /* What is done for row i, before it is: "quantizing", "measuring"; and how far that is. May be NULL. */
    void (*on_progress)(void *user, size_t i_row, const char *what, double share);
    void (*on_warning)(void *user, const char *message);
    void *user;
};

/* The first row is the model as it is, the others are the plan's entries in their order. */
struct sweep_row {
    const struct sweep_entry *entry; /* NULL: the model */
    bool done;
    char failure[1000]; /* why it could not be measured, or "" */
    uint64_t size_bytes;
    double bits_per_weight, quantize_s;
    struct estimates estimates;
    struct stats prefill, decode; /* tokens per second: of 512, of 64 one by one; n is 0 where it was not measured */
    bool is_crowded;              /* others wanted the processors while that was measured */
    bool is_front;                /* by sweep_sort */
};

struct sweep {
    struct sweep_row *rows;
    size_t n_rows; /* 1 + n_entries */
};

/* The largest of the files that the plan makes; nothing is made. Unknown formats are an error here already. */
int sweep_size(const struct sweep_plan *plan, uint64_t *size_bytes, struct stile_error *error);
/* What fails in one row is said there, and the others go on. Also when it fails (CANCELLED), *sweep has the rows done; free it
 * in any case. */
int sweep_run(struct sweep *sweep, const struct sweep_plan *plan, struct stile_error *error);
void sweep_free(struct sweep *sweep);

/* Sorts by size, largest first, and marks the rows that no other but the model itself beats: none that is not larger has less
 * divergence. */
void sweep_sort(struct sweep *sweep);

#endif
