/* Guesses from the context: what is guessed, and when it is worth it. */
#include "run/lookup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_MAX = 4096 };

/* A text whose letters are tokens, and a source that reads it. */
struct reading {
    struct guesser *lookup;
    struct pass_times times;
    struct question question;
    int32_t tokens[TEXT_MAX];
};

static void read_text(struct reading *reading, const char *text)
{
    *reading = (struct reading){.lookup = lookup_create(TEXT_MAX)};
    assert_non_null(reading->lookup);
    reading->question = (struct question){.tokens = reading->tokens, .n_max = 15, .times = &reading->times};
    for (; *text; text++)
        reading->tokens[reading->question.n_tokens++] = *text;
}

/* Guesses that are worth it are written to `tokens`. */
static size_t draft(struct reading *reading, int32_t *tokens)
{
    struct offer offer;
    double gain;
    struct guesser *lookup = reading->lookup;
    lookup->type->offer(lookup, &reading->question, &offer);
    assert_true(offer.n_max <= reading->question.n_max);
    size_t n = offer_worth(&offer, &reading->times, &gain);
    assert_true(n <= offer.n_max);
    assert_true(n == 0 ? gain == 1 : gain > 1);
    if (n > 0) assert_int_equal(lookup->type->guess(lookup, &reading->question, n, tokens, &n, NULL), 0);
    return n;
}

/* What is guessed after a text. */
static void expect(const char *text, size_t n_max, const char *guess)
{
    struct reading reading;
    int32_t tokens[GUESSES_MAX];
    char guessed[GUESSES_MAX + 1] = "";
    read_text(&reading, text);
    assert_int_equal(draft(&reading, tokens), 0); /* not before it is known how long a plain pass takes */
    pass_times_learn(&reading.times, 0, 9000);
    assert_int_equal(draft(&reading, tokens), 0);
    pass_times_learn(&reading.times, 0, 1000);
    reading.question.n_max = n_max;
    size_t n = draft(&reading, tokens);
    for (size_t i = 0; i < n; i++)
        guessed[i] = (char)tokens[i];
    assert_int_equal(strncmp(guessed, guess, n), 0);
    assert_int_equal(n == 0, *guess == '\0');
    reading.lookup->type->free(reading.lookup);
}

static void guesses(void **state)
{
    (void)state;
    expect("", 8, "");
    expect("a", 8, "");
    expect("abcdefghij", 8, "");
    expect("the quick brown fox. the quick brown", 8, " fox. th");
    expect("the quick brown fox. the quick brown", 1, " ");
    expect("the quick brown fox. the quick brown", 0, "");
    /* the longer match counts, then the later one */
    expect("1 xxabcdef-, 2 yyabcdef+, 1 xxabcdef", 8, "-, 2 yya");
    expect("abcdefgh-, abcdefgh+, abcdefgh", 8, "+, abcde");
    /* what overlaps itself */
    expect("abababababab", 8, "ababab");
    expect("aaaaaaaaaaaa", 8, "a");
}

/* The text grows, goes back, and becomes more than there is room for. */
static void changes(void **state)
{
    (void)state;
    struct reading reading;
    int32_t tokens[GUESSES_MAX];
    read_text(&reading, "abcdefghijkl-abcdefghijk");
    pass_times_learn(&reading.times, 0, 1000);
    pass_times_learn(&reading.times, 0, 1000);
    assert_true(draft(&reading, tokens) > 0);
    assert_int_equal(tokens[0], 'l');
    reading.tokens[reading.question.n_tokens++] = 'l';
    assert_true(draft(&reading, tokens) > 0);
    assert_int_equal(tokens[0], '-');
    reading.question.n_tokens = 14;
    reading.lookup->type->restart(reading.lookup);
    assert_int_equal(draft(&reading, tokens), 0);
    reading.lookup->type->free(reading.lookup);
    reading.lookup = lookup_create(20);
    reading.question.n_tokens = 24;
    assert_int_equal(draft(&reading, tokens), 0);
    reading.lookup->type->free(reading.lookup);
}

/* n passes over a text that repeats, with guesses that turn out right or wrong; returns how many were evaluated. */
static size_t passes(struct reading *reading, int n, bool right, uint64_t plain_ns, uint64_t slope_ns)
{
    int32_t tokens[GUESSES_MAX];
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        size_t drafted = draft(reading, tokens);
        pass_times_learn(&reading->times, drafted, plain_ns + slope_ns * drafted);
        if (drafted > 0) reading->lookup->type->learn(reading->lookup, drafted, right ? drafted : 0);
        total += drafted;
    }
    return total;
}

