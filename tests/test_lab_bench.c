/* The protocol on a tiny model, records there and back, comparisons of made-up records. */
#include "lab/bench.h"
#include "lab/compare.h"
#include "lab/limit.h"
#include "lab/record.h"
#include "lab/table.h"

#include "gguf_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char model_path[] = "/tmp/stile-lab-XXXXXX";
static const struct host host = {
    .machine = {.cpu = "a processor", .isa = "scalar", .read_bytes_per_s = 1e9}, .n_processors = 4, .kernel = "Linux"};
static const uint32_t zero, one = 1;

static void near(double value, double expected, double tolerance)
{
    if (!(value >= expected - tolerance && value <= expected + tolerance))
        fail_msg("%.12g is not %.12g", value, expected);
}

static int write_model(void **state)
{
    (void)state;
    struct gguf_write file;
    struct buffer bytes = {0};
    gguf_write_init(&file);
    gguf_write_tiny_model(&file);
    gguf_write_finish(&file, &bytes);
    gguf_write_free(&file);
    int fd = mkstemp(model_path);
    bool ok = fd >= 0 && write(fd, bytes.data, bytes.n) == (ssize_t)bytes.n;
    close(fd);
    buffer_free(&bytes);
    return ok ? 0 : -1;
}

static int remove_model(void **state)
{
    (void)state;
    return unlink(model_path);
}

struct seen {
    const struct bench_plan *plan;
    json_t *records;
    volatile int cancel;
    size_t cancel_after;
};

static void keep(void *user, const struct bench_result *result)
{
    struct seen *seen = user;
    json_array_append_new(seen->records, record_make(seen->plan, result));
    if (json_array_size(seen->records) == seen->cancel_after) seen->cancel = 1;
}

static const json_t *record(const struct seen *seen, size_t i)
{
    const json_t *object = json_array_get(seen->records, i);
    assert_non_null(object);
    return object;
}

static struct bench_plan small_plan(struct seen *seen)
{
    static const struct bench_model models[] = {{.path = model_path}, {.path = model_path}};
    static const uint32_t prompts[] = {4, 6}, generates[] = {3}, depths[] = {0, 5};
    return (struct bench_plan){
        .models = models,
        .n_models = 1,
        .prompts = {prompts, 2},
        .generates = {generates, 1},
        .depths = {depths, 2},
        .batches = {&zero, 1},
        .threads = {&one, 1},
        .n_repetitions = 3,
        .time_s = 100,
        .cancel = &seen->cancel,
        .host = &host,
        .user = seen,
    };
}

static void run(struct bench_plan *plan, struct seen *seen, int expected)
{
    struct stile_error error;
    seen->plan = plan;
    seen->records = json_array();
    int failed = bench_run(plan, keep, &error);
    if (failed != expected) fail_msg("%d: %s", failed, error.message);
}

static void every_combination_is_measured(void **state)
{
    (void)state;
    static const char *const names[] = {"pp4", "pp6", "tg3", "pp4@d5", "pp6@d5", "tg3@d5"};
    struct seen seen = {0};
    struct bench_plan plan = small_plan(&seen);
    plan.profile = true;
    run(&plan, &seen, 0);
    assert_int_equal(json_array_size(seen.records), 6);
    for (size_t i = 0; i < 6; i++) {
        const json_t *r = record(&seen, i);
        struct stats stats;
        assert_string_equal(record_text(r, "test"), names[i]);
        assert_true(record_stats(r, &stats));
        assert_int_equal(stats.n, 3);
        near(record_number(r, "tokens_per_s"), stats.median, 1e-9 * stats.median);
        double bytes = record_number(r, "bytes_per_token"), rate = record_number(r, "rate_bytes_per_s");
        assert_true(bytes > 0 && record_number(r, "macs_per_s") > 0 && record_number(r, "peak_memory_bytes") > 1e6);
        near(rate, bytes * stats.median, 1e-6 * rate);
        double limit = record_number(r, "limit_bytes_per_s");
        near(record_number(r, "share_of_limit"), strncmp(names[i], "tg", 2) == 0 ? rate / limit : 0, 1e-6);
        assert_int_equal(json_array_size(json_object_get(r, "limit_samples")), 3);
        assert_int_equal(json_array_size(json_object_get(json_object_get(r, "profile"), "layers")) > 1, 1);
        assert_true(record_number(r, "profile.time_ns") > 0);
    }
    /* a deeper context is more to read; a larger prompt reads the weights for more tokens at once */
    assert_true(record_number(record(&seen, 5), "bytes_per_token") >
                record_number(record(&seen, 2), "bytes_per_token"));
    assert_true(record_number(record(&seen, 1), "bytes_per_token") <
                record_number(record(&seen, 0), "bytes_per_token"));
    json_decref(seen.records);
}

