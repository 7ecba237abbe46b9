/* The quantizers, judged by the decoder: what error they leave on numbers like weights, that they never make anything
 * but finite numbers, that importance counts, and that the bytes are the same on every machine. */
#include "base/bytes.h"
#include "format/encode.h"
#include "format/encode_tables.h"
#include "format/smallfloat.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N = 25600 };

static uint64_t random_state;

static uint64_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 11;
}

static double uniform(void)
{
    return (double)(random_bits() + 1) * 0x1p-53;
}

static double normal(void)
{
    double radius = sqrt(-2 * log(uniform()));
    return radius * cos(6.283185307179586 * uniform());
}

/* Encodes to an odd address and decodes; the relative root of the weighted mean square error. */
static double round_trip(enum format format, const float *x, size_t n, const float *importance, float *y)
{
    const struct format_info *info = format_info(format);
    size_t n_bytes = n / info->block_elements * info->block_bytes;
    uint8_t *bytes = malloc(n_bytes + 2);
    assert_non_null(bytes);
    bytes[n_bytes + 1] = 77;
    format_encode(format, x, n, importance, bytes + 1);
    assert_int_equal(bytes[n_bytes + 1], 77);
    format_decode(format, bytes + 1, n, y);
    free(bytes);
    double error = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        double w = importance ? (double)importance[i] : 1, rest = (double)x[i] - (double)y[i];
        error += w * rest * rest;
        all += w * (double)x[i] * (double)x[i];
    }
    return all > 0 ? sqrt(error / all) : sqrt(error);
}

/* Relative error on N(0, 0.02^2). `published`: section 3.4 of the format reference, the better of its two columns; for
 * formats that it has not, ggml 0.25.3 with an importance of all ones. `reached`: what these quantizers do. */
static const struct quality {
    enum format format;
    double published, reached;
} qualities[] = {
    {FORMAT_F32, 0, 0},
    {FORMAT_F16, 0.00021, 0.00021},
    {FORMAT_BF16, 0.00167, 0.00166},
    {FORMAT_Q8_0, 0.0054, 0.00502},
    {FORMAT_Q6_K, 0.0174, 0.01649},
    {FORMAT_Q5_1, 0.0338, 0.03328},
    {FORMAT_Q5_K, 0.0356, 0.03432},
    {FORMAT_Q5_0, 0.0406, 0.04013},
    {FORMAT_Q4_1, 0.0702, 0.06930},
    {FORMAT_Q4_K, 0.0710, 0.06979},
    {FORMAT_IQ4_NL, 0.0750, 0.07350},
    {FORMAT_IQ4_XS, 0.0757, 0.07398},
    {FORMAT_Q4_0, 0.0819, 0.08154},
    {FORMAT_NVFP4, 0.0813, 0.08148}, /* with the tensor's scale */
    {FORMAT_MXFP4, 0.1140, 0.11214},
    {FORMAT_IQ3_S, 0.1372, 0.12857},
    {FORMAT_Q3_K, 0.1448, 0.14358},
    {FORMAT_IQ3_XXS, 0.1819, 0.17737},
    {FORMAT_IQ2_S, 0.2491, 0.23744},
    {FORMAT_Q2_K, 0.2686, 0.25915},
    {FORMAT_IQ2_XS, 0.2995, 0.28409},
    {FORMAT_IQ2_XXS, 0.3438, 0.32707},
    {FORMAT_Q2_0, 0.7191, 0.35149},
    {FORMAT_IQ1_M, 0.4516, 0.41222},
    {FORMAT_IQ1_S, 0.4866, 0.44470},
    {FORMAT_TQ1_0, 0.8110, 0.43463},
    {FORMAT_TQ2_0, 0.8110, 0.43463},
    {FORMAT_Q1_0, 0.6011, 0.60050},
};
enum { N_QUALITIES = sizeof qualities / sizeof *qualities };

