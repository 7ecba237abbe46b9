/* Multiple-choice tasks: the file, also a stranger's; likelihoods against stile_eval; Wilson's interval. */
#include "lab/tasks.h"
#include "tiny_model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char path[] = "/tmp/stile-test-XXXXXX";

static int load(struct tasks *tasks, const char *text, size_t n, struct stile_error *error)
{
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(text, 1, n, file), n);
    fclose(file);
    return tasks_load(tasks, path, error);
}

static void refuse(const char *text, const char *says)
{
    struct tasks tasks;
    struct stile_error error = {0};
    assert_int_equal(load(&tasks, text, strlen(text), &error), STILE_ERROR_MALFORMED);
    if (!strstr(error.message, says) || !strstr(error.message, path)) fail_msg("%s: %s", text, error.message);
}

static void files_are_read(void **state)
{
    (void)state;
    static const char text[] =
        "{\"question\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": 1}\n\n  \r\n"
        "{\"id\": 7, \"question\": \"\\u00fc\", \"choices\": [\"x\", \"y\", \"z\"], \"answer\": \"z\"}";
    struct tasks tasks;
    struct stile_error error = {0};
    if (load(&tasks, text, sizeof text - 1, &error)) fail_msg("%s", error.message);
    assert_int_equal(tasks.n, 2);
    assert_string_equal(tasks.tasks[0].question, "Q");
    assert_int_equal(tasks.tasks[0].n_choices, 2);
    assert_int_equal(tasks.tasks[0].answer, 1);
    assert_string_equal(tasks.tasks[1].question, "\xc3\xbc");
    assert_string_equal(tasks.tasks[1].choices[2], "z");
    assert_int_equal(tasks.tasks[1].answer, 2);
    assert_int_equal(tasks.tasks[1].line, 4);
    tasks_free(&tasks);
}

static void hostile_files(void **state)
{
    (void)state;
    static const char good[] = "{\"question\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": 1}\n";
    struct tasks tasks;
    struct stile_error error = {0};
    refuse("", "no task");
    refuse("\n\n", "no task");
    refuse("[1, 2]", ":1: ");
    refuse("hello", ":1: ");
    refuse("{\"question\": \"Q\", \"choices\": [\"a\", \"b\"]}", "answer");
    refuse("{\"question\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": 2}", "answer");
    refuse("{\"question\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": -1}", "answer");
    refuse("{\"question\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": \"c\"}", "answer");
    refuse("{\"question\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": 1.5}", "answer");
    refuse("{\"question\": \"Q\", \"choices\": [\"a\"], \"answer\": 0}", "choices");
    refuse("{\"question\": \"Q\", \"choices\": \"ab\", \"answer\": 0}", "choices");
    refuse("{\"question\": \"Q\", \"choices\": [\"a\", 2], \"answer\": 0}", "choice");
    refuse("{\"question\": \"Q\", \"choices\": [\"a\", \"\"], \"answer\": 0}", "choice");
    refuse("{\"question\": \"\", \"choices\": [\"a\", \"b\"], \"answer\": 0}", "question");
    refuse("{\"question\": 5, \"choices\": [\"a\", \"b\"], \"answer\": 0}", "question");
    refuse("{\"question\": \"\\ud800\", \"choices\": [\"a\", \"b\"], \"answer\": 0}", ":1: ");
    refuse("{\"question\": \"\\u0000\", \"choices\": [\"a\", \"b\"], \"answer\": 0}", ":1: ");
    refuse("{\"question\": \"\xff\", \"choices\": [\"a\", \"b\"], \"answer\": 0}", ":1: ");
    for (size_t n = 1; n < sizeof good - 2; n++)
        assert_int_equal(load(&tasks, good, n, &error), STILE_ERROR_MALFORMED);

    struct buffer text = {0}; /* many choices, deep nesting, a long line */
    buffer_string(&text, "{\"question\": \"Q\", \"choices\": [");
    for (int i = 0; i < 17; i++)
        buffer_string(&text, i ? ", \"x\"" : "\"x\"");
    buffer_string(&text, "], \"answer\": 0}");
    refuse(text.data, "choices");
    text.n = 0;
    for (int i = 0; i < 100000; i++)
        buffer_char(&text, '[');
    refuse(text.data, ":1: ");
    text.n = 0;
    for (int i = 0; i < 2 << 20; i++)
        buffer_char(&text, 'a');
    refuse(text.data, "too long");
    buffer_free(&text);
    unlink(path);
    assert_int_equal(tasks_load(&tasks, path, &error), STILE_ERROR_IO);
    assert_int_equal(tasks_load(&tasks, "/tmp", &error), STILE_ERROR_IO);
}

