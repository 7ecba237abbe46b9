/* machine_latency.c - how long a load takes, by following a chain that no prefetcher can guess. */
#include "base/clock.h"
#include "plan/machine_measure.h"

enum { LINE_BYTES = 64 };

static uint64_t *line_at(const struct machine_area *area, uint64_t i)
{
    return (uint64_t *)(void *)(area->data + i * LINE_BYTES);
}

/* The first word of each line holds the number of the next one. Shuffling the identity by swapping each with an
 * earlier one, never with itself, leaves a single cycle (Sattolo, Information Processing Letters 22, 1986). */
void machine_latency_prepare(const struct machine_area *area, size_t size_bytes)
{
    uint64_t n = size_bytes / LINE_BYTES, state = 0x5717e;
    for (uint64_t i = 0; i < n; i++)
        *line_at(area, i) = i;
    for (uint64_t i = n - 1; i > 0 && n > 0; i--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        uint64_t *a = line_at(area, i), *b = line_at(area, state % i), swapped = *a;
        *a = *b;
        *b = swapped;
    }
}

double machine_latency_pass(const struct machine_area *area, uint64_t time_ns)
{
    enum { STEPS = 4096 };
    uint64_t begin_ns = clock_ns(), spent_ns, n_steps = 0, at = 0;
    const char *data = area->data;
    do {
        for (int i = 0; i < STEPS; i++)
            at = *(const uint64_t *)(const void *)(data + at * LINE_BYTES);
        __asm__ volatile("" : "+r"(at)); /* the walk has a result */
        n_steps += STEPS;
        spent_ns = clock_ns() - begin_ns;
    } while (spent_ns < time_ns);
    return (double)spent_ns / (double)n_steps;
}