static void error_is_as_small_as_published(void **state)
{
    (void)state;
    static float x[N], y[N], same[N];
    random_state = 1;
    for (int i = 0; i < N; i++) {
        x[i] = (float)(0.02 * normal());
        same[i] = 1;
    }
    for (int q = 0; q < N_QUALITIES; q++) {
        const struct quality *quality = &qualities[q];
        const char *name = format_info(quality->format)->name;
        static float scaled[N];
        float scale = quality->format == FORMAT_NVFP4 ? format_nvfp4_tensor_scale(x, N) : 1;
        for (int i = 0; i < N; i++)
            scaled[i] = x[i] / scale;
        double error = round_trip(quality->format, scaled, N, same, y);
        print_message("%-8s %.5f, published %.5f\n", name, error, quality->published);
        if (error > 1.01 * quality->published) fail_msg("%s: %g is worse than published", name, error);
        if (error > 1.001 * quality->reached) fail_msg("%s: %g was %g before", name, error, quality->reached);
    }
}

static void every_format_of_weights_is_judged(void **state)
{
    (void)state;
    for (uint32_t id = 0; id < FORMAT_COUNT; id++) {
        const struct format_info *info = format_info(id);
        bool judged = false;
        for (int q = 0; q < N_QUALITIES; q++)
            judged |= qualities[q].format == (enum format)id;
        if (info) assert_int_equal(judged, info->decode != NULL);
    }
}

/* Errors where it counts are smaller than without importance, and elements that do not count change nothing. */
static void importance_counts(void **state)
{
    (void)state;
    static float x[5120], y[5120], w[5120];
    random_state = 2;
    for (int i = 0; i < 5120; i++) {
        x[i] = (float)(0.02 * normal());
        w[i] = i % 4 == 0 ? 20.0f : 0.05f;
    }
    for (int q = 0; q < N_QUALITIES; q++) {
        enum format format = qualities[q].format;
        if (format == FORMAT_F32 || format == FORMAT_F16 || format == FORMAT_BF16) continue;
        double error = 0, all = 0;
        round_trip(format, x, 5120, NULL, y);
        for (int i = 0; i < 5120; i++) {
            error += (double)w[i] * pow((double)x[i] - (double)y[i], 2);
            all += (double)w[i] * pow((double)x[i], 2);
        }
        double with = round_trip(format, x, 5120, w, y), without = sqrt(error / all);
        if (!(with < without)) fail_msg("%s: %g with, %g without", format_info(format)->name, with, without);
    }
}

/* Values no model should have. Decoded they must be finite, and of the size of what went in. */
static float odd_value(int kind, int i)
{
    switch (kind) {
    case 0: return 0;
    case 1: return 1;
    case 2: return -0.75f;
    case 3: return i % 2 ? 1.0f : -1.0f;
    case 4: return i % 256 == 77 ? -100.0f : 0;                      /* a spike */
    case 5: return i % 256 == 5 ? 1000.0f : 0.001f * (float)(i % 7); /* above others */
    case 6: return (float)(normal() * 1e-8);                         /* scales vanish in a half float */
    case 7: return (float)(normal() * 1e-40);                        /* subnormal */
    case 8: return (float)(normal() * 60000);
    case 9: return (float)(normal() * 1e30);           /* scales do not fit a half float */
    case 10: return i % 64 < 32 ? 0 : (float)normal(); /* empty sub-blocks */
    case 11: return (float)fabs(normal()) + 3;         /* all positive */
    case 12: return -(float)fabs(normal()) - 3;
    default: return i % 2 ? 3.0e38f : -3.0e38f;
    }
}

static void odd_numbers_stay_finite(void **state)
{
    (void)state;
    enum { KINDS = 14, M = 512 };
    float x[M], y[M], w[M];
    random_state = 3;
    for (int kind = 0; kind < KINDS; kind++) {
        double amax = 0;
        for (int i = 0; i < M; i++) {
            x[i] = odd_value(kind, i);
            amax = fmax(amax, fabs((double)x[i]));
            w[i] = i % 3 == 0 ? 0 : (float)(i % 5);
        }
        for (int q = 0; q < 2 * N_QUALITIES; q++) {
            enum format format = qualities[q / 2].format;
            const char *name = format_info(format)->name;
            round_trip(format, x, M, q % 2 ? w : NULL, y);
            for (int i = 0; i < M; i++)
                if (!isfinite(y[i]) || fabs((double)y[i]) > 2.5 * amax)
                    fail_msg("%s, kind %d: element %d is %g for %g", name, kind, i, (double)y[i], (double)x[i]);
            if (kind == 1 && q % 2 == 0 && qualities[q / 2].reached < 0.2)
                for (int i = 0; i < M; i++)
                    if (fabsf(y[i] - 1) > 0.25f) fail_msg("%s: element %d of ones is %g", name, i, (double)y[i]);
        }
    }
}

