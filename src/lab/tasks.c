#include "lab/tasks.h"

#include "base/buffer.h"
#include "base/error.h"
#include "lab/score.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS_MAX = 1 << 20, LINE_BYTES_MAX = 1 << 20 };

/* ---- the file ------------------------------------------------------------------------------- */

static int bad(const struct tasks *tasks, size_t line, const char *what, struct stile_error *error)
{
    return error_set(error, STILE_ERROR_MALFORMED, "%s:%zu: %s", tasks->path, line, what);
}

static int read_answer(const struct tasks *tasks, struct task *task, const json_t *answer, struct stile_error *error)
{
    if (json_is_integer(answer)) {
        json_int_t number = json_integer_value(answer);
        if (number < 0 || (size_t)number >= task->n_choices)
            return bad(tasks, task->line, "\"answer\" is the number of no choice (they count from 0)", error);
        task->answer = (size_t)number;
        return 0;
    }
    const char *text = json_string_value(answer);
    if (!text) return bad(tasks, task->line, "\"answer\" is neither the number of a choice nor its text", error);
    while (task->answer < task->n_choices && strcmp(task->choices[task->answer], text) != 0)
        task->answer++;
    if (task->answer < task->n_choices) return 0;
    return bad(tasks, task->line, "\"answer\" is the text of no choice", error);
}

static int read_task(const struct tasks *tasks, struct task *task, const json_t *object, struct stile_error *error)
{
    const char *question = json_string_value(json_object_get(object, "question"));
    const json_t *choices = json_object_get(object, "choices");
    if (!json_is_object(object)) return bad(tasks, task->line, "no JSON object", error);
    if (!question || !*question) return bad(tasks, task->line, "\"question\" is no text", error);
    size_t n = json_array_size(choices);
    if (n < 2 || n > TASKS_CHOICES_MAX)
        return error_set(error, STILE_ERROR_MALFORMED, "%s:%zu: \"choices\" is no list of 2 to %d texts", tasks->path,
                         task->line, TASKS_CHOICES_MAX);
    task->question = strdup(question);
    for (size_t i = 0; i < n; i++) {
        const char *choice = json_string_value(json_array_get(choices, i));
        if (!choice || !*choice) return bad(tasks, task->line, "a choice is no text", error);
        task->choices[i] = strdup(choice);
        task->n_choices++;
        if (!task->choices[i]) return error_memory(error, strlen(choice), "a task");
    }
    if (!task->question) return error_memory(error, strlen(question), "a task");
    return read_answer(tasks, task, json_object_get(object, "answer"), error);
}

static void free_task(struct task *task)
{
    free(task->question);
    for (size_t i = 0; i < task->n_choices; i++)
        free(task->choices[i]);
}

static int add_line(struct tasks *tasks, size_t line, const char *text, size_t n, struct stile_error *error)
{
    if (strspn(text, " \t\r\n") == n) return 0;
    if (tasks->n == TASKS_MAX) return bad(tasks, line, "too many tasks", error);
    if ((tasks->n & (tasks->n - 1)) == 0) { /* room for a power of two: full */
        size_t capacity = tasks->n ? 2 * tasks->n : 1;
        struct task *grown = realloc(tasks->tasks, capacity * sizeof *grown);
        if (!grown) return error_memory(error, capacity * sizeof *grown, "tasks");
        tasks->tasks = grown;
    }
    json_error_t why;
    json_t *object = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!object) return bad(tasks, line, why.text, error);
    struct task task = {.line = line};
    int failed = read_task(tasks, &task, object, error);
    json_decref(object);
    if (failed)
        free_task(&task);
    else
        tasks->tasks[tasks->n++] = task;
    return failed;
}

