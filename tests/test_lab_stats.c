/* Statistics of timings, against values worked out by hand. */
#include "lab/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void check(double value, double expected)
{
    if (value < expected - 1e-9 || value > expected + 1e-9) fail_msg("%.12g is not %.12g", value, expected);
}

static void odd_and_even(void **state)
{
    (void)state;
    struct stats stats;
    const double five[] = {7, 1, 3, 100, 4};
    stats_of(five, 5, &stats);
    assert_int_equal(stats.n, 5);
    check(stats.median, 4);
    check(stats.min, 1);
    check(stats.max, 100);
    check(stats.mad, 3); /* distances 3 3 1 96 0 */
    check(five[0], 7);
    stats_of(five, 4, &stats); /* 1 3 7 100 */
    check(stats.median, 5);
    check(stats.mad, 3); /* 4 2 2 95 */
    stats_of(five, 1, &stats);
    check(stats.median, 7);
    check(stats.low, 7);
    check(stats.high, 7);
    check(stats.confidence, 0);
    stats_of(five, 0, &stats);
    assert_int_equal(stats.n, 0);
    check(stats_spread(&stats), 0);
}

/* P(Binomial(n, 1/2) < k): n 5: 1/32; n 7: 1/128, 8/128; n 8: 1/256, 9/256, 37/256; n 20, k 6: 21700/2^20. */
static void intervals(void **state)
{
    (void)state;
    struct stats stats;
    double samples[20];
    for (int i = 0; i < 20; i++)
        samples[i] = 20 - i; /* falling: order must not matter */
    const struct {
        size_t n;
        double low, high, confidence; /* of 20 - n + 1 .. 20 */
    } cases[] = {
        {2, 19, 20, 0.5},
        {3, 18, 20, 0.75},
        {5, 16, 20, 0.9375},
        {7, 14, 20, 1 - 2.0 / 128},             /* one further in: 0.875, too little */
        {8, 14, 19, 1 - 2 * 9.0 / 256},         /* second to second last */
        {20, 6, 15, 1 - 2 * 21700.0 / 1048576}, /* sixth to sixth last: 0.9586; the seventh has 0.885 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stats_of(samples, cases[i].n, &stats);
        check(stats.low, cases[i].low);
        check(stats.high, cases[i].high);
        check(stats.confidence, cases[i].confidence);
    }
    stats_of(samples, 5, &stats); /* 16 .. 20 around 18 */
    check(stats_spread(&stats), 2.0 / 18);
}

static void many_samples(void **state)
{
    (void)state;
    static double samples[STATS_SAMPLES_MAX];
    struct stats stats;
    for (int i = 0; i < STATS_SAMPLES_MAX; i++)
        samples[i] = i + 1;
    stats_of(samples, STATS_SAMPLES_MAX, &stats);
    check(stats.median, 512.5);
    /* by the normal approximation 512 - 1.645 * 16 = 485.7 */
    assert_in_range((uintmax_t)stats.low, 484, 488);
    check(stats.high, 1025 - stats.low);
    assert_true(stats.confidence >= 0.9 && stats.confidence < 0.91);
}

static void paired(void **state)
{
    (void)state;
    struct stats ratio;
    /* both drift down by half, the ratio does not */
    const double a[] = {100, 80, 60, 50, 0}, b[] = {200, 160, 126, 100, 1};
    stats_paired_ratio(a, b, 5, &ratio);
    assert_int_equal(ratio.n, 4);
    check(ratio.median, 2);
    check(ratio.min, 2);
    check(ratio.max, 2.1);
}

static void ratios(void **state)
{
    (void)state;
    struct stats a, b;
    const double slow[] = {10, 11, 9, 10, 10}, fast[] = {12, 12.5, 11.5, 12, 12}, middle[] = {11, 10.5, 12, 11, 11};
    stats_of(slow, 5, &a);
    stats_of(fast, 5, &b);
    struct stats_ratio ratio = stats_ratio_of(&a, &b);
    check(ratio.ratio, 1.2);
    check(ratio.low, 11.5 / 11);
    check(ratio.high, 12.5 / 9);
    assert_true(ratio.beyond_noise);
    ratio = stats_ratio_of(&b, &a);
    check(ratio.ratio, 10 / 12.0);
    assert_true(ratio.beyond_noise);
    stats_of(middle, 5, &b); /* 10.5 .. 12 overlaps 9 .. 11 */
    assert_false(stats_ratio_of(&a, &b).beyond_noise);
    stats_of(fast, 1, &b); /* one sample proves nothing */
    assert_false(stats_ratio_of(&a, &b).beyond_noise);
    stats_of(fast, 0, &b);
    check(stats_ratio_of(&b, &a).ratio, 0);
}

static void halves(void **state)
{
    (void)state;
    const double shifted[] = {10, 11, 10, 50, 8, 9, 8}, mixed[] = {10, 11, 10, 10.5, 10, 9};
    check(stats_halves_shift(shifted, 7), -0.2); /* the middle one counts for nothing */
    check(stats_halves_shift(mixed, 6), 0);
    check(stats_halves_shift(shifted, 3), 0);
    const double rising[] = {1, 1, 2, 2};
    check(stats_halves_shift(rising, 4), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_and_even), cmocka_unit_test(intervals), cmocka_unit_test(many_samples),
        cmocka_unit_test(paired),       cmocka_unit_test(ratios),    cmocka_unit_test(halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
