/* tasks.h - multiple-choice questions, answered by likelihood.
 *
 * A file has one JSON object on each line: {"question": TEXT, "choices": [TEXT, ...], "answer": the right choice's number,
 * from 0, or its text}. The model sees "Question: TEXT\nAnswer:", and is taken to choose what it finds likeliest to follow:
 * a blank and the choice. No choice is generated, and the model never sees the others.
 */
#ifndef STILE_LAB_TASKS_H
#define STILE_LAB_TASKS_H

#include "stile.h"

enum { TASKS_CHOICES_MAX = 16 };

struct task {
    char *question;
    char *choices[TASKS_CHOICES_MAX];
    size_t n_choices, answer;
    size_t line; /* in the file, from 1 */
};

struct tasks {
    struct task *tasks;
    size_t n;
    char path[200]; /* its end, for messages */
};

/* MALFORMED names the line. */
int tasks_load(struct tasks *tasks, const char *path, struct stile_error *error);
void tasks_free(struct tasks *tasks);

struct tasks_result {
    size_t n;             /* answered */
    size_t n_right;       /* by the probability of the choice */
    size_t n_right_bytes; /* by its geometric mean over the bytes of the choice: longer ones have a chance */
    double chance;        /* the share that guessing gets */
    double log_p;         /* mean log-probability of the right choice: what moves before any answer does */
};

struct tasks_plan {
    struct stile_model *model;
    const struct tasks *tasks;
    struct stile_session_options session;
    void (*on_task)(void *user, const struct tasks_result *result); /* after each; may be NULL */
    void *user;
};

/* Also when it fails (CANCELLED), *result counts what was answered. */
int tasks_run(struct tasks_result *result, const struct tasks_plan *plan, struct stile_error *error);

/* The share n_right / n with Wilson's interval of 95%. */
struct proportion {
    double value, low, high;
};
struct proportion proportion_of(size_t n_right, size_t n);

#endif
