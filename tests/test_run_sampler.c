/* Sampling: the distribution against its formula computed in the plain way here, draws against the distribution by
 * chi-square, the repeat penalty, greedy, seeds, and inputs that make no sense. */
#include "run/random.h"
#include "stile.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <cmocka.h>

enum { N_MAX = 30000 };

/* ---- the formula: penalty, sort, top-k, softmax, top-p, min-p, one step after another ---- */

struct entry {
    int32_t token;
    double logit, p;
};

static int by_likelihood(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

/* Returns how many tokens may be drawn; their probabilities sum to 1. */
static size_t expected_distribution(const struct stile_sampler_options *o, const float *logits, size_t n_vocab,
                                    const int32_t *recent, size_t n_recent, struct entry *entries)
{
    size_t n = 0;
    for (size_t t = 0; t < n_vocab; t++) {
        if (!isfinite(logits[t])) continue;
        float logit = logits[t];
        bool is_recent = false;
        size_t first =
            o->repeat_last_n >= 0 && n_recent > (size_t)o->repeat_last_n ? n_recent - (size_t)o->repeat_last_n : 0;
        for (size_t i = first; i < n_recent; i++)
            is_recent |= recent[i] == (int32_t)t;
        if (is_recent) logit = logit > 0 ? logit / o->repeat_penalty : logit * o->repeat_penalty;
        entries[n++] = (struct entry){(int32_t)t, (double)logit, 0};
    }
    qsort(entries, n, sizeof *entries, by_likelihood);
    if (o->temperature == 0 && n > 0) n = 1;
    if (o->top_k > 0 && n > (size_t)o->top_k) n = (size_t)o->top_k;
    long double sum = 0, reached = 0;
    for (size_t i = 0; i < n; i++) {
        double x = n == 1 ? 0 : (entries[i].logit - entries[0].logit) / (double)o->temperature;
        entries[i].p = exp(x);
        sum += (long double)entries[i].p;
    }
    size_t n_kept = 0;
    for (; n_kept < n && entries[n_kept].p > 0; n_kept++) {
        if (o->top_p < 1 && reached / sum >= (long double)o->top_p) break;
        if (entries[n_kept].p < (double)o->min_p) break;
        reached += (long double)entries[n_kept].p;
    }
    for (size_t i = 0; i < n_kept; i++)
        entries[i].p = (double)((long double)entries[i].p / reached);
    return n_kept;
}

static struct stile_sampler *new_sampler(struct stile_sampler_options options)
{
    struct stile_sampler *sampler = NULL;
    struct stile_error error;
    if (stile_sampler_create(&sampler, &options, &error) != 0) fail_msg("%s", error.message);
    return sampler;
}

static const struct stile_sampler_options everything = {.temperature = 1, .top_p = 1, .repeat_penalty = 1};

/* Normal-ish logits with ties, infinities and NaN among them. */
static void make_logits(struct random *random, float *logits, size_t n, double spread)
{
    for (size_t i = 0; i < n; i++) {
        double sum = -6;
        for (int j = 0; j < 12; j++)
            sum += random_uniform(random);
        logits[i] = (float)(sum * spread);
        switch (random_next(random) % 16) {
        case 0: logits[i] = -INFINITY; break;
        case 1: logits[i] = i % 2 ? NAN : INFINITY; break;
        case 2:
        case 3: logits[i] = logits[i / 2]; break;
        case 4: logits[i] = roundf(logits[i]); break;
        default: break;
        }
    }
}

static void check_distribution(const struct stile_sampler_options *options, const float *logits, size_t n,
                               const int32_t *recent, size_t n_recent)
{
    static struct entry entries[N_MAX];
    static int32_t tokens[N_MAX];
    static float probabilities[N_MAX];
    struct stile_sampler *sampler = new_sampler(*options);
    for (size_t i = 0; i < n_recent; i++)
        stile_sampler_accept(sampler, recent[i]);
    size_t n_expected = expected_distribution(options, logits, n, recent, n_recent, entries);
    size_t n_found = stile_sampler_distribution(sampler, logits, n, tokens, probabilities, n);
    bool same = n_found == n_expected;
    for (size_t i = 0; i < n_found && same; i++)
        same = tokens[i] == entries[i].token &&
               fabs((double)probabilities[i] - entries[i].p) <= 1e-6 * entries[i].p + 1e-30;
    if (!same)
        fail_msg("n %zu temperature %g top_k %d top_p %g min_p %g penalty %g: %zu candidates, expected %zu", n,
                 (double)options->temperature, (int)options->top_k, (double)options->top_p, (double)options->min_p,
                 (double)options->repeat_penalty, n_found, n_expected);
    stile_sampler_free(sampler);
}

static void distribution_follows_the_formula(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 7, 50, 700};
    static const float temperatures[] = {0, 0.3f, 1, 2.5f}, top_ps[] = {1, 0.95f, 0.5f, 1e-6f};
    static const float min_ps[] = {0, 0.05f, 0.5f, 1}, penalties[] = {1, 1.3f, 0.7f};
    static const int32_t top_ks[] = {0, 1, 5, 40, 10000}, last_ns[] = {64, 3, 0, -1};
    static float logits[N_MAX];
    struct random random;
    random_seed(&random, 1);
    int n_checked = 0;
    for (unsigned i = 0; i < 5 * 4 * 4 * 4 * 3 * 5; i++) {
        unsigned x = i;
        size_t n = sizes[x % 5];
        struct stile_sampler_options o = {.seed = i, .repeat_last_n = last_ns[i % 4]};
        o.temperature = temperatures[(x /= 5) % 4];
        o.top_p = top_ps[(x /= 4) % 4];
        o.min_p = min_ps[(x /= 4) % 4];
        o.repeat_penalty = penalties[(x /= 4) % 3];
        o.top_k = top_ks[x / 3];
        int32_t recent[100];
        for (int r = 0; r < 100; r++)
            recent[r] = (int32_t)(random_next(&random) % (n + 2));
        make_logits(&random, logits, n, 2);
        check_distribution(&o, logits, n, recent, random_next(&random) % 100);
        n_checked++;
    }
    make_logits(&random, logits, N_MAX, 3);
    check_distribution(&everything, logits, N_MAX, NULL, 0);
    struct stile_sampler_options defaults = stile_sampler_defaults();
    check_distribution(&defaults, logits, N_MAX, NULL, 0);
    defaults.top_k = 0;
    check_distribution(&defaults, logits, N_MAX, NULL, 0);
    print_message("%d distributions\n", n_checked + 3);
}

