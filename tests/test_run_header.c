/* Models of which only the header was opened: they say what the whole says, and do not compute. */
#include "base/clock.h"
#include "base/paths.h"
#include "run/loaded.h"
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const formats[] = {"q4_k_m", "nvfp4"};

static struct stile_model *open_header(const char *name, const char *format)
{
    struct stile_model *model = NULL;
    struct stile_error error = {0};
    struct stile_header_options options = {.format = format};
    if (stile_model_open_header(&model, name, &options, &error) != 0) fail_msg("%s", error.message);
    return model;
}

static void same_tensors(const struct stile_model *a, const struct stile_model *b)
{
    struct stile_tensor_info x, y;
    assert_int_equal(stile_model_info(a)->n_tensors, stile_model_info(b)->n_tensors);
    for (uint32_t i = 0; i < stile_model_info(a)->n_tensors; i++) {
        assert_int_equal(stile_model_tensor(a, i, &x), 0);
        assert_int_equal(stile_model_tensor(b, i, &y), 0);
        assert_string_equal(x.name, y.name);
        assert_string_equal(x.format, y.format);
        assert_memory_equal(x.dims, y.dims, sizeof x.dims);
        assert_int_equal(x.size_bytes, y.size_bytes);
        assert_int_equal(x.offset_bytes, y.offset_bytes);
    }
}

static void same_information(const struct stile_model *a, const struct stile_model *b)
{
    struct stile_model_info x = *stile_model_info(a), y = *stile_model_info(b);
    struct stile_memory memory_x, memory_y;
    same_tensors(a, b);
    assert_string_equal(x.name, y.name);
    assert_string_equal(x.architecture, y.architecture);
    assert_string_equal(x.chat_template, y.chat_template);
    assert_int_equal(x.n_parameters, y.n_parameters);
    assert_int_equal(x.n_parameters_active, y.n_parameters_active);
    assert_int_equal(x.size_bytes, y.size_bytes);
    assert_memory_equal(&x.n_layers, &y.n_layers, sizeof x - offsetof(struct stile_model_info, n_layers) - 4);
    assert_int_equal(a->program->n_ops, b->program->n_ops);
    assert_int_equal(stile_model_memory(a, NULL, &memory_x, NULL), 0);
    assert_int_equal(stile_model_memory(b, NULL, &memory_y, NULL), 0);
    memory_x.other_bytes -= gguf_memory_bytes(a->model->gguf),
        memory_y.other_bytes -= gguf_memory_bytes(b->model->gguf);
    assert_memory_equal(&memory_x, &memory_y, sizeof memory_x);
    /* but for the names of the files */
    assert_true(llabs((int64_t)gguf_memory_bytes(a->model->gguf) - (int64_t)gguf_memory_bytes(b->model->gguf)) < 256);
}

static void a_shape_is_what_it_would_be(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        struct stile_model *whole = NULL, *header = open_header("smollm2-135m", formats[i]);
        assert_int_equal(stile_model_synthesize(&whole, "smollm2-135m", formats[i], NULL), 0);
        assert_string_equal(stile_model_info(header)->path, stile_model_info(whole)->path);
        same_information(header, whole);
        stile_model_close(header);
        stile_model_close(whole);
    }
}

static void a_large_shape_takes_no_time_and_no_memory(void **state)
{
    (void)state;
    uint64_t begin_ns = clock_ns();
    struct stile_model *model = open_header("llama-3.1-70b", NULL);
    double took_s = (double)(clock_ns() - begin_ns) / 1e9;
    struct stile_memory memory;
    assert_int_equal(stile_model_memory(model, NULL, &memory, NULL), 0);
    assert_true(memory.weights_bytes > 39ull << 30 && memory.weights_bytes < 41ull << 30);
    assert_true(memory.other_bytes < 100 << 20);
    printf("70B in %.0f ms\n", took_s * 1e3);
    assert_true(took_s < 2);
    stile_model_close(model);
}

static void a_file_is_what_it_is(void **state)
{
    (void)state;
    char path[] = "/tmp/stile-header-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(stile_shape_write("smollm2-135m", "q4_0", path, NULL, NULL, NULL), 0);
    struct stile_model *whole = NULL, *header = open_header(path, "bf16");
    assert_int_equal(stile_model_open(&whole, path, NULL), 0);
    assert_string_equal(stile_model_info(header)->path, path);
    same_information(header, whole);
    stile_model_close(whole);
    whole = open_header("smollm2-135m", "q4_0");
    same_information(header, whole);
    stile_model_close(header);
    stile_model_close(whole);
    unlink(path);
}

static void it_reads_text_but_does_not_compute(void **state)
{
    (void)state;
    struct stile_model *model = open_header("smollm2-135m", "q8_0");
    struct stile_session *session = NULL;
    struct stile_error error = {0};
    int32_t *tokens;
    size_t n;
    assert_int_equal(stile_tokenize(model, "bako", 4, 0, &tokens, &n, NULL), 0);
    assert_int_equal(n, 1);
    stile_free(tokens);
    assert_int_equal(stile_session_create(&session, model, NULL, &error), STILE_ERROR_ARGUMENT);
    assert_null(session);
    assert_non_null(strstr(error.message, "only the header"));
    stile_model_close(model);
}

static void wrong_names_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *name, *format;
        int code;
        const char *says;
    } cases[] = {
        {"no-such-thing", NULL, STILE_ERROR_IO, "no-such-thing"},
        {"/no/such/file.gguf", NULL, STILE_ERROR_IO, "cannot open"},
        {"llama-3.1-8b", "q9_z", STILE_ERROR_ARGUMENT, "q9_z"},
        {"", NULL, STILE_ERROR_IO, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stile_model *model = NULL;
        struct stile_error error = {0};
        struct stile_header_options options = {.format = cases[i].format};
        assert_int_equal(stile_model_open_header(&model, cases[i].name, &options, &error), cases[i].code);
        assert_null(model);
        assert_non_null(strstr(error.message, cases[i].says));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shape_is_what_it_would_be), cmocka_unit_test(a_large_shape_takes_no_time_and_no_memory),
        cmocka_unit_test(a_file_is_what_it_is),        cmocka_unit_test(it_reads_text_but_does_not_compute),
        cmocka_unit_test(wrong_names_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
