/* probe_private.h - what probe.c and probe_kernels.c share. */
#ifndef STILE_RUN_PROBE_PRIVATE_H
#define STILE_RUN_PROBE_PRIVATE_H

#include "format/format.h"
#include "plan/machine.h"

struct threads;

enum { PROBE_COUNTS_MAX = 16 };

struct probe_work {
    const struct stile_probe_options *options;
    struct machine *machine;
    struct stile_probe *probe;
    double time_s;
    uint32_t n_samples;   /* of each measurement */
    uint32_t i, n;        /* of all samples, for the progress */
    uint32_t n_disturbed; /* samples of kernels during which others had a processor */
    int counts[PROBE_COUNTS_MAX], n_counts;
};

static inline bool probe_cancelled(const struct probe_work *work)
{
    return work->options->cancel && *work->options->cancel;
}

/* Takes one sample of m; share of the whole time is for all samples of it. Settings that can be measured side by side
 * take turns, so that what disturbs for a second costs each of them one sample and none of them all. */
void probe_sample(struct probe_work *work, const char *what, struct stile_measurement m, double share,
                  double (*pass)(void *subject, const struct stile_measurement *m, uint64_t time_ns), void *subject);

/* No more of size_bytes than can be touched in a small part of the time. */
size_t probe_affordable(const struct probe_work *work, size_t size_bytes);

/* probe_kernels.c: how fast the engine's own kernels are. */
int probe_kernels(struct probe_work *work, struct stile_error *error);
/* How many samples that takes, of which work->n_samples belong together. */
uint32_t probe_kernels_count(const struct probe_work *work);

struct products;
/* What is measured of products of many tokens (STILE_MATMUL), and of one with weights that caches hold
 * (STILE_MATVEC_CACHED). Their memory goes to *weights, for free; products_free is due, too, also after false. */
bool probe_matmul_create(struct products *p, struct threads *threads, enum format format, char **weights);
bool probe_cached_create(struct products *p, struct threads *threads, enum format format, char **weights);

#endif