/* ---- draws ---- */

/* Pearson's statistic of n_draws against the formula; bins that expect fewer than 8 are pooled. Fails where a right
 * sampler would once in a million (Wilson and Hilferty's approximation); the seed is fixed, so it never flickers. */
static void check_draws(const char *what, struct stile_sampler_options options, const float *logits, size_t n)
{
    enum { N_DRAWS = 40000 };
    static struct entry entries[N_MAX];
    static double n_seen[N_MAX];
    memset(n_seen, 0, sizeof n_seen);
    struct stile_sampler *sampler = new_sampler(options);
    size_t n_kept = expected_distribution(&options, logits, n, NULL, 0, entries);
    for (int i = 0; i < N_DRAWS; i++) {
        int32_t token = stile_sample(sampler, logits, n);
        assert_in_range(token, 0, n - 1);
        n_seen[token]++;
    }
    double statistic = 0, pooled_seen = 0, pooled_expected = 0, n_inside = 0;
    int freedom = -1;
    for (size_t i = 0; i < n_kept; i++) {
        double seen = n_seen[entries[i].token], expected = entries[i].p * N_DRAWS;
        n_inside += seen;
        if (expected >= 8) {
            statistic += (seen - expected) * (seen - expected) / expected;
            freedom++;
        } else {
            pooled_seen += seen;
            pooled_expected += expected;
        }
    }
    if (pooled_expected > 0) {
        double expected = fmax(pooled_expected, 1);
        statistic += (pooled_seen - pooled_expected) * (pooled_seen - pooled_expected) / expected;
        freedom++;
    }
    if (n_inside != N_DRAWS) fail_msg("%s: drew %g tokens outside the distribution", what, N_DRAWS - n_inside);
    double k = freedom > 0 ? freedom : 1, z = 4.75;
    double limit = k * pow(1 - 2 / (9 * k) + z * sqrt(2 / (9 * k)), 3);
    if (freedom > 0 && statistic > limit) fail_msg("%s: chi-square %g, limit %g (%d)", what, statistic, limit, freedom);
    print_message("%-28s %5zu candidates, chi-square %7.1f of %d\n", what, n_kept, statistic,
                  freedom > 0 ? freedom : 0);
    stile_sampler_free(sampler);
}

