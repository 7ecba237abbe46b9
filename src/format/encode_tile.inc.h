/* encode_tile.inc.h - 256 elements at a time, 16 of them in each lane: all sums of the searches run down the lanes.
 *
 * Lane j of row i is element 16 j + i. A sub-block of 16 elements is one lane, one of 32 two neighbours, whose sums are
 * joined. Lanes do not know of each other otherwise, so it does not matter how many of them a vector of this machine
 * has. Vectors are the compiler's; only what it has no operator for is spelled out.
 */

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define ENCODE_INLINE static inline __attribute__((always_inline))

#if defined __AVX512F__
enum { WIDTH = 16 };
#elif defined __AVX2__
enum { WIDTH = 8 };
#else
enum { WIDTH = 4 };
#endif

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t vec_mask __attribute__((vector_size(4 * WIDTH)));

ENCODE_INLINE vec vec_load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

ENCODE_INLINE void vec_store(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

ENCODE_INLINE vec vec_all(float x)
{
    return (vec){0} + x;
}

/* Of a comparison: where it holds a, else b. */
ENCODE_INLINE vec vec_select(vec_mask mask, vec a, vec b)
{
    return (vec)((mask & (vec_mask)a) | (~mask & (vec_mask)b));
}

/* a > b ? a : b and a < b ? a : b: the second if one is a NaN. */
#if defined __AVX512F__
ENCODE_INLINE vec vec_max(vec a, vec b)
{
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
}

ENCODE_INLINE vec vec_min(vec a, vec b)
{
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
}
#elif defined __AVX2__
ENCODE_INLINE vec vec_max(vec a, vec b)
{
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
}

ENCODE_INLINE vec vec_min(vec a, vec b)
{
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
}
#elif defined __SSE2__
ENCODE_INLINE vec vec_max(vec a, vec b)
{
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
}

ENCODE_INLINE vec vec_min(vec a, vec b)
{
    return (vec)_mm_min_ps((__m128)a, (__m128)b);
}
#else
ENCODE_INLINE vec vec_max(vec a, vec b)
{
    return vec_select(a > b, a, b);
}

ENCODE_INLINE vec vec_min(vec a, vec b)
{
    return vec_select(a < b, a, b);
}
#endif

/* To the nearest integer, ties to even, where |v| < 2^22; what is larger stays large. */
ENCODE_INLINE vec vec_round(vec v)
{
    return (v + 0x1.8p23f) - 0x1.8p23f;
}

/* 1 / v, or 0 where that could be infinite. */
ENCODE_INLINE vec vec_inverse(vec v)
{
    return vec_select(vec_max(v, -v) >= 0x1p-126f, 1 / v, vec_all(0));
}

ENCODE_INLINE vec vec_sqrt(vec v)
{
#if defined __AVX512F__
    return (vec)_mm512_sqrt_ps((__m512)v);
#elif defined __AVX2__
    return (vec)_mm256_sqrt_ps((__m256)v);
#elif defined __SSE2__
    return (vec)_mm_sqrt_ps((__m128)v);
#else
    for (int i = 0; i < WIDTH; i++)
        v[i] = sqrtf(v[i]);
    return v;
#endif
}

/* The other lane of each pair. */
ENCODE_INLINE vec vec_swap(vec v)
{
#if defined __AVX512F__
    return __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
#elif defined __AVX2__
    return __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6);
#else
    return __builtin_shufflevector(v, v, 1, 0, 3, 2);
#endif
}

enum { TILE = 16, TILE_STRIPS = TILE / WIDTH };

struct tile {
    _Alignas(64) float x[TILE][TILE], w[TILE][TILE], wx[TILE][TILE];
};

/* Rows to columns, by squares of four. */
static void transpose(const float *from, float (*to)[TILE])
{
    typedef float four __attribute__((vector_size(16)));
    for (int i = 0; i < TILE; i += 4) {
        for (int j = 0; j < TILE; j += 4) {
            four r[4], pairs[4];
            for (int k = 0; k < 4; k++)
                memcpy(&r[k], from + TILE * (j + k) + i, sizeof r[k]);
            for (int k = 0; k < 2; k++) {
                pairs[k] = __builtin_shufflevector(r[k], r[k + 2], 0, 4, 1, 5);
                pairs[k + 2] = __builtin_shufflevector(r[k], r[k + 2], 2, 6, 3, 7);
            }
            for (int k = 0; k < 2; k++) {
                four even = __builtin_shufflevector(pairs[2 * k], pairs[2 * k + 1], 0, 4, 1, 5);
                four odd = __builtin_shufflevector(pairs[2 * k], pairs[2 * k + 1], 2, 6, 3, 7);
                memcpy(&to[i + 2 * k][j], &even, sizeof even);
                memcpy(&to[i + 2 * k + 1][j], &odd, sizeof odd);
            }
        }
    }
}

