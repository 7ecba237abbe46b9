#include "plan/machine_levels.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 4 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t n, double share)
{
    double at = share * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return n > 0 ? quantile(values, n, 0.5) : 0;
}

/* Half the distance between the quartiles, of values around 1. */
static double spread(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return n > 1 ? (quantile(values, n, 0.75) - quantile(values, n, 0.25)) / 2 : 0;
}

static int group_of(const struct stile_measurement *m, uint32_t n_threads)
{
    switch (m->quantity) {
    case STILE_MATMUL:
    case STILE_MATMUL_NARROW:
    case STILE_MATMUL_FEW:
    case STILE_MATMUL_SOME: return m->n_threads == n_threads ? GROUP_PRODUCTS : m->n_threads == 1 ? GROUP_SINGLE : -1;
    case STILE_ATTENTION:
    case STILE_ATTENTION_TOKEN:
    case STILE_ATTENTION_NARROW:
    case STILE_ATTENTION_TOKEN_NARROW:
    case STILE_ELEMENTS: return GROUP_REST;
    case STILE_MATVEC: return GROUP_WEIGHTS;
    case STILE_MATVEC_CACHED: return GROUP_CACHED;
    default: return -1;
    }
}

/* The measurements of one group. */
struct polish {
    const struct stile_probe *probe;
    struct machine_levels *levels;
    size_t n;
    uint32_t members[STILE_PROBE_MAX];
    double pace[STILE_PROBE_SAMPLES_MAX];
    double scratch[STILE_PROBE_MAX * STILE_PROBE_SAMPLES_MAX];
};

static size_t find_paces(struct polish *p)
{
    size_t n_rounds = 0;
    for (uint32_t i = 0; i < STILE_PROBE_SAMPLES_MAX; i++) {
        size_t n = 0;
        for (size_t k = 0; k < p->n; k++) {
            const struct stile_measurement *m = &p->probe->measurements[p->members[k]];
            if (i < m->n_samples) p->scratch[n++] = m->samples[i] / p->levels->level[p->members[k]];
        }
        if (n == 0) break;
        p->pace[n_rounds++] = median(p->scratch, n);
    }
    memcpy(p->scratch, p->pace, n_rounds * sizeof *p->pace);
    double usual = median(p->scratch, n_rounds);
    for (size_t i = 0; i < n_rounds; i++)
        p->pace[i] /= usual;
    return n_rounds;
}

static void find_levels(struct polish *p)
{
    for (size_t k = 0; k < p->n; k++) {
        const struct stile_measurement *m = &p->probe->measurements[p->members[k]];
        for (uint32_t i = 0; i < m->n_samples; i++)
            p->scratch[i] = m->samples[i] / p->pace[i];
        p->levels->level[p->members[k]] = median(p->scratch, m->n_samples);
    }
}

static void polish(struct polish *p, int group)
{
    size_t n_rounds = 0, n = 0;
    p->n = 0;
    for (uint32_t i = 0; i < p->probe->n; i++)
        if (p->levels->level[i] > 0 && group_of(&p->probe->measurements[i], p->levels->n_threads) == group)
            p->members[p->n++] = i;
    if (p->n == 0) return;
    for (int i = 0; i < ROUNDS; i++) {
        n_rounds = find_paces(p);
        find_levels(p);
    }
    for (size_t k = 0; k < p->n; k++) {
        const struct stile_measurement *m = &p->probe->measurements[p->members[k]];
        for (uint32_t i = 0; i < m->n_samples; i++)
            p->scratch[n++] = m->samples[i] / (p->levels->level[p->members[k]] * p->pace[i]);
    }
    p->levels->rest_spread[group] = spread(p->scratch, n);
    p->levels->pace_spread[group] = spread(p->pace, n_rounds);
}

void machine_levels_find(struct machine_levels *levels, const struct stile_probe *probe)
{
    struct polish *p = malloc(sizeof *p);
    memset(levels, 0, sizeof *levels);
    for (uint32_t i = 0; i < probe->n; i++) {
        levels->level[i] = probe->measurements[i].median;
        if (probe->measurements[i].quantity == STILE_ELEMENTS) levels->n_threads = probe->measurements[i].n_threads;
    }
    if (!p) return; /* then medians have to do */
    p->probe = probe;
    p->levels = levels;
    for (int group = 0; group < GROUP_COUNT; group++)
        polish(p, group);
    free(p);
}

double machine_level(const struct machine_levels *levels, const struct stile_probe *probe, enum stile_quantity quantity,
                     uint32_t n_threads, uint64_t size_bytes, const char *format)
{
    const struct stile_measurement *m = stile_probe_find(probe, quantity, n_threads, size_bytes, format);
    return m ? levels->level[m - probe->measurements] : 0;
}