static void draws_follow_the_distribution(void **state)
{
    (void)state;
    static float logits[2000];
    struct random random;
    random_seed(&random, 2);
    make_logits(&random, logits, 2000, 2);
    struct stile_sampler_options o = everything;
    o.seed = 3;
    check_draws("all of 2000", o, logits, 2000);
    check_draws("all of 50", o, logits, 50);
    check_draws("all of 2", o, (const float[]){0, 1}, 2);
    o.temperature = 0.5f;
    check_draws("temperature 0.5", o, logits, 300);
    o.temperature = 3;
    check_draws("temperature 3", o, logits, 300);
    o.temperature = 1;
    o.top_k = 10;
    check_draws("top-k 10", o, logits, 300);
    o.top_k = 0;
    o.top_p = 0.8f;
    check_draws("top-p 0.8", o, logits, 300);
    o.top_p = 1;
    o.min_p = 0.1f;
    check_draws("min-p 0.1", o, logits, 300);
    o.top_k = 40, o.top_p = 0.9f, o.min_p = 0.05f, o.temperature = 0.8f;
    check_draws("all filters", o, logits, 2000);
    struct stile_sampler_options defaults = stile_sampler_defaults();
    check_draws("defaults", defaults, logits, 2000);
    static const float equal[16] = {0};
    check_draws("16 equal", everything, equal, 16);
}

static void equal_seeds_give_equal_tokens(void **state)
{
    (void)state;
    static float logits[500];
    struct random random;
    random_seed(&random, 4);
    struct stile_sampler_options o = stile_sampler_defaults();
    o.temperature = 1.5f;
    o.repeat_penalty = 1.1f;
    o.seed = 42;
    struct stile_sampler *a = new_sampler(o), *b = new_sampler(o);
    o.seed = 43;
    struct stile_sampler *other = new_sampler(o);
    int32_t first[200];
    int n_different = 0;
    for (int i = 0; i < 200; i++) {
        make_logits(&random, logits, 500, 1);
        first[i] = stile_sample(a, logits, 500);
        assert_int_equal(first[i], stile_sample(b, logits, 500));
        n_different += first[i] != stile_sample(other, logits, 500);
    }
    assert_true(n_different > 50);
    stile_sampler_reset(a);
    random_seed(&random, 4);
    for (int i = 0; i < 200; i++) {
        make_logits(&random, logits, 500, 1);
        assert_int_equal(first[i], stile_sample(a, logits, 500));
    }
    stile_sampler_free(a);
    stile_sampler_free(b);
    stile_sampler_free(other);
}

/* Looking at the distribution changes nothing. */
static void distribution_does_not_consume_numbers(void **state)
{
    (void)state;
    const float logits[5] = {1, 2, 3, 2, 1};
    int32_t tokens[5];
    float probabilities[5];
    struct stile_sampler *a = new_sampler(everything), *b = new_sampler(everything);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(stile_sampler_distribution(b, logits, 5, tokens, probabilities, 2), 5);
        assert_int_equal(tokens[0], 2);
        assert_int_equal(tokens[1], 1);
        assert_int_equal(stile_sampler_distribution(b, logits, 5, NULL, NULL, 0), 5);
        assert_int_equal(stile_sample(a, logits, 5), stile_sample(b, logits, 5));
    }
    stile_sampler_free(a);
    stile_sampler_free(b);
}

static void generator_matches_its_authors(void **state)
{
    (void)state;
    /* the first outputs of the authors' programs: SplitMix64 from 0, xoshiro256** from the state 1, 2, 3, 4 */
    struct random random;
    random_seed(&random, 0);
    assert_true(random.state[0] == 0xe220a8397b1dcdafu);
    assert_true(random.state[1] == 0x6e789e6aa1b965f4u);
    random = (struct random){{1, 2, 3, 4}};
    static const uint64_t expected[] = {11520, 0, 1509978240, 1215971899390074240u};
    for (int i = 0; i < 4; i++)
        assert_true(random_next(&random) == expected[i]);
}

/* ---- greedy and the penalty ---- */

static void greedy_takes_the_largest(void **state)
{
    (void)state;
    struct stile_sampler_options o = everything;
    o.temperature = 0;
    struct stile_sampler *sampler = new_sampler(o);
    assert_int_equal(stile_sample(sampler, (const float[]){1, 3, 2, 3}, 4), 1); /* ties: the lowest id */
    assert_int_equal(stile_sample(sampler, (const float[]){-5, -3, -3, -4}, 4), 1);
    assert_int_equal(stile_sample(sampler, (const float[]){NAN, INFINITY, -7, -INFINITY}, 4), 2);
    assert_int_equal(stile_sample(sampler, (const float[]){-FLT_MAX, NAN}, 2), 0);
    stile_sampler_free(sampler);
}

