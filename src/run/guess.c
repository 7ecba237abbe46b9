#include "run/guess.h"

static const double prior_weight = 3, odds_memory = 30; /* in guesses */
static const double share_shorter = 0.7, share_longer = 0.25;
/* What a further guess adds, in plain passes, where no pass with as many was measured: at first, and at least. */
static const double slope_unknown = 0.15, slope_least = 0.003;
static const double forget =
    0.002; /* per plain pass: so a number of guesses that seemed slow is tried again some day */
/* A pass may have been disturbed: at once it is believed to take this much longer than was thought. */
static const double most_surprise = 2;
enum { SLOPE_TOLD = 4 };  /* the first guess may cost more than those after it: other kernels */
enum { PLAIN_LEAST = 2 }; /* the first one may have to load the weights */
static const double least_gain = 1.05;

struct odds odds_prior(double chance)
{
    return (struct odds){prior_weight, chance * prior_weight};
}

double odds_chance(const struct odds *odds)
{
    return odds->n_right / odds->n_guessed;
}

void odds_learn(struct odds *odds, double n_guessed, double n_right)
{
    double keep = odds->n_guessed > odds_memory ? odds_memory / odds->n_guessed : 1;
    odds->n_guessed = keep * odds->n_guessed + n_guessed;
    odds->n_right = keep * odds->n_right + n_right;
}

void time_learn(double *time_ns, double measured_ns)
{
    double longer = measured_ns - *time_ns;
    *time_ns += *time_ns == 0 ? longer : longer < 0 ? share_shorter * longer : share_longer * longer;
}

/* Between two measured numbers of guesses on a line; no more than a larger number takes. */
static void fill(struct pass_times *times)
{
    double plain_ns = times->measured_ns[0], slope = slope_unknown * plain_ns;
    size_t known = GUESSES_MAX;
    while (known > 0 && times->measured_ns[known] == 0)
        known--;
    if (known > 0) {
        double measured = (times->measured_ns[known] - plain_ns) / (double)known;
        if (measured < slope || known >= SLOPE_TOLD) slope = measured;
        if (slope < slope_least * plain_ns) slope = slope_least * plain_ns;
    }
    for (size_t n = known; n <= GUESSES_MAX; n++)
        times->time_ns[n] = times->measured_ns[known] + slope * (double)(n - known);
    for (size_t high = known; high > 0;) {
        size_t low = high - 1;
        while (low > 0 && times->measured_ns[low] == 0)
            low--;
        double at_high = times->time_ns[high], at_low = times->measured_ns[low];
        if (at_low > at_high && low > 0) at_low = at_high;
        for (size_t n = low; n < high; n++)
            times->time_ns[n] = at_low + (at_high - at_low) * (double)(n - low) / (double)(high - low);
        high = low;
    }
}

void pass_times_learn(struct pass_times *times, size_t n_guesses, uint64_t time_ns)
{
    double measured_ns = (double)time_ns, likely_ns = times->time_ns[n_guesses];
    if (n_guesses > 0 && measured_ns > most_surprise * likely_ns) measured_ns = most_surprise * likely_ns;
    if (n_guesses > 0 && times->measured_ns[n_guesses] == 0 && measured_ns > likely_ns)
        measured_ns = (measured_ns + likely_ns) / 2;
    time_learn(&times->measured_ns[n_guesses], measured_ns);
    if (n_guesses == 0) times->n_plain++;
    /* the machine is faster by now, or its memory less busy: a pass without guesses would be too */
    if (times->measured_ns[n_guesses] < times->measured_ns[0]) times->measured_ns[0] = times->measured_ns[n_guesses];
    double plain_ns = times->measured_ns[0];
    for (size_t n = 1; n_guesses == 0 && n <= GUESSES_MAX; n++)
        if (times->measured_ns[n] > plain_ns) times->measured_ns[n] -= forget * (times->measured_ns[n] - plain_ns);
    if (times->n_plain >= PLAIN_LEAST) fill(times);
}

size_t offer_worth(const struct offer *offer, const struct pass_times *times, double *gain)
{
    size_t best = 0;
    double expected = 1, all_right = 1, plain_ns = times->time_ns[0];
    *gain = 1;
    for (size_t n = 1; n <= offer->n_max && plain_ns > 0; n++) {
        all_right *= n <= offer->n_chances ? offer->chances[n - 1] : offer->chance;
        expected += all_right;
        double time_ns = times->time_ns[n];
        if (n > offer->n_made) time_ns += (double)(n - offer->n_made) * offer->step_ns;
        double here = expected * plain_ns / time_ns;
        if (here <= *gain || here < least_gain) continue;
        *gain = here;
        best = n;
    }
    return best;
}