/* The cost that is counted in the warm-up of a prefill of one batch is what the program says. */
static void costs_are_the_program_s(void **state)
{
    (void)state;
    struct stile_model *model;
    struct stile_session *session;
    struct stile_cost cost, step;
    struct seen seen = {0};
    struct bench_plan plan = small_plan(&seen);
    run(&plan, &seen, 0);
    assert_int_equal(stile_model_open(&model, model_path, NULL), 0);
    assert_int_equal(stile_session_create(&session, model, NULL, NULL), 0);
    stile_session_cost(session, 6, 5, &cost);
    near(record_number(record(&seen, 4), "bytes_per_token"), (double)(cost.weight_bytes + cost.kv_bytes) / 6, 1e-6);
    double bytes = 0;
    for (uint32_t i = 0; i < 3; i++) {
        stile_session_cost(session, 1, 5 + i, &step);
        bytes += (double)(step.weight_bytes + step.kv_bytes) / 3;
    }
    near(record_number(record(&seen, 5), "bytes_per_token"), bytes, 1e-6);
    stile_session_free(session);
    stile_model_close(model);
    json_decref(seen.records);
}

/* 8 million multiplications with weights: 6 in Q4_K at 3 M/s, 2 in Q8_0 at 1 M/s. */
static void the_arithmetic_s_limit(void **state)
{
    (void)state;
    struct stile_profile_entry entries[] = {
        {.kind = "matmul", .name = "a", .format = "Q4_K", .cost.macs = 6000000},
        {.kind = "attention", .name = "", .format = "", .cost.macs = 5000000}, /* has no weights */
        {.kind = "norm", .name = "n", .format = "F32"},                        /* does not multiply */
        {.kind = "matmul", .name = "b", .format = "Q8_0", .cost.macs = 2000000},
    };
    struct stile_probe *probe = calloc(1, sizeof *probe);
    strcpy(probe->isa, "scalar");
    snprintf(probe->commit, sizeof probe->commit, "%s", stile_commit());
    probe->n = 2;
    probe->measurements[0] =
        (struct stile_measurement){.quantity = STILE_MATMUL, .n_threads = 2, .format = "Q4_K", .best = 3e6};
    probe->measurements[1] =
        (struct stile_measurement){.quantity = STILE_MATMUL, .n_threads = 2, .format = "Q8_0", .best = 1e6};
    double macs = 0, time_s = 0;
    limit_arithmetic(probe, 2, "scalar", entries, 4, &macs, &time_s);
    near(macs, 8e6, 0);
    near(time_s, 4, 1e-12);
    for (int i = 0; i < 4; i++) {
        macs = time_s = 0;
        if (i == 1) probe->n = 1; /* Q8_0 is not known */
        if (i == 2) probe->n = 2, strcpy(probe->commit, "another");
        if (i == 3) snprintf(probe->commit, sizeof probe->commit, "%s", stile_commit());
        limit_arithmetic(probe, i == 0 ? 1 : 2, i == 3 ? "avx2" : "scalar", entries, 4, &macs, &time_s);
        if (!(time_s < 0)) fail_msg("case %d: %g s", i, time_s);
    }
    free(probe);
}

static void models_take_turns(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct bench_plan plan = small_plan(&seen);
    plan.n_models = 2;
    plan.prompts.n = plan.depths.n = 1;
    plan.start = true;
    run(&plan, &seen, 0);
    static const char *const names[] = {"load", "load", "first-token", "first-token", "pp4", "pp4", "tg3", "tg3"};
    assert_int_equal(json_array_size(seen.records), 8);
    for (size_t i = 0; i < 8; i++) {
        assert_string_equal(record_text(record(&seen, i), "test"), names[i]);
        assert_int_equal(record_number(record(&seen, i), "ratio_to_first.median") > 0, i % 2);
        if (i < 4) {
            assert_string_equal(record_metric(record(&seen, i)), "seconds");
            assert_true(json_is_null(json_object_get(record(&seen, i), "tokens_per_s")));
            assert_true(json_is_null(json_object_get(record(&seen, i), "bytes_per_token")));
            assert_true(record_number(record(&seen, i), "seconds") > 0);
        }
    }
    json_decref(seen.records);
}

static void stopping_keeps_what_there_is(void **state)
{
    (void)state;
    struct seen seen = {.cancel_after = 2};
    struct bench_plan plan = small_plan(&seen);
    run(&plan, &seen, STILE_ERROR_CANCELLED);
    assert_int_equal(json_array_size(seen.records), 2);
    json_decref(seen.records);
}