static int32_t favourite(struct stile_sampler *sampler, const float *logits, size_t n)
{
    int32_t token = -1;
    float p;
    stile_sampler_distribution(sampler, logits, n, &token, &p, 1);
    return token;
}

static void repeats_are_penalised_while_they_are_recent(void **state)
{
    (void)state;
    const float logits[4] = {4, 3, -1, -1.5f};
    struct stile_sampler_options o = everything;
    o.temperature = 0;
    o.repeat_penalty = 2;
    o.repeat_last_n = 2;
    struct stile_sampler *sampler = new_sampler(o);
    assert_int_equal(stile_sample(sampler, logits, 4), 0);
    assert_int_equal(stile_sample(sampler, logits, 4), 1); /* 2, 3, ... */
    assert_int_equal(stile_sample(sampler, logits, 4), 0); /* 2, 1.5 */
    stile_sampler_accept(sampler, 1);
    stile_sampler_accept(sampler, 1);
    assert_int_equal(favourite(sampler, logits, 4), 0); /* forgotten: 4, 1.5 */
    stile_sampler_accept(sampler, 0);
    stile_sampler_accept(sampler, 0); /* counts once */
    assert_int_equal(favourite(sampler, logits, 4), 1);
    stile_sampler_reset(sampler);
    assert_int_equal(favourite(sampler, logits, 4), 0);
    assert_true(logits[0] == 4); /* the caller's logits are not changed */
    stile_sampler_free(sampler);

    const float negative[2] = {-2, -3};
    o.repeat_last_n = -1;
    sampler = new_sampler(o);
    assert_int_equal(stile_sample(sampler, negative, 2), 0);
    for (int i = 0; i < 3000; i++)
        stile_sampler_accept(sampler, 70 + i % 7);        /* other tokens, also some outside this vocabulary */
    assert_int_equal(favourite(sampler, negative, 2), 1); /* -4, -3: all are remembered */
    stile_sampler_reset(sampler);
    assert_int_equal(favourite(sampler, negative, 2), 0);
    stile_sampler_free(sampler);
}

static void penalty_cannot_make_infinities(void **state)
{
    (void)state;
    struct stile_sampler_options o = everything;
    o.repeat_last_n = 64;
    o.repeat_penalty = 1e-30f;
    struct stile_sampler *sampler = new_sampler(o);
    stile_sampler_accept(sampler, 0);
    assert_int_equal(favourite(sampler, (const float[]){1e20f, 1e30f}, 2), 0);
    stile_sampler_free(sampler);
    o.repeat_penalty = 1e30f;
    sampler = new_sampler(o);
    stile_sampler_accept(sampler, 0);
    assert_int_equal(stile_sample(sampler, (const float[]){-1e20f}, 1), 0);
    stile_sampler_free(sampler);
}

/* ---- what makes no sense ---- */

static void nothing_to_choose_gives_minus_one(void **state)
{
    (void)state;
    static const float none[4] = {NAN, -INFINITY, INFINITY, -NAN}, one[4] = {NAN, -INFINITY, -3e38f, INFINITY};
    for (int i = 0; i < 8; i++) {
        struct stile_sampler_options o = everything;
        o.temperature = i & 1 ? 0 : 1;
        o.top_k = i & 2 ? 3 : 0;
        o.repeat_penalty = i & 4 ? 1.5f : 1;
        o.repeat_last_n = -1;
        o.top_p = 0.5f;
        struct stile_sampler *sampler = new_sampler(o);
        assert_int_equal(stile_sample(sampler, none, 4), -1);
        assert_int_equal(stile_sample(sampler, none, 0), -1);
        assert_int_equal(stile_sampler_distribution(sampler, none, 4, NULL, NULL, 0), 0);
        assert_int_equal(stile_sample(sampler, one, 4), 2);
        assert_int_equal(stile_sample(sampler, one + 2, 1), 0);
        stile_sampler_accept(sampler, -1);
        stile_sampler_accept(sampler, INT32_MIN);
        stile_sampler_accept(sampler, INT32_MAX);
        assert_int_equal(stile_sample(sampler, one, 4), 2);
        stile_sampler_free(sampler);
    }
}