static void only_where_it_pays(void **state)
{
    (void)state;
    const char *text = "the quick brown fox jumps over the lazy dog. the quick brown fox";
    struct reading reading;
    read_text(&reading, text);
    assert_true(passes(&reading, 20, true, 1000, 100) > 100); /* right and cheap: nearly all there is */
    reading.lookup->type->free(reading.lookup);
    read_text(&reading, text);
    passes(&reading, 50, false, 1000, 100);
    assert_true(passes(&reading, 100, false, 1000, 100) < 20); /* wrong: hardly any */
    reading.lookup->type->free(reading.lookup);
    read_text(&reading, text);
    passes(&reading, 20, true, 1000, 1200);
    assert_true(passes(&reading, 100, true, 1000, 1200) < 100); /* right, but each costs more than a pass of its own */
    reading.lookup->type->free(reading.lookup);
}

/* What is offered and not evaluated is compared with what comes: so guesses that were wrong are trusted again. */
static void learns_from_what_comes(void **state)
{
    (void)state;
    const char *text = "one-two-two-two-two-two-two-two-two-two-two-two-two-two-two-two-two-two-two-two-two-two-two";
    struct reading reading;
    struct offer offer;
    read_text(&reading, text);
    const size_t n = reading.question.n_tokens;
    struct guesser *lookup = reading.lookup;
    double chances[2];
    for (int round = 0; round < 2; round++) {
        for (reading.question.n_tokens = n / 2; reading.question.n_tokens < n; reading.question.n_tokens++) {
            lookup->type->offer(lookup, &reading.question, &offer);
            chances[round] = offer.n_chances > 0 ? offer.chances[0] : offer.chance;
        }
        if (round == 0) /* the same text, but nothing is as it was before */
            for (size_t i = n / 2; i < n; i++)
                reading.tokens[i] = i % 2 ? 'x' : (int32_t)(1000 + i);
        lookup->type->restart(lookup);
    }
    assert_true(chances[0] > 0.95);
    assert_true(chances[1] < 0.1);
    lookup->type->free(lookup);
}

/* Where guesses cost next to nothing, passes grow as long as the guesses stay likely. */
static void long_drafts(void **state)
{
    (void)state;
    struct pass_times times = {0};
    struct offer sure = {.n_max = GUESSES_MAX, .chance = 0.99}, doubtful = {.n_max = GUESSES_MAX, .chance = 0.5},
                 slow = {.n_max = GUESSES_MAX, .chance = 0.99, .step_ns = 1e9};
    double gain;
    size_t n = 0;
    pass_times_learn(&times, 0, 1000000000);
    pass_times_learn(&times, 0, 1000000000);
    for (int i = 0; i < 5; i++) {
        n = offer_worth(&sure, &times, &gain);
        pass_times_learn(&times, n, 1000000000 + 1000000 * n);
    }
    assert_true(n > 100);
    assert_true(gain > 50);
    assert_in_range(offer_worth(&doubtful, &times, &gain), 4, 15);
    assert_int_equal(offer_worth(&slow, &times, &gain), 0); /* guessing takes as long as a pass */
    /* one disturbed measurement does not matter for long */
    pass_times_learn(&times, 50, 3000000000);
    assert_true(times.time_ns[50] < 1200000000);
    /* the machine becomes faster: a pass without guesses is faster too, although there was none */
    pass_times_learn(&times, 50, 400000000);
    assert_true(times.time_ns[0] <= times.time_ns[50]);
}

/* Guesses that were made already are not paid again, and the best number of them may be fewer. */
static void made_guesses(void **state)
{
    (void)state;
    static const double chances[] = {0.9, 0.9, 0.05, 0.9};
    struct pass_times times = {0};
    struct offer offer = {.n_max = 4, .n_made = 4, .n_chances = 4, .chances = chances, .step_ns = 1e9};
    double gain;
    pass_times_learn(&times, 0, 1000);
    for (size_t n = 0; n <= 4; n++)
        pass_times_learn(&times, n, 1000 + 100 * n);
    assert_int_equal(offer_worth(&offer, &times, &gain), 2);
    offer.n_made = offer.n_chances = 2;
    offer.chance = 0.9;
    offer.step_ns = 10;
    assert_int_equal(offer_worth(&offer, &times, &gain), 4); /* go on */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses),
        cmocka_unit_test(changes),
        cmocka_unit_test(only_where_it_pays),
        cmocka_unit_test(learns_from_what_comes),
        cmocka_unit_test(long_drafts),
        cmocka_unit_test(made_guesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
