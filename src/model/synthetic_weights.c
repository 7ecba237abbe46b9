/* synthetic_weights.c - random weights, the same on every machine. */
#include "model/synthetic_private.h"

#include "format/encode.h"

#include <math.h>
#include <stdlib.h>

enum { POOL_MAX = 1 << 18, POOL_MIN = 1 << 12, RUN = 256 };

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t synthetic_random_u64(struct synthetic_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Mean 0, deviation 1: the sum of 12 uniform numbers of 21 bits, exact where libm's logarithms need not be. */
static float normal(struct synthetic_random *random)
{
    int32_t sum = -6 * ((1 << 21) - 1);
    for (int i = 0; i < 4; i++) {
        uint64_t bits = synthetic_random_u64(random);
        sum += (int32_t)(bits & 0x1fffff) + (int32_t)(bits >> 21 & 0x1fffff) + (int32_t)(bits >> 42 & 0x1fffff);
    }
    return (float)sum * 0x1p-21f;
}

/* As trained weights are: nearly normal, the deviation varies from place to place, and one in a thousand or so lies far
 * out. */
static void weights(struct synthetic_random *random, float deviation, float *x, size_t n)
{
    float local = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % RUN == 0) local = deviation * (0.75f + (float)(synthetic_random_u64(random) >> 40) * 0x1p-25f);
        x[i] = local * normal(random);
        if (synthetic_random_u64(random) >> 54 == 0) x[i] *= 3;
    }
}

int synthetic_pool_fill(struct synthetic_pool *pool, uint64_t seed, struct stile_error *error)
{
    const struct format_info *info = format_info(pool->format);
    struct synthetic_random random = {seed};
    uint64_t wanted = pool->n_used / 8 / RUN * RUN;
    size_t n = wanted > POOL_MAX ? POOL_MAX : wanted < POOL_MIN ? POOL_MIN : (size_t)wanted;
    float *x = malloc(n * sizeof *x);
    pool->n_blocks = n / info->block_elements;
    pool->blocks = malloc(pool->n_blocks * info->block_bytes);
    pool->scale = 1;
    if (!x || !pool->blocks) {
        free(x);
        return error_memory(error, n * sizeof *x, "random weights");
    }
    weights(&random, pool->deviation, x, n);
    if (pool->format == FORMAT_NVFP4) {
        pool->scale = format_nvfp4_tensor_scale(x, n);
        for (size_t i = 0; i < n; i++)
            x[i] /= pool->scale;
    }
    format_encode(pool->format, x, n, NULL, pool->blocks);
    free(x);
    return 0;
}

void synthetic_vector_fill(const struct synthetic_vector *vector, uint64_t seed, float *x, size_t n)
{
    struct synthetic_random random = {seed};
    for (size_t i = 0; i < n; i++) {
        x[i] = vector->offset_deviation > 0 ? vector->offset_deviation * normal(&random)
                                            : vector->mean * (1 + vector->spread * normal(&random));
        uint64_t bits = synthetic_random_u64(&random);
        if (vector->outliers && bits % 256 == 0) x[i] *= 3 + (float)(bits >> 62);
    }
}

/* How far out, in deviations, the upper part p of normal numbers begins, within 0.0005 for p <= 0.5 (Abramowitz and Stegun
 * 26.2.23). */
static double upper_quantile(double p)
{
    double t = sqrt(-2 * log(p));
    return t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
}

int synthetic_router_fill(const struct hparams *hparams, uint64_t seed, float *x, struct stile_error *error)
{
    uint32_t n = hparams->n_experts, cols = hparams->d_model;
    struct synthetic_random random = {seed};
    double offset = 1 + 0.03 * n, sum = 0;
    uint32_t *ranks = malloc(n * sizeof *ranks);
    if (!ranks) return error_memory(error, n * sizeof *ranks, "a router");
    for (uint32_t i = 0; i < n; i++) { /* shuffled: who is the most popular */
        uint32_t j = (uint32_t)((synthetic_random_u64(&random) >> 32) * (i + 1) >> 32);
        ranks[i] = ranks[j];
        ranks[j] = i;
        sum += 1 / (i + 1 + offset);
    }
    for (uint32_t i = 0; i < n; i++) {
        /* scores above 1.5 are meant to be chosen */
        double popularity = hparams->n_experts_used / (ranks[i] + 1 + offset) / sum;
        double deviation = 1.5 / upper_quantile(popularity < 0.3 ? popularity : 0.3) / sqrt(cols);
        for (uint32_t k = 0; k < cols; k++)
            x[(size_t)i * cols + k] = (float)deviation * normal(&random);
    }
    free(ranks);
    return 0;
}

void synthetic_rope_divisors(const struct hparams *hparams, float factor, float *x)
{
    const double low = 1, high = 4, n_ctx = 8192, two_pi = 6.283185307179586;
    for (uint32_t i = 0; i < hparams->n_rot / 2; i++) {
        double length = two_pi * pow(hparams->rope.base, 2.0 * i / hparams->n_rot),
               kept = (n_ctx / length - low) / (high - low);
        kept = kept < 0 ? 0 : kept > 1 ? 1 : kept;
        x[i] = (float)(1 / ((1 - kept) / (double)factor + kept));
    }
}