int tasks_load(struct tasks *tasks, const char *path, struct stile_error *error)
{
    struct tasks loaded = {0};
    char *line = NULL;
    size_t capacity = 0, n = strlen(path);
    snprintf(loaded.path, sizeof loaded.path, "%s", n < sizeof loaded.path ? path : path + n - sizeof loaded.path + 1);
    FILE *file = fopen(path, "rb");
    if (!file) return error_set(error, STILE_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    int failed = 0;
    ssize_t length;
    for (size_t i = 1; !failed && (length = getline(&line, &capacity, file)) >= 0; i++) {
        if (length > LINE_BYTES_MAX)
            failed = bad(&loaded, i, "the line is too long", error);
        else
            failed = add_line(&loaded, i, line, (size_t)length, error);
    }
    if (!failed && ferror(file))
        failed = error_set(error, STILE_ERROR_IO, "%s: cannot read: %s", path, strerror(errno));
    if (!failed && loaded.n == 0) failed = error_set(error, STILE_ERROR_MALFORMED, "%s: there is no task in it", path);
    free(line);
    fclose(file);
    if (failed)
        tasks_free(&loaded);
    else
        *tasks = loaded;
    return failed;
}

void tasks_free(struct tasks *tasks)
{
    for (size_t i = 0; i < tasks->n; i++)
        free_task(&tasks->tasks[i]);
    free(tasks->tasks);
    *tasks = (struct tasks){0};
}

/* ---- answering ------------------------------------------------------------------------------ */

enum { ROWS = 32 }; /* of logits at a time */

struct answering {
    const struct tasks_plan *plan;
    struct stile_session *session;
    struct threads *threads;
    float *rows; /* (ROWS, n_vocab) */
    size_t n_vocab;
};

static size_t common(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t i = 0;
    while (i < n_a && i < n_b && a[i] == b[i])
        i++;
    return i;
}

/* Log-probability of the tokens from `first` on, after those before. What is in the context already stays where it can. */
static int likelihood(struct answering *a, const int32_t *tokens, size_t n_tokens, size_t first, double *log_p,
                      struct stile_error *error)
{
    struct score scores[ROWS];
    size_t at = common(stile_context_tokens(a->session), stile_context_used(a->session), tokens, first - 1);
    *log_p = 0;
    if (stile_rewind(a->session, (uint32_t)at, NULL) != 0) {
        int failed = stile_rewind(a->session, 0, error); /* sliding windows have moved on */
        if (failed) return failed;
        at = 0;
    }
    for (size_t n; first < n_tokens; first += n) {
        n = n_tokens - first < ROWS ? n_tokens - first : ROWS;
        const size_t end = first + n - 1; /* nobody asks what follows the last */
        int failed = stile_eval_rows(a->session, tokens + at, end - at, n, a->rows, error);
        if (!failed) failed = score_rows(a->threads, a->rows, NULL, n, a->n_vocab, tokens + first, scores, error);
        if (failed) return failed;
        for (size_t i = 0; i < n; i++)
            *log_p += scores[i].log_p;
        at = end;
    }
    return 0;
}

/* Log-probability of one choice. Where its first token swallows the end of the question, that token is scored whole. */
static int try_choice(struct answering *a, const struct buffer *question, const char *choice, double *log_p,
                      struct stile_error *error)
{
    const struct stile_model *model = a->plan->model;
    struct buffer whole = {0};
    int32_t *before = NULL, *tokens = NULL;
    size_t n_before, n_tokens;
    buffer_printf(&whole, "%s %s", question->data, choice);
    int failed = whole.failed ? error_memory(error, question->n, "a task") : 0;
    if (!failed)
        failed = stile_tokenize(model, question->data, question->n, STILE_ADD_SPECIAL, &before, &n_before, error);
    if (!failed) failed = stile_tokenize(model, whole.data, whole.n, STILE_ADD_SPECIAL, &tokens, &n_tokens, error);
    if (!failed) {
        if (n_tokens > 1 && stile_token_is_end(model, tokens[n_tokens - 1])) n_tokens--; /* that of the vocabulary */
        size_t first = common(before, n_before, tokens, n_tokens - 1);
        failed = likelihood(a, tokens, n_tokens, first > 0 ? first : 1, log_p, error);
    }
    stile_free(before);
    stile_free(tokens);
    buffer_free(&whole);
    return failed;
}

static int answer(struct answering *a, const struct task *task, struct tasks_result *result, struct stile_error *error)
{
    struct buffer question = {0};
    double log_p[TASKS_CHOICES_MAX], best = -INFINITY, best_bytes = -INFINITY;
    size_t chosen = 0, chosen_bytes = 0;
    buffer_printf(&question, "Question: %s\nAnswer:", task->question);
    int failed = question.failed ? error_memory(error, strlen(task->question), "a task") : 0;
    for (size_t i = 0; i < task->n_choices && !failed; i++) {
        failed = try_choice(a, &question, task->choices[i], &log_p[i], error);
        if (failed) break;
        double per_byte = log_p[i] / (double)strlen(task->choices[i]);
        if (log_p[i] > best) best = log_p[i], chosen = i;
        if (per_byte > best_bytes) best_bytes = per_byte, chosen_bytes = i;
    }
    buffer_free(&question);
    if (failed) return failed;
    const double n = (double)result->n;
    result->n++;
    result->n_right += chosen == task->answer;
    result->n_right_bytes += chosen_bytes == task->answer;
    result->chance += (1 / (double)task->n_choices - result->chance) / (n + 1);
    result->log_p += (log_p[task->answer] - result->log_p) / (n + 1);
    return 0;
}

int tasks_run(struct tasks_result *result, const struct tasks_plan *plan, struct stile_error *error)
{
    struct answering a = {.plan = plan, .n_vocab = stile_model_info(plan->model)->n_vocab};
    const int n_threads = plan->session.n_threads ? (int)plan->session.n_threads : threads_default_count();
    *result = (struct tasks_result){0};
    a.rows = malloc(ROWS * a.n_vocab * sizeof *a.rows);
    int failed = a.rows ? 0 : error_memory(error, ROWS * a.n_vocab * sizeof *a.rows, "rows of logits");
    if (!failed) failed = stile_session_create(&a.session, plan->model, &plan->session, error);
    if (!failed) failed = threads_create(&a.threads, n_threads, error);
    for (size_t i = 0; i < plan->tasks->n && !failed; i++) {
        failed = answer(&a, &plan->tasks->tasks[i], result, error);
        if (!failed && plan->on_task) plan->on_task(plan->user, result);
    }
    if (failed == STILE_ERROR_CONTEXT)
        failed = error_set(error, failed, "%s:%zu: the task does not fit into a context of %u tokens",
                           plan->tasks->path, plan->tasks->tasks[result->n].line, stile_context_size(a.session));
    threads_free(a.threads);
    stile_session_free(a.session);
    free(a.rows);
    return failed;
}

struct proportion proportion_of(size_t n_right, size_t n)
{
    const double z = 1.959964, p = (double)n_right / (double)n, z2n = z * z / (double)n;
    const double middle = (p + z2n / 2) / (1 + z2n), half = z * sqrt((p * (1 - p) + z2n / 4) / (double)n) / (1 + z2n);
    return (struct proportion){p, middle - half, middle + half};
}
