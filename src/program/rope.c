#include "program/rope.h"

#include <math.h>

static const double two_pi = 6.283185307179586;

/* The pair whose wavelength makes `turns` turns within the original context. */
static double pair_of_turns(const struct rope *rope, uint32_t n_rot, double turns)
{
    return n_rot * log(rope->n_ctx_original / (two_pi * turns)) / (2 * log(rope->base));
}

static void stretch_yarn(const struct rope *rope, uint32_t n_rot, double *frequencies)
{
    double low = fmax(0, floor(pair_of_turns(rope, n_rot, rope->beta_fast)));
    double high = fmin(n_rot - 1, ceil(pair_of_turns(rope, n_rot, rope->beta_slow)));
    for (uint32_t i = 0; i < n_rot / 2; i++) {
        /* fast pairs keep their frequency, slow ones are stretched, those between are blended */
        double keep = 1 - fmin(1, fmax(0, (i - low) / fmax(0.001, high - low)));
        frequencies[i] = frequencies[i] / rope->factor * (1 - keep) + frequencies[i] * keep;
    }
}

void rope_frequencies(const struct rope *rope, uint32_t n_rot, const float *divisors, double *frequencies,
                      double *magnitude)
{
    for (uint32_t i = 0; i < n_rot / 2; i++) {
        frequencies[i] = pow(rope->base, -2.0 * i / n_rot);
        if (divisors) frequencies[i] /= (double)divisors[i];
    }
    *magnitude = 1;
    switch (rope->scaling) {
    case ROPE_SCALING_NONE: break;
    case ROPE_SCALING_LINEAR:
        for (uint32_t i = 0; i < n_rot / 2; i++)
            frequencies[i] /= rope->factor;
        break;
    case ROPE_SCALING_YARN:
        stretch_yarn(rope, n_rot, frequencies);
        *magnitude = rope->attention_factor * (1 + 0.1 * log(rope->factor));
        break;
    }
}

void rope_angles(const double *frequencies, double magnitude, uint32_t n_rot, uint32_t position, float *cosines,
                 float *sines)
{
    for (uint32_t i = 0; i < n_rot / 2; i++) {
        double angle = position * frequencies[i];
        cosines[i] = (float)(cos(angle) * magnitude);
        sines[i] = (float)(sin(angle) * magnitude);
    }
}
