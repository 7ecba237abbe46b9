/* guess.h - guesses of the next tokens: what a source of them is, and how many are worth evaluating.
 *
 * A pass over the weights evaluates the newest token and, with it, guesses of those that follow. What a guess was worth,
 * the sampler says: it counts only if it is what the sampler draws. So guesses decide about speed alone, and whether they
 * pay is arithmetic over what was measured: how long passes with so many guesses take, how long guessing takes, how often
 * guesses of a kind were right.
 */
#ifndef STILE_RUN_GUESS_H
#define STILE_RUN_GUESS_H

#include "stile.h"

enum { GUESSES_MAX = 127 };

/* How often guesses of one kind were right, lately. */
struct odds {
    double n_guessed, n_right;
};
/* Before anything was guessed, so likely. */
struct odds odds_prior(double chance);
double odds_chance(const struct odds *odds);
void odds_learn(struct odds *odds, double n_guessed, double n_right);

/* Times are disturbed upwards only: a shorter one counts at once, a longer one little. */
void time_learn(double *time_ns, double measured_ns);

struct pass_times {
    double measured_ns[GUESSES_MAX + 1]; /* of passes with so many guesses; 0: not known */
    double time_ns[GUESSES_MAX + 1];     /* the same, where nothing was measured what is likely; 0 at first */
    uint64_t n_plain;                    /* passes without guesses */
};
/* Guesses can be weighed after the second pass without; those with guesses come after that. */
void pass_times_learn(struct pass_times *times, size_t n_guesses, uint64_t time_ns);

/* Guesses that were made or could be, in order. */
struct offer {
    size_t n_max;  /* 0: none */
    size_t n_made; /* their time is spent */
    size_t n_chances;
    const double *chances; /* (n_chances) that it is right when those before are */
    double chance;         /* the same for each further one */
    double step_ns;        /* to make a further one */
    double catch_up_ns;    /* before the first, once: what it brings later pays it back */
};
/* With how many guesses a pass gives the most tokens in its time; 0 when none are worth it. *gain: how many times those of
 * a plain pass. */
size_t offer_worth(const struct offer *offer, const struct pass_times *times, double *gain);

/* What a source is asked. */
struct question {
    const int32_t *tokens; /* (n_tokens) the context, and the token that is evaluated next */
    size_t n_tokens;
    size_t n_max; /* guesses that there is room for */
    const struct pass_times *times;
    const struct stile_sampler *sampler; /* before the next draw */
};

/* A source of guesses. */
struct guesser {
    const struct guesser_type *type;
    double missed_ns; /* what it would have saved since it was asked last, had it caught up */
    struct stile_guesses counts;
};

struct guesser_type {
    void (*restart)(struct guesser *guesser); /* the context may be another one */
    /* Asked before each pass. That what was offered last would have been right or not is known by now, whether it was
     * evaluated or not; so where guesses do not pay, nothing need be tried to know whether that is still so. */
    void (*offer)(struct guesser *guesser, const struct question *question, struct offer *offer);
    /* Writes guesses that are worth it, about n_max, never more than the question has room for; *n of them. */
    int (*guess)(struct guesser *guesser, const struct question *question, size_t n_max, int32_t *tokens, size_t *n,
                 struct stile_error *error);
    /* Of the last guesses n were evaluated, and so many were right. */
    void (*learn)(struct guesser *guesser, size_t n, size_t n_right);
    void (*free)(struct guesser *guesser);
};

#endif