static void it_stops_when_it_knows_enough(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct stats stats;
    struct bench_plan plan = small_plan(&seen);
    plan.prompts.n = plan.depths.n = 1;
    plan.n_repetitions = 50;
    plan.spread = 1e9;
    run(&plan, &seen, 0);
    assert_true(record_stats(record(&seen, 0), &stats));
    assert_int_equal(stats.n, BENCH_REPETITIONS_MIN);
    json_decref(seen.records);
    plan.spread = 0;
    plan.time_s = 1e-9;
    run(&plan, &seen, 0);
    assert_true(record_stats(record(&seen, 0), &stats));
    assert_int_equal(stats.n, 3);
    json_decref(seen.records);
}

static void errors_come_back(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct bench_plan plan = small_plan(&seen);
    const struct bench_model missing = {.path = "/tmp/stile-no-such-model.gguf"};
    plan.models = &missing;
    run(&plan, &seen, STILE_ERROR_IO);
    json_decref(seen.records);
    plan = small_plan(&seen);
    plan.isa = "no such";
    run(&plan, &seen, STILE_ERROR_ARGUMENT);
    assert_int_equal(json_array_size(seen.records), 0);
    json_decref(seen.records);
}

/* ---- comparing ---- */

static json_t *made_up(const char *test, const char *metric, double a, double b, double c)
{
    char samples[64];
    snprintf(samples, sizeof samples, "%s_samples", metric);
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:[fff], s:{s:s}}", "test", test, "model", "m", "format", "Q8_0",
                     "kv", "f16", "threads", 2, "metric", metric, samples, a, b, c, "machine", "cpu", "x");
}

static void comparing(void **state)
{
    (void)state;
    json_t *a = json_array(), *b = json_array();
    json_array_append_new(a, made_up("pp512", "tokens_per_s", 100, 101, 99));
    json_array_append_new(a, made_up("load", "seconds", 2, 2.1, 1.9));
    json_array_append_new(a, made_up("tg128", "tokens_per_s", 10, 11, 9));
    json_array_append_new(a, made_up("tg64", "tokens_per_s", 10, 11, 9));
    json_array_append_new(b, made_up("tg128", "tokens_per_s", 10.5, 11.5, 9.5));
    json_array_append_new(b, made_up("pp512", "tokens_per_s", 150, 148, 151));
    json_array_append_new(b, made_up("load", "seconds", 4, 4, 4));
    json_object_set_new(json_object_get(json_array_get(b, 0), "machine"), "cpu", json_string("y"));
    json_t *comparison = compare_records(a, b);
    const json_t *pairs = json_object_get(comparison, "pairs");
    assert_int_equal(json_array_size(pairs), 3);
    static const struct {
        const char *test, *faster;
        double ratio;
    } expected[] = {{"pp512", "b", 1.5}, {"load", "a", 2}, {"tg128", "", 1.05}};
    for (size_t i = 0; i < 3; i++) {
        const json_t *pair = json_array_get(pairs, i);
        assert_string_equal(record_text(pair, "test"), expected[i].test);
        assert_string_equal(record_text(pair, "faster"), expected[i].faster);
        near(record_number(pair, "ratio"), expected[i].ratio, 1e-9);
    }
    near(record_number(json_array_get(pairs, 0), "low"), 148 / 101.0, 1e-9);
    near(record_number(json_array_get(pairs, 0), "high"), 151 / 99.0, 1e-9);
    near(record_number(comparison, "only_in_a"), 1, 0);
    near(record_number(comparison, "only_in_b"), 0, 0);
    assert_int_equal(json_array_size(json_object_get(comparison, "differs")), 1);
    assert_string_equal(json_string_value(json_array_get(json_object_get(comparison, "differs"), 0)), "machine.cpu");
    json_decref(comparison);
    json_decref(a);
    json_decref(b);
}

/* What a file of these bytes gives: the number of records, or the error's code. */
static int load(const char *text, const char *says)
{
    char path[] = "/tmp/stile-lab-records-XXXXXX";
    struct stile_error error = {0};
    json_t *records = NULL;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    int failed = records_load(path, &records, &error);
    unlink(path);
    int n = (int)json_array_size(records);
    json_decref(records);
    if (failed && !strstr(error.message, says)) fail_msg("%s", error.message);
    return failed ? failed : n;
}