static void tile_load(struct tile *tile, const float *x, const float *w)
{
    transpose(x, tile->x);
    transpose(w, tile->w);
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < TILE; j++)
            tile->wx[i][j] = tile->w[i][j] * tile->x[i][j];
}

/* What one search works on: the columns of a vector. */
struct strip {
    const float *x, *w, *wx; /* row i at TILE * i */
    bool pairs;              /* two lanes are one sub-block */
};

ENCODE_INLINE struct strip tile_strip(const struct tile *tile, int s, bool pairs)
{
    return (struct strip){&tile->x[0][WIDTH * s], &tile->w[0][WIDTH * s], &tile->wx[0][WIDTH * s], pairs};
}

ENCODE_INLINE vec strip_sum(const struct strip *strip, vec v)
{
    return strip->pairs ? v + vec_swap(v) : v;
}

ENCODE_INLINE void strip_range(const struct strip *strip, vec *low, vec *high)
{
    vec l = vec_load(strip->x), h = l;
    for (int i = 1; i < TILE; i++) {
        l = vec_min(l, vec_load(strip->x + TILE * i));
        h = vec_max(h, vec_load(strip->x + TILE * i));
    }
    *low = strip->pairs ? vec_min(l, vec_swap(l)) : l;
    *high = strip->pairs ? vec_max(h, vec_swap(h)) : h;
}

/* The level nearest to v; the first for a NaN. */
ENCODE_INLINE vec vec_near(const struct levels *levels, vec v)
{
    if (levels->table) {
        /* as many rises as there are middles between neighbours below v */
        const int8_t *table = levels->table;
        vec value = vec_all((float)table[0]);
        for (int c = 0; c + 1 < levels->n; c++) {
            float rise = (float)(table[c + 1] - table[c]), middle = (float)table[c] + 0.5f * rise;
            value += (vec)((v > middle) & (vec_mask)vec_all(rise));
        }
        return value;
    }
    float top = (float)(levels->n - 1);
    if (levels->step == 1) return vec_min(vec_max(vec_round(v), vec_all(levels->first)), vec_all(levels->first + top));
    v = vec_round((v - levels->first) * (1 / levels->step));
    return levels->first + levels->step * vec_min(vec_max(v, vec_all(0)), vec_all(top));
}

/* Of each lane's sub-block, in both lanes of a pair. */
struct lane_fits {
    float scale[TILE], minimum[TILE];
    float mean[TILE], mean_level[TILE];  /* of elements and of their levels */
    float weight[TILE], weight_sq[TILE]; /* what an error of minimum and scale costs */
};

/* Sums over the levels nearest to x * inverse + shift. */
struct lane_sums {
    vec wl, wll, wxl;
};

ENCODE_INLINE struct lane_sums strip_sums(const struct strip *strip, const struct levels *levels, vec inverse,
                                          vec shift)
{
    struct lane_sums sums = {vec_all(0), vec_all(0), vec_all(0)};
    for (int i = 0; i < TILE; i++) {
        vec l = vec_near(levels, vec_load(strip->x + TILE * i) * inverse + shift);
        vec wl = vec_load(strip->w + TILE * i) * l;
        sums.wl += wl;
        sums.wll += wl * l;
        sums.wxl += vec_load(strip->wx + TILE * i) * l;
    }
    return (struct lane_sums){strip_sum(strip, sums.wl), strip_sum(strip, sums.wll), strip_sum(strip, sums.wxl)};
}

/* The scale alone (minimum 0) of each lane, from a sweep of what becomes of the element of largest magnitude; then the
 * best guess's solution as one guess more. Scales may be negative. */
ENCODE_INLINE void tile_fit_scale(const struct tile *tile, bool pairs, const struct levels *levels,
                                  const struct sweep *sweep, struct lane_fits *fits)
{
    float first = levels->table ? (float)levels->table[0] : levels->first;
    float last = levels->table ? (float)levels->table[levels->n - 1] : first + levels->step * (float)(levels->n - 1);
    for (int s = 0; s < TILE_STRIPS; s++) {
        struct strip strip = tile_strip(tile, s, pairs);
        vec low, high;
        strip_range(&strip, &low, &high);
        vec inverse_extreme = vec_inverse(vec_select(high >= -low, high, low));
        vec gain = vec_all(0), scale = vec_all(0), weight_sq = vec_all(0);
        for (int k = 0; k <= sweep->n; k++) {
            float end = k % 2 == 0 && first < 0 ? first : last;
            vec inverse =
                k < sweep->n ? inverse_extreme * (end * (sweep->first + sweep->step * (float)k)) : vec_inverse(scale);
            struct lane_sums sums = strip_sums(&strip, levels, inverse, vec_all(0));
            vec now_scale = sums.wxl * vec_inverse(sums.wll), now = now_scale * sums.wxl;
            vec_mask better = now > gain;
            gain = vec_select(better, now, gain);
            scale = vec_select(better, now_scale, scale);
            weight_sq = vec_select(better, sums.wll, weight_sq);
        }
        vec_store(fits->scale + WIDTH * s, scale);
        vec_store(fits->minimum + WIDTH * s, vec_all(0));
        vec_store(fits->mean + WIDTH * s, vec_all(0));
        vec_store(fits->mean_level + WIDTH * s, vec_all(0));
        vec_store(fits->weight_sq + WIDTH * s, weight_sq);
    }
}