/* Scales of one encoding, codes of other numbers: what format_round returns is what is decoded then, the nearest that
 * the scales allow, and no other element changes. */
static void elements_are_rounded_alone(void **state)
{
    (void)state;
    int n_formats = 0;
    random_state = 6;
    for (uint32_t id = 0; id < FORMAT_COUNT; id++) {
        const struct format_info *info = format_info(id);
        if (!info || !format_rounds((enum format)id)) continue;
        float x[256], y[256], now[256];
        uint8_t block[256], again[256];
        int n = (int)info->block_elements;
        for (int i = 0; i < n; i++)
            x[i] = (float)normal();
        format_encode((enum format)id, x, (size_t)n, NULL, block);
        memcpy(again, block, sizeof block);
        info->decode(block, 1, y);
        for (int i = 0; i < n; i++) {
            float before = y[i], value = (float)normal();
            float own = format_round((enum format)id, block, i, x[i]);
            if (fabsf(own - x[i]) > 1.00001f * fabsf(before - x[i]))
                fail_msg("%s: element %d, %g, became %g, was %g", info->name, i, (double)x[i], (double)own,
                         (double)before);
            y[i] = format_round((enum format)id, block, i, value);
            info->decode(block, 1, now);
            for (int k = 0; k < n; k++)
                if (now[k] != y[k]) fail_msg("%s: element %d is %g", info->name, k, (double)now[k]);
        }
        for (int i = 0; i < n; i++)
            format_round((enum format)id, block, i, x[i]);
        info->decode(block, 1, y);
        info->decode(again, 1, now);
        for (int i = 0; i < n; i++)
            assert_true(fabsf(y[i] - x[i]) <= 1.00001f * fabsf(now[i] - x[i]));
        n_formats++;
    }
    assert_int_equal(n_formats, 14);
}

static void all_weights_may_be_worth_nothing(void **state)
{
    (void)state;
    float x[256], y[256], w[256] = {0};
    random_state = 4;
    for (int i = 0; i < 256; i++)
        x[i] = (float)normal();
    for (int q = 0; q < N_QUALITIES; q++) {
        round_trip(qualities[q].format, x, 256, w, y);
        for (int i = 0; i < 256; i++)
            assert_true(isfinite(y[i]));
    }
}

/* Block scales that make the largest element 6, as most writers of NVFP4 do, and nearest codes. */
static double plain_nvfp4_error(const float *x, size_t n, const float *w)
{
    double error = 0;
    float amax = 0;
    for (size_t i = 0; i < n; i++)
        amax = fmaxf(amax, fabsf(x[i]));
    for (size_t at = 0; at < n; at += 16) {
        uint8_t block[36] = {0};
        float most = 0, scale = amax / (6 * 448);
        for (int i = 0; i < 16; i++)
            most = fmaxf(most, fabsf(x[at + (size_t)i] / scale));
        for (int code = 0; code < 127; code++)
            if (fabsf(6 * f32_from_ue4m3((uint8_t)code) - most) < fabsf(6 * f32_from_ue4m3(block[0]) - most))
                block[0] = (uint8_t)code;
        for (int i = 0; i < 16; i++) {
            size_t k = at + (size_t)i;
            float rest = x[k] - scale * format_round(FORMAT_NVFP4, block, i, x[k] / scale);
            error += (double)(w ? w[k] : 1) * (double)(rest * rest);
        }
    }
    return error;
}

/* Against the scale that only looks at the largest element, on heavy-tailed numbers: a quarter less without importance,
 * and two fifths with it. */