static void reading_records(void **state)
{
    (void)state;
    const char *record_text_1 = "{\"test\":\"a\",\"tokens_per_s_samples\":[1,2]}";
    char text[300];
    assert_int_equal(load(record_text_1, ""), 1);
    snprintf(text, sizeof text, "[%s,%s]\n", record_text_1, record_text_1);
    assert_int_equal(load(text, ""), 2);
    snprintf(text, sizeof text, "%s\n%s\n\n", record_text_1, record_text_1);
    assert_int_equal(load(text, ""), 2);
    assert_int_equal(load("", "no records"), STILE_ERROR_MALFORMED);
    assert_int_equal(load("[]", "no records"), STILE_ERROR_MALFORMED);
    assert_int_equal(load("{\"test\":", "not JSON"), STILE_ERROR_MALFORMED);
    assert_int_equal(load("{\"test\":\"a\",\"tokens_per_s_samples\":[]}", "no record of"), STILE_ERROR_MALFORMED);
    assert_int_equal(load("{\"test\":\"a\",\"tokens_per_s_samples\":[0]}", "no record of"), STILE_ERROR_MALFORMED);
    assert_int_equal(load("{\"test\":7,\"tokens_per_s_samples\":[1]}", "no record of"), STILE_ERROR_MALFORMED);
    assert_int_equal(load("[1]", "no record of"), STILE_ERROR_MALFORMED);
    assert_int_equal(records_load("/tmp/stile-no-such-file", &(json_t *){NULL}, NULL), STILE_ERROR_IO);
}

/* ---- the host and tables ---- */

static void noise_is_told(void **state)
{
    (void)state;
    struct host_noise noise;
    struct host_moment begin = {.time_ns = 0, .ticks = 1000, .busy_ticks = 100, .steal_ticks = 10, .own_s = 1};
    struct host_moment end = {.time_ns = 1000000000, .ticks = 1400, .busy_ticks = 400, .steal_ticks = 30, .own_s = 2};
    host_noise_between(&begin, &end, 4, 2, &noise);
    near(noise.steal_share, 0.05, 1e-9);
    /* 300 ticks were used, 3 s at the usual 100 a second; one of them by us */
    double others = 300.0 / (double)sysconf(_SC_CLK_TCK) - 1;
    near(noise.others_processors, others, 1e-9);
    assert_false(noise.crowded); /* 2 of others and 2 of ours fit on 4 */
    host_noise_between(&begin, &end, 4, 3, &noise);
    assert_true(noise.crowded);

    char text[300];
    const double samples[] = {1, 1, 2, 2};
    struct bench_plan plan = {.host = &host};
    struct bench_result result = {.samples = samples, .n_samples = 4, .noise = noise, .not_cold = true};
    record_noise(&plan, &result, text, sizeof text);
    for (size_t i = 0; i < 4; i++) {
        static const char *const parts[] = {"second half differs by +100%", "took 5% of", "page cache",
                                            "of 4 processors busy"};
        if (!strstr(text, parts[i])) fail_msg("no \"%s\" in: %s", parts[i], text);
    }
    result = (struct bench_result){.samples = samples, .n_samples = 2};
    record_noise(&plan, &result, text, sizeof text);
    assert_string_equal(text, "");
}

static void text_in_tables(void **state)
{
    (void)state;
    char out[64];
    table_text(out, sizeof out, "a\033[31m\n", 8);
    assert_string_equal(out, "a?[31m? ");
    table_text(out, sizeof out, "\xc3\xa4\xc3\xb6\xc2\x9b", 2);
    assert_string_equal(out, "\xc3\xa4\xc3\xb6");
    table_text(out, sizeof out, "\xc2\x9bz", 0);
    assert_string_equal(out, "?z");
    table_text(out, 4, "\xc3\xa4\xc3\xb6x", 0); /* never half a character */
    assert_string_equal(out, "\xc3\xa4");
}

static void files(void **state)
{
    (void)state;
    char hash[48], again[48];
    host_file_hash(model_path, hash, sizeof hash);
    host_file_hash(model_path, again, sizeof again);
    assert_int_equal(strncmp(hash, "fnv1a64:", 8), 0);
    assert_string_equal(hash, again);
    FILE *file = fopen(model_path, "r+");
    fseek(file, 100, SEEK_SET);
    int c = fgetc(file);
    fseek(file, 100, SEEK_SET);
    fputc(c ^ 1, file);
    fclose(file);
    host_file_hash(model_path, again, sizeof again);
    assert_string_not_equal(hash, again);
    host_file_hash("/nowhere", again, sizeof again);
    assert_string_equal(again, "");
    assert_false(host_drop_file("/nowhere"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_is_measured),
        cmocka_unit_test(costs_are_the_program_s),
        cmocka_unit_test(the_arithmetic_s_limit),
        cmocka_unit_test(models_take_turns),
        cmocka_unit_test(stopping_keeps_what_there_is),
        cmocka_unit_test(it_stops_when_it_knows_enough),
        cmocka_unit_test(errors_come_back),
        cmocka_unit_test(comparing),
        cmocka_unit_test(reading_records),
        cmocka_unit_test(noise_is_told),
        cmocka_unit_test(text_in_tables),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, write_model, remove_model);
}
