/* A sweep: formats are made, measured and removed; ready files; what fails in one row; stopping. */
#include "lab/sweep.h"
#include "tiny_model.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static char folder[] = "/tmp/stile-test-XXXXXX", path[] = "/tmp/stile-test-XXXXXX";
static struct host host;

/* The tiny model, in a file that stays: its speed is measured too. */
static void write_model(void)
{
    struct gguf_write file;
    struct buffer bytes = {0};
    gguf_write_init(&file);
    gguf_write_tiny_model(&file);
    gguf_write_finish(&file, &bytes);
    gguf_write_free(&file);
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, bytes.data, bytes.n) != (ssize_t)bytes.n) abort();
    close(fd);
    buffer_free(&bytes);
}

struct fixture {
    struct stile_model *model;
    struct windows windows;
    struct sweep_plan plan;
};

static void set_up(struct fixture *f, const struct sweep_entry *entries, size_t n)
{
    static char text[150];
    struct stile_error error = {0};
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('A' + i * i % 26);
    if (stile_model_open(&f->model, path, &error)) fail_msg("%s", error.message);
    if (windows_create(&f->windows, f->model, text, sizeof text, 32, 0, 0, &error)) fail_msg("%s", error.message);
    f->plan = (struct sweep_plan){.quality = {.model = f->model, .windows = &f->windows, .session.n_threads = 2},
                                  .folder = folder,
                                  .entries = entries,
                                  .n_entries = n,
                                  .host = &host};
}

static void tear_down(struct fixture *f)
{
    windows_free(&f->windows);
    stile_model_close(f->model);
}

static size_t count_files(void)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void check_formats(bool keep_logits, size_t n)
{
    static const struct sweep_entry entries[] = {
        {.name = "q4_0", .format = "q4_0"}, {.name = "q8_0", .format = "q8_0"}, {.name = "q5_1", .format = "q5_1"}};
    struct fixture f;
    struct sweep sweep;
    struct stile_error error = {0};
    uint64_t size_bytes;
    set_up(&f, entries, n);
    f.plan.keep_logits = keep_logits;
    assert_int_equal(sweep_size(&f.plan, &size_bytes, &error), 0);
    if (sweep_run(&sweep, &f.plan, &error)) fail_msg("%s", error.message);
    assert_int_equal(count_files(), 0);
    assert_int_equal(sweep.n_rows, 1 + n);
    assert_null(sweep.rows[0].entry);
    for (size_t i = 0; i <= n; i++) {
        const struct sweep_row *row = &sweep.rows[i];
        assert_true(row->done && !*row->failure);
        assert_true(row->size_bytes > 0 && (i == 0 || row->size_bytes < size_bytes));
        assert_true((row->estimates.divergence.value > 0) == (i > 0));
        assert_true(row->prefill.n >= 3 && row->prefill.median > 0 && row->decode.n >= 3 && row->decode.median > 0);
    }
    sweep_sort(&sweep);
    assert_null(sweep.rows[0].entry); /* F32: the largest */
    if (n == 3) {
        assert_string_equal(sweep.rows[1].entry->name, "q8_0");
        assert_string_equal(sweep.rows[2].entry->name, "q5_1");
        assert_string_equal(sweep.rows[3].entry->name, "q4_0");
        assert_true(sweep.rows[1].estimates.divergence.value < sweep.rows[3].estimates.divergence.value);
        assert_true(!sweep.rows[0].is_front && sweep.rows[1].is_front && sweep.rows[3].is_front);
    }
    sweep_free(&sweep);
    tear_down(&f);
}

static void formats_are_measured(void **state)
{
    (void)state;
    check_formats(false, 1);
    check_formats(true, 3);
}

static void fronts(void **state)
{
    (void)state;
    static const struct sweep_entry entries[4];
    struct sweep_row rows[5] = {{.done = true, .size_bytes = 1}, /* the model: counts for nothing */
                                {.entry = &entries[0], .done = true, .size_bytes = 10, .estimates.divergence.value = 3},
                                {.entry = &entries[1], .done = true, .size_bytes = 20, .estimates.divergence.value = 4},
                                {.entry = &entries[2], .done = true, .size_bytes = 30, .estimates.divergence.value = 1},
                                {.entry = &entries[3], .size_bytes = 5}};
    struct sweep sweep = {rows, 5};
    sweep_sort(&sweep);
    assert_true(rows[0].size_bytes == 30 && rows[0].is_front);
    assert_true(rows[1].size_bytes == 20 && !rows[1].is_front);
    assert_true(rows[2].size_bytes == 10 && rows[2].is_front);
    assert_true(rows[3].size_bytes == 1 && !rows[3].is_front);
    assert_true(!rows[4].done && !rows[4].is_front);
}

static void what_fails_in_one_row(void **state)
{
    (void)state;
    static const struct sweep_entry entries[] = {{.name = "x", .file = "/nowhere/x.gguf"},
                                                 {.name = "q8_0", .format = "q8_0"}};
    static const struct sweep_entry unknown[] = {{.name = "q9", .format = "q9"}};
    struct fixture f;
    struct sweep sweep;
    struct stile_error error = {0};
    uint64_t size_bytes;
    set_up(&f, entries, 2);
    if (sweep_run(&sweep, &f.plan, &error)) fail_msg("%s", error.message);
    assert_true(!sweep.rows[1].done && strstr(sweep.rows[1].failure, "/nowhere/x.gguf"));
    assert_true(sweep.rows[2].done);
    sweep_free(&sweep);
    f.plan.entries = unknown;
    f.plan.n_entries = 1;
    assert_int_equal(sweep_size(&f.plan, &size_bytes, &error), STILE_ERROR_ARGUMENT);
    tear_down(&f);
}

static volatile int cancel;

static void stop(void *user, size_t i_row, const char *what, double share)
{
    (void)user;
    (void)what;
    (void)share;
    if (i_row == 2) cancel = 1;
}

static void stopping(void **state)
{
    (void)state;
    static const struct sweep_entry entries[] = {{.name = "q8_0", .format = "q8_0"},
                                                 {.name = "q4_0", .format = "q4_0"}};
    struct fixture f;
    struct sweep sweep;
    struct stile_error error = {0};
    set_up(&f, entries, 2);
    f.plan.quality.session.cancel = &cancel;
    f.plan.on_progress = stop;
    f.plan.keep_logits = true;
    assert_int_equal(sweep_run(&sweep, &f.plan, &error), STILE_ERROR_CANCELLED);
    assert_true(sweep.rows[0].done && sweep.rows[1].done && !sweep.rows[2].done);
    assert_int_equal(count_files(), 0);
    sweep_free(&sweep);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_are_measured),
        cmocka_unit_test(fronts),
        cmocka_unit_test(what_fails_in_one_row),
        cmocka_unit_test(stopping),
    };
    if (!mkdtemp(folder)) return 1;
    host_describe(&host);
    write_model();
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    unlink(path);
    return n_failed;
}