static void extreme_temperatures_stay_exact(void **state)
{
    (void)state;
    struct stile_sampler_options o = everything;
    const float logits[4] = {FLT_MAX, -FLT_MAX, FLT_MAX, 0};
    int32_t tokens[4];
    float p[4];
    o.temperature = FLT_TRUE_MIN;
    struct stile_sampler *sampler = new_sampler(o);
    assert_int_equal(stile_sampler_distribution(sampler, logits, 4, tokens, p, 4), 2);
    assert_true(tokens[0] == 0 && tokens[1] == 2 && p[0] == 0.5f && p[1] == 0.5f);
    stile_sampler_free(sampler);
    o.temperature = FLT_MAX;
    sampler = new_sampler(o);
    assert_int_equal(stile_sampler_distribution(sampler, logits, 4, tokens, p, 4), 4);
    assert_true(tokens[3] == 1 && fabs((double)p[3] / (double)p[0] - exp(-2)) < 1e-6);
    stile_sampler_free(sampler);
}

static void options_are_checked(void **state)
{
    (void)state;
    static const struct {
        struct stile_sampler_options options;
        const char *word;
    } bad[] = {
        {{.temperature = -1, .top_p = 1, .repeat_penalty = 1}, "temperature"},
        {{.temperature = NAN, .top_p = 1, .repeat_penalty = 1}, "temperature"},
        {{.temperature = INFINITY, .top_p = 1, .repeat_penalty = 1}, "temperature"},
        {{.top_k = -1, .top_p = 1, .repeat_penalty = 1}, "top-k"},
        {{.top_p = 0, .repeat_penalty = 1}, "top-p"},
        {{.top_p = 1.01f, .repeat_penalty = 1}, "top-p"},
        {{.top_p = NAN, .repeat_penalty = 1}, "top-p"},
        {{.top_p = 1, .min_p = -0.1f, .repeat_penalty = 1}, "min-p"},
        {{.top_p = 1, .min_p = 1.1f, .repeat_penalty = 1}, "min-p"},
        {{.top_p = 1, .min_p = NAN, .repeat_penalty = 1}, "min-p"},
        {{.top_p = 1, .repeat_penalty = 0}, "repeat penalty"},
        {{.top_p = 1, .repeat_penalty = NAN}, "repeat penalty"},
        {{.top_p = 1, .repeat_penalty = INFINITY}, "repeat penalty"},
        {{.top_p = 1, .repeat_penalty = 1, .repeat_last_n = -2}, "repeat-last-n"},
        {{.top_p = 1, .repeat_penalty = 1, .repeat_last_n = INT32_MAX}, "repeat-last-n"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct stile_sampler *sampler = NULL;
        struct stile_error error = {0};
        assert_int_equal(stile_sampler_create(&sampler, &bad[i].options, &error), STILE_ERROR_ARGUMENT);
        assert_int_equal(error.code, STILE_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, bad[i].word));
        assert_null(sampler);
        assert_int_equal(stile_sampler_create(&sampler, &bad[i].options, NULL), STILE_ERROR_ARGUMENT);
    }
    stile_sampler_free(NULL);
}

static void decoding_does_not_allocate(void **state)
{
    (void)state;
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    static float logits[N_MAX];
    struct random random;
    random_seed(&random, 5);
    make_logits(&random, logits, N_MAX, 2);
    static const int32_t last_ns[] = {64, -1};
    for (int i = 0; i < 4; i++) {
        struct stile_sampler_options o = stile_sampler_defaults();
        o.repeat_penalty = 1.1f;
        o.repeat_last_n = last_ns[i % 2];
        o.top_k = i / 2 ? 40 : 0;
        struct stile_sampler *sampler = new_sampler(o);
        stile_sample(sampler, logits, N_MAX);
        struct mallinfo2 before = mallinfo2();
        for (int j = 0; j < 50; j++) {
            stile_sample(sampler, logits, N_MAX);
            stile_sampler_accept(sampler, N_MAX - 1 - j);
        }
        struct mallinfo2 after = mallinfo2();
        assert_true(after.uordblks == before.uordblks && after.hblkhd == before.hblkhd);
        stile_sampler_free(sampler);
    }
#else
    print_message("skipped: needs glibc's mallinfo2\n");
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distribution_follows_the_formula),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(equal_seeds_give_equal_tokens),
        cmocka_unit_test(distribution_does_not_consume_numbers),
        cmocka_unit_test(generator_matches_its_authors),
        cmocka_unit_test(greedy_takes_the_largest),
        cmocka_unit_test(repeats_are_penalised_while_they_are_recent),
        cmocka_unit_test(penalty_cannot_make_infinities),
        cmocka_unit_test(nothing_to_choose_gives_minus_one),
        cmocka_unit_test(extreme_temperatures_stay_exact),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(decoding_does_not_allocate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