static void nvfp4_search_pays(void **state)
{
    (void)state;
    static float x[N], scaled[N], y[N], w[N];
    random_state = 7;
    for (int i = 0; i < N; i++) {
        x[i] = (float)(0.02 * normal() / sqrt(uniform() + uniform() + uniform()));
        w[i] = (float)exp(1.2 * normal());
    }
    float scale = format_nvfp4_tensor_scale(x, N);
    for (int k = 0; k < 2; k++) {
        const float *importance = k ? w : NULL;
        double plain = plain_nvfp4_error(x, N, importance), all = 0;
        for (int i = 0; i < N; i++)
            all += (double)(k ? w[i] : 1) * pow((double)x[i], 2);
        for (int i = 0; i < N; i++)
            scaled[i] = x[i] / scale;
        double ratio = pow(round_trip(FORMAT_NVFP4, scaled, N, importance, y), 2) * all / plain;
        print_message("squared error against plain: %.3f\n", ratio);
        assert_true(ratio < (k ? 0.58 : 0.76));
    }
}

static void nvfp4_scale_leaves_headroom(void **state)
{
    (void)state;
    float x[64] = {0};
    assert_true(format_nvfp4_tensor_scale(x, 64) == 1);
    x[9] = -6 * 256 * 0.5f;
    assert_true(format_nvfp4_tensor_scale(x, 64) == 0.5f);
}

/* FNV-1a over the blocks of one format, with and without importance. */
static uint64_t hash_of(const struct encode_table *table, enum format format, const float *x, const float *w, size_t n,
                        uint64_t hash)
{
    const struct format_info *info = format_info(format);
    size_t n_bytes = n / info->block_elements * info->block_bytes;
    uint8_t *blocks = malloc(n_bytes);
    assert_non_null(blocks);
    for (int k = 0; k < 2; k++) {
        table->encode(format, x, n, k ? w : NULL, blocks);
        for (size_t i = 0; i < n_bytes; i++)
            hash = (hash ^ blocks[i]) * 1099511628211u;
    }
    free(blocks);
    return hash;
}

/* On every instruction set, for numbers that are the same everywhere. A change of a quantizer changes the hash. */
static void bytes_are_the_same_everywhere(void **state)
{
    (void)state;
    enum { M = 2560 };
    static float x[M], w[M];
    random_state = 5;
    for (int i = 0; i < M; i++) {
        int64_t sum = -6 * (INT64_C(1) << 24);
        for (int k = 0; k < 12; k++)
            sum += (int64_t)(random_bits() >> 29); /* of 53 - 29 bits */
        x[i] = (float)sum * 0x1p-29f;
        w[i] = (float)(random_bits() >> 45);
    }
    for (int t = 0; encode_table_at(t); t++) {
        const struct encode_table *table = encode_table_at(t);
        uint64_t all = 14695981039346656037u;
        for (uint32_t id = 0; id < FORMAT_COUNT; id++) {
            const struct format_info *info = format_info(id);
            if (!info || !info->decode || info->block_elements == 1) continue;
            uint64_t best = hash_of(encode_table_at(0), (enum format)id, x, w, M, 0);
            if (hash_of(table, (enum format)id, x, w, M, 0) != best)
                fail_msg("%s: %s and %s differ", info->name, table->isa, encode_table_at(0)->isa);
            all = hash_of(table, (enum format)id, x, w, M, all);
        }
        print_message("%s: hash %016llx\n", table->isa, (unsigned long long)all);
        assert_true(all == 0xd9a22145ff99e1c8u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_is_as_small_as_published),
        cmocka_unit_test(every_format_of_weights_is_judged),
        cmocka_unit_test(importance_counts),
        cmocka_unit_test(odd_numbers_stay_finite),
        cmocka_unit_test(elements_are_rounded_alone),
        cmocka_unit_test(all_weights_may_be_worth_nothing),
        cmocka_unit_test(nvfp4_search_pays),
        cmocka_unit_test(nvfp4_scale_leaves_headroom),
        cmocka_unit_test(bytes_are_the_same_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