/* Log-probability of `choice` after the question, token by token. */
static double likelihood(struct stile_model *model, const char *question, const char *choice)
{
    char text[256];
    struct stile_session *session;
    struct stile_error error = {0};
    int32_t *before, *tokens;
    size_t n_before, n;
    double sum = 0;
    snprintf(text, sizeof text, "Question: %s\nAnswer: %s", question, choice);
    assert_int_equal(stile_tokenize(model, text, strlen(text) - strlen(choice) - 1, 0, &before, &n_before, &error), 0);
    assert_int_equal(stile_tokenize(model, text, strlen(text), 0, &tokens, &n, &error), 0);
    assert_int_equal(stile_session_create(&session, model, &(struct stile_session_options){.n_ctx = 256}, &error), 0);
    for (size_t t = 0; t + 1 < n; t++) {
        assert_int_equal(stile_eval(session, tokens + t, 1, &error), 0);
        if (t + 1 < n_before) continue;
        const float *row = stile_logits(session);
        double all = 0;
        for (size_t v = 0; v < TINY_VOCAB; v++)
            all += exp((double)row[v]);
        sum += (double)row[tokens[t + 1]] - log(all);
    }
    stile_session_free(session);
    stile_free(before);
    stile_free(tokens);
    return sum;
}

static void check_answers(void (*change)(struct gguf_write *file))
{
    static const char *const choices[] = {"A", "ZZZZZZZZZZ", "of the", "QRS",
                                          "a choice that has more tokens than are looked at together at one time"};
    enum { N = sizeof choices / sizeof *choices };
    struct stile_model *model;
    struct stile_error error = {0};
    struct buffer text = {0};
    size_t n_right = 0, n_right_bytes = 0;
    double log_p = 0;
    if (tiny_open(&model, change, &error)) fail_msg("%s", error.message);
    for (size_t q = 0; q < 12; q++) {
        char question[32];
        size_t best = 0, best_bytes = 0;
        double found[N];
        snprintf(question, sizeof question, "Which %zu?", q * q * 31);
        for (size_t i = 0; i < N; i++) {
            found[i] = likelihood(model, question, choices[i]);
            if (found[i] > found[best]) best = i;
            if (found[i] / (double)strlen(choices[i]) > found[best_bytes] / (double)strlen(choices[best_bytes]))
                best_bytes = i;
        }
        size_t answer = q % 3 == 0 ? best : q % N;
        n_right += best == answer;
        n_right_bytes += best_bytes == answer;
        log_p += found[answer] / 12;
        buffer_printf(&text, "{\"question\": \"%s\", \"choices\": [", question);
        for (size_t i = 0; i < N; i++)
            buffer_printf(&text, "%s\"%s\"", i ? ", " : "", choices[i]);
        buffer_printf(&text, "], \"answer\": %zu}\n", answer);
    }
    struct tasks tasks;
    struct tasks_result result;
    if (load(&tasks, text.data, text.n, &error)) fail_msg("%s", error.message);
    const struct tasks_plan plan = {.model = model, .tasks = &tasks, .session = {.n_ctx = 256, .n_batch = 16}};
    if (tasks_run(&result, &plan, &error)) fail_msg("%s", error.message);
    assert_int_equal(result.n, 12);
    assert_int_equal(result.n_right, n_right);
    assert_int_equal(result.n_right_bytes, n_right_bytes);
    assert_true(fabs(result.log_p - log_p) < 1e-5);
    assert_true(fabs(result.chance - 0.2) < 1e-12);
    tasks_free(&tasks);
    buffer_free(&text);
    stile_model_close(model);
}

static void answers_are_the_likeliest(void **state)
{
    (void)state;
    check_answers(NULL);
    check_answers(tiny_gemma3); /* its sliding windows cannot always go back */
}

static void tasks_that_do_not_fit(void **state)
{
    (void)state;
    static const char text[] =
        "{\"question\": \"Q\", \"choices\": [\"a\", \"b\"], \"answer\": 1}\n"
        "{\"question\": \"QQQQQQQQQQQQQQQQQQQQQQQQQQ\", \"choices\": [\"a\", \"b\"], \"answer\": 1}\n";
    struct stile_model *model;
    struct tasks tasks;
    struct tasks_result result;
    struct stile_error error = {0};
    volatile int cancel = 1;
    if (tiny_open(&model, NULL, &error)) fail_msg("%s", error.message);
    assert_int_equal(load(&tasks, text, sizeof text - 1, &error), 0);
    struct tasks_plan plan = {.model = model, .tasks = &tasks, .session = {.n_ctx = 30}};
    assert_int_equal(tasks_run(&result, &plan, &error), STILE_ERROR_CONTEXT);
    assert_int_equal(result.n, 1);
    assert_non_null(strstr(error.message, ":2: "));
    plan.session = (struct stile_session_options){.cancel = &cancel};
    assert_int_equal(tasks_run(&result, &plan, &error), STILE_ERROR_CANCELLED);
    assert_int_equal(result.n, 0);
    tasks_free(&tasks);
    stile_model_close(model);
}

static void proportions(void **state)
{
    (void)state;
    struct proportion p = proportion_of(50, 100); /* Wilson 1927: (0.4038, 0.5962) */
    assert_true(p.value == 0.5 && fabs(p.low - 0.40383) < 1e-4 && fabs(p.high - 0.59617) < 1e-4);
    p = proportion_of(0, 10);
    assert_true(p.value == 0 && fabs(p.low) < 1e-12 && fabs(p.high - 0.27753) < 1e-4);
    p = proportion_of(10, 10);
    assert_true(fabs(p.high - 1) < 1e-12 && fabs(p.low - 0.72247) < 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(answers_are_the_likeliest),
        cmocka_unit_test(tasks_that_do_not_fit),
        cmocka_unit_test(proportions),
    };
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return n_failed;
}