/* Scale >= 0 and minimum of each lane; minimum <= 0 unless `any_minimum`. Least squares with what the weights make the
 * mean taken off first, which leaves one quotient. */
ENCODE_INLINE void tile_fit_line(const struct tile *tile, bool pairs, const struct levels *levels,
                                 const struct sweep *sweep, bool any_minimum, struct lane_fits *fits)
{
    float top = (float)(levels->n - 1);
    for (int s = 0; s < TILE_STRIPS; s++) {
        struct strip strip = tile_strip(tile, s, pairs);
        vec low, high, weight = vec_all(0), wx = vec_all(0), zero = vec_all(0);
        strip_range(&strip, &low, &high);
        for (int i = 0; i < TILE; i++) {
            weight += vec_load(strip.w + TILE * i);
            wx += vec_load(strip.wx + TILE * i);
        }
        weight = strip_sum(&strip, weight);
        vec inverse_weight = vec_inverse(weight), mean = strip_sum(&strip, wx) * inverse_weight;
        if (!any_minimum) low = vec_min(low, zero);
        vec inverse_range = vec_inverse(high - low);
        vec scale = zero, weight_sq = zero, minimum = any_minimum ? mean : vec_min(mean, zero);
        vec gain = -weight * (mean - minimum) * (mean - minimum);
        for (int k = 0; k <= sweep->n; k++) {
            /* what is clipped, or left over, is at the lower end and at the upper one in turn */
            vec inverse = inverse_range * (top * (sweep->first + sweep->step * (float)k));
            vec shift = k % 2 == 0 ? -low * inverse : top - high * inverse;
            if (k == sweep->n) {
                inverse = vec_inverse(scale);
                shift = -minimum * inverse;
            }
            struct lane_sums sums = strip_sums(&strip, levels, inverse, shift);
            vec mean_level = sums.wl * inverse_weight;
            vec wll = sums.wll - sums.wl * mean_level, wxl = sums.wxl - mean * sums.wl;
            vec_mask spread = wll > 1e-5f * sums.wll;
            vec now_scale = vec_select(spread, wxl * vec_inverse(wll), zero);
            vec now_minimum = mean - now_scale * mean_level, now = now_scale * wxl;
            if (!any_minimum) {
                vec alone = sums.wxl * vec_inverse(sums.wll), alone_gain = alone * sums.wxl - weight * mean * mean;
                vec_mask above = now_minimum > zero;
                now_minimum = vec_min(now_minimum, zero);
                now_scale = vec_select(above, alone, now_scale);
                now = vec_select(above, alone_gain, now);
            }
            vec_mask better = (now > gain) & (now_scale >= zero);
            gain = vec_select(better, now, gain);
            scale = vec_select(better, now_scale, scale);
            minimum = vec_select(better, now_minimum, minimum);
            weight_sq = vec_select(better, sums.wll, weight_sq);
        }
        vec_store(fits->scale + WIDTH * s, scale);
        vec_store(fits->minimum + WIDTH * s, minimum);
        vec_store(fits->mean + WIDTH * s, mean);
        vec_store(fits->mean_level + WIDTH * s, (mean - minimum) * vec_inverse(scale));
        vec_store(fits->weight + WIDTH * s, weight);
        vec_store(fits->weight_sq + WIDTH * s, weight_sq);
    }
}

/* Codes of 16 elements in a row, with the same scale and minimum. */
ENCODE_INLINE void encode_lane(const struct levels *levels, const float *x, float scale, float minimum, uint8_t *codes)
{
    float inverse = fabsf(scale) >= 0x1p-126f ? 1 / scale : 0;
    for (int i = 0; i < TILE; i += WIDTH) {
        vec v = (vec_load(x + i) - minimum) * inverse;
        vec_mask code = {0};
        for (int c = 0; levels->table && c + 1 < levels->n; c++)
            code -= v > 0.5f * (float)(levels->table[c] + levels->table[c + 1]);
        if (!levels->table)
            code = __builtin_convertvector((vec_near(levels, v) - levels->first) * (1 / levels->step), vec_mask);
        int32_t wide[WIDTH];
        memcpy(wide, &code, sizeof wide);
        for (int k = 0; k < WIDTH; k++)
            codes[i + k] = (uint8_t)wide[k];
    }
}
