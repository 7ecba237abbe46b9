/* noise.c - which of the things that disturb a measurement are worth a word. */
#include "lab/record.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const double steal_bound = 0.01, shift_bound = 0.05, mhz_bound = 0.05;

static void add(char *out, size_t capacity, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add(char *out, size_t capacity, const char *format, ...)
{
    size_t n = strlen(out);
    if (n > 0 && n + 3 < capacity) n += (size_t)snprintf(out + n, capacity - n, ", ");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out + n, capacity - n, format, arguments);
    va_end(arguments);
}

void record_noise(const struct bench_plan *plan, const struct bench_result *result, char *out, size_t capacity)
{
    const struct host_noise *noise = &result->noise;
    double shift = stats_halves_shift(result->samples, result->n_samples);
    *out = 0;
    if (result->interrupted) add(out, capacity, "stopped early");
    if (result->not_cold) add(out, capacity, "the file could not be dropped from the page cache");
    if (fabs(shift) > shift_bound) add(out, capacity, "the second half differs by %+.0f%%", 100 * shift);
    if (noise->steal_share > steal_bound)
        add(out, capacity, "the host took %.0f%% of the processors", 100 * noise->steal_share);
    if (noise->crowded)
        add(out, capacity, "others kept %.1f of %d processors busy", noise->others_processors,
            plan->host->n_processors);
    if (noise->mhz_begin > 0 && fabs(noise->mhz_end / noise->mhz_begin - 1) > mhz_bound)
        add(out, capacity, "the clock went from %.0f to %.0f MHz", noise->mhz_begin, noise->mhz_end);
    if (noise->n_throttled > 0) add(out, capacity, "slowed down for heat");
}
