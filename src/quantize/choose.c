#include "quantize/choose.h"

#include <stdlib.h>

/* From one choice of an item to the next on its hull. */
struct step {
    size_t item, from, to;
    uint64_t bytes;
    double gain; /* of loss */
};

struct choosing {
    struct choose_item *items;
    size_t n;
    struct step *steps;
    size_t n_steps;
};

/* The smallest choice; of those the best. */
static size_t smallest(const struct choose_item *item)
{
    size_t best = 0;
    for (size_t i = 1; i < item->n_choices; i++) {
        const struct choice *a = &item->choices[i], *b = &item->choices[best];
        if (a->size_bytes < b->size_bytes || (a->size_bytes == b->size_bytes && a->loss < b->loss)) best = i;
    }
    return best;
}

/* The choice that gains most for its bytes, coming from `from`; `from` itself when none gains. */
static size_t steepest(const struct choose_item *item, size_t from)
{
    const struct choice *at = &item->choices[from];
    size_t best = from;
    double most = 0;
    for (size_t i = 0; i < item->n_choices; i++) {
        const struct choice *c = &item->choices[i];
        if (c->size_bytes <= at->size_bytes || !(c->loss < at->loss)) continue;
        double slope = (at->loss - c->loss) / (double)(c->size_bytes - at->size_bytes);
        bool further = slope == most && c->size_bytes > item->choices[best].size_bytes;
        if (slope > most || further) {
            most = slope;
            best = i;
        }
    }
    return best;
}

static void add_steps(struct choosing *c, size_t i)
{
    const struct choose_item *item = &c->items[i];
    for (size_t from = item->chosen, to; (to = steepest(item, from)) != from; from = to) {
        const struct choice *a = &item->choices[from], *b = &item->choices[to];
        c->steps[c->n_steps++] = (struct step){i, from, to, b->size_bytes - a->size_bytes, a->loss - b->loss};
    }
}

static int by_slope(const void *a, const void *b)
{
    const struct step *x = a, *y = b;
    double slope_x = x->gain / (double)x->bytes, slope_y = y->gain / (double)y->bytes;
    if (slope_x != slope_y) return slope_x > slope_y ? -1 : 1;
    if (x->item != y->item) return x->item < y->item ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; /* equal slopes of one item do not occur */
}

/* Climbs as far as the budget goes. The first step that does not fit would, in part, give the bound. */
static void climb(struct choosing *c, uint64_t budget_bytes, struct choose_result *result)
{
    bool full = false;
    result->bound = result->loss;
    for (size_t i = 0; i < c->n_steps; i++) {
        const struct step *step = &c->steps[i];
        uint64_t left = budget_bytes - result->size_bytes;
        bool fits = step->bytes <= left && c->items[step->item].chosen == step->from;
        if (!full) result->bound -= fits ? step->gain : step->gain * (double)left / (double)step->bytes;
        full |= !fits;
        if (!fits) continue;
        c->items[step->item].chosen = step->to;
        result->size_bytes += step->bytes;
        result->loss -= step->gain;
    }
}

/* The one change within `left` bytes that gains most; false when none does. */
static bool best_change(const struct choosing *c, uint64_t left, struct step *best)
{
    *best = (struct step){0};
    for (size_t i = 0; i < c->n; i++) {
        const struct choose_item *item = &c->items[i];
        const struct choice *at = &item->choices[item->chosen];
        for (size_t j = 0; j < item->n_choices; j++) {
            const struct choice *to = &item->choices[j];
            if (to->size_bytes < at->size_bytes || to->size_bytes - at->size_bytes > left) continue;
            if (at->loss - to->loss > best->gain)
                *best = (struct step){i, item->chosen, j, to->size_bytes - at->size_bytes, at->loss - to->loss};
        }
    }
    return best->gain > 0;
}

int choose(struct choose_item *items, size_t n, uint64_t budget_bytes, struct choose_result *result, bool *possible,
           struct stile_error *error)
{
    struct choosing c = {.items = items, .n = n};
    struct step step;
    size_t n_most = 0;
    *result = (struct choose_result){0};
    for (size_t i = 0; i < n; i++) {
        items[i].chosen = smallest(&items[i]);
        result->size_bytes += items[i].choices[items[i].chosen].size_bytes;
        result->loss += items[i].choices[items[i].chosen].loss;
        n_most += items[i].n_choices;
    }
    result->least_bytes = result->size_bytes;
    *possible = result->size_bytes <= budget_bytes;
    if (!*possible) return 0;
    c.steps = calloc(n_most + 1, sizeof *c.steps);
    if (!c.steps) return error_memory(error, n_most * sizeof *c.steps, "choosing formats");
    for (size_t i = 0; i < n; i++)
        add_steps(&c, i);
    qsort(c.steps, c.n_steps, sizeof *c.steps, by_slope);
    climb(&c, budget_bytes, result);
    while (best_change(&c, budget_bytes - result->size_bytes, &step)) {
        items[step.item].chosen = step.to;
        result->size_bytes += step.bytes;
        result->loss -= step.gain;
    }
    free(c.steps);
    return 0;
}
