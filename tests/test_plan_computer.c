/* Computers by name, their tables against the data, and predictions for them: against figures worked out by hand, and
 * against what others measured. */
#include "plan/computer.h"
#include "plan/published.h"
#include "plan/quality.h"
#include "plan/standin.h"
#include "stile.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- tables --------------------------------------------------------------------------------- */

enum { COLUMNS_MAX = 24 };

/* Opens a table of the data and checks its header. */
static FILE *open_data(const char *path, const char *header)
{
    char line[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, header);
    return file;
}

/* Cuts the next line into its cells; false at the end. */
static bool next_row(FILE *file, char *line, size_t capacity, char *cells[], int n_columns)
{
    char *at = line;
    if (!fgets(line, (int)capacity, file)) return false;
    for (int i = 0; i < n_columns; i++) {
        cells[i] = strsep(&at, ",\n");
        assert_non_null(cells[i]);
    }
    return true;
}

static void same_text(const char *text, const char *cell)
{
    assert_string_equal(text ? text : "", cell);
}

static void same_number(double number, const char *cell)
{
    assert_true(number == strtod(*cell ? cell : "0", NULL));
}

static void hardware_is_that_of_the_data(void **state)
{
    (void)state;
    char line[4096], *cells[COLUMNS_MAX];
    FILE *file = open_data("data/hardware.csv",
                           "id,name,vendor,kind,memory_gb,mem_bandwidth_gbs,fp16_dense_tflops,int8_tops,fp8_tflops,"
                           "fp4_tflops,tdp_w,host_link,host_link_gbs,cores,base_ghz,isa,year,source\n");
    size_t n = 0;
    for (; next_row(file, line, sizeof line, cells, 18); n++) {
        assert_true(n < n_hardware_table);
        const struct hardware *h = &hardware_table[n];
        const char *const texts[] = {h->id, h->name, h->vendor, h->kind, h->isa, h->source};
        const int text_cells[] = {0, 1, 2, 3, 15, 17};
        const double numbers[] = {h->mem_bandwidth_gbs,
                                  h->fp16_dense_tflops,
                                  h->int8_tops,
                                  h->fp8_tflops,
                                  h->fp4_tflops,
                                  h->tdp_w,
                                  0,
                                  h->host_link_gbs,
                                  h->cores,
                                  h->base_ghz};
        for (int i = 0; i < 6; i++)
            same_text(texts[i], cells[text_cells[i]]);
        for (int i = 0; i < 10; i++)
            if (i != 6) same_number(numbers[i], cells[5 + i]);
        same_number(h->year, cells[16]);
        char *at = cells[4];
        for (int i = 0; i < HARDWARE_SIZES_MAX; i++) {
            const char *size = strsep(&at, "|");
            same_number(h->memory_gb[i], size ? size : "");
            assert_true(i == 0 || h->memory_gb[i] == 0 || h->memory_gb[i] > h->memory_gb[i - 1]);
        }
        assert_true(*cells[17] && h->mem_bandwidth_gbs > 0 && h->memory_gb[0] > 0);
        assert_ptr_equal(hardware_find(h->id, strlen(h->id)), h);
    }
    fclose(file);
    assert_int_equal(n, n_hardware_table);
}

static void quality_is_that_of_the_data(void **state)
{
    (void)state;
    char line[4096], *cells[COLUMNS_MAX], *end;
    FILE *file = open_data("data/quality.csv", "model,quant,bits_per_weight,metric,value,baseline,source\n");
    size_t n = 0;
    while (next_row(file, line, sizeof line, cells, 7)) {
        strtod(cells[4], &end);
        if (*end || !*cells[4]) continue; /* "<1" and "2-4" */
        assert_true(n < n_quality_table);
        const struct quality *q = &quality_table[n++];
        same_text(q->model, cells[0]);
        same_text(q->quant, cells[1]);
        same_number(q->bits_per_weight, cells[2]);
        same_text(q->metric, cells[3]);
        same_number(q->value, cells[4]);
        same_number(q->baseline, cells[5]);
        same_text(q->source, cells[6]);
    }
    fclose(file);
    assert_int_equal(n, n_quality_table);
}

static void published_is_that_of_the_data(void **state)
{
    (void)state;
    char line[4096], *cells[COLUMNS_MAX];
    FILE *file =
        open_data("data/published.csv", "machine,shape,format,bits_per_weight,engine,metric,n_tokens,value,source\n");
    size_t n = 0;
    for (; next_row(file, line, sizeof line, cells, 9); n++) {
        assert_true(n < n_published_table);
        const struct published *p = &published_table[n];
        const char *const texts[] = {p->machine, p->shape, p->format, p->engine, p->metric, p->source};
        const int text_cells[] = {0, 1, 2, 4, 5, 8};
        for (int i = 0; i < 6; i++)
            same_text(texts[i], cells[text_cells[i]]);
        same_number(p->bits_per_weight, cells[3]);
        same_number(p->n_tokens, cells[6]);
        same_number(p->value, cells[7]);
    }
    fclose(file);
    assert_int_equal(n, n_published_table);
}

/* ---- names ---------------------------------------------------------------------------------- */

static struct computer parse(const char *name)
{
    struct computer computer;
    struct stile_error error = {0};
    if (computer_parse(&computer, name, &error) != STILE_OK) fail_msg("%s: %s", name, error.message);
    return computer;
}

static void names_mean_parts(void **state)
{
    (void)state;
    struct computer c = parse("rtx5090+ddr5-6000x2+nvme5");
    assert_string_equal(c.device->id, "rtx5090");
    assert_true(c.memory_gb == 32 && c.memory_bytes_per_s == 1792e9);
    assert_true(c.host_gb == 64 && c.host_bytes_per_s == 96e9 && c.disk_bytes_per_s == 14e9);
    assert_string_equal(c.assumed, "");
    c = parse("RTX3090+ddr4-3200x2:128");
    assert_true(c.host_gb == 128 && c.host_bytes_per_s == 51.2e9);
    assert_string_equal(c.assumed, "+nvme4");
    c = parse("rtx4090");
    assert_true(c.host_gb == 64 && c.host_bytes_per_s == 89.6e9);
    assert_string_equal(c.assumed, "+ddr5-5600x2:64+nvme4");
    c = parse("rtx4090+epyc-9554:768+sata");
    assert_true(c.host && c.host_gb == 768 && c.host_bytes_per_s == 460.8e9 && c.disk_bytes_per_s == 0.55e9);
    c = parse("rtx4090+ddr5-4800x6+epyc-9554");
    assert_true(c.host && c.host_gb == 192 && c.host_bytes_per_s == 230.4e9);
    c = parse("epyc-9554+ddr5-4800x6:96");
    assert_true(c.memory_gb == 96 && c.memory_bytes_per_s == 230.4e9 && !c.size_assumed);
    c = parse("m4-max-40:128+nvme4");
    assert_true(c.memory_gb == 128 && !c.size_assumed);
    c = parse("m4-max-40");
    assert_true(c.memory_gb == 48 && c.size_assumed);
    assert_true(computer_next_size(&c) && c.memory_gb == 64 && computer_next_size(&c) && c.memory_gb == 128);
    assert_false(computer_next_size(&c));
}

static void strange_names_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *name, *says;
    } cases[] = {
        {"", "''"},
        {"rtx509", "nearest device is rtx5090"},
        {"rtx5090+", "''"},
        {"+rtx5090", "''"},
        {"rtx5090+ddr5-6000", "ddr5-6000"},
        {"rtx5090+ddr5-6000x", "ddr5-6000x"},
        {"rtx5090+ddr5-6000x0", "ddr5-6000x0"},
        {"rtx5090+ddr5-6000x2.5", "ddr5-6000x2.5"},
        {"rtx5090+ddr5-6000x2:", "ddr5-6000x2:"},
        {"rtx5090+ddr5-6000x2:64GB", "64GB"},
        {"rtx5090+ddr5-99999999x2", "99999999"},
        {"rtx5090+ddr5--6000x2", "ddr5--6000x2"},
        {"rtx5090+ddr5-nanx2", "nan"},
        {"rtx5090+ddr5-0x1p99x2", "0x1p99"},
        {"rtx5090+ddr5-6000x2+ddr5-6000x2", "nowhere to go"},
        {"rtx5090+epyc-9554+ddr5-4800x12+ddr5-4800x2", "ddr5-4800x2 has nowhere to go"},
        {"epyc-9554+ddr5-4800x12+ddr5-4800x2", "ddr5-4800x2 has nowhere to go"},
        {"epyc-9554:384+ddr5-4800x12", "ddr5-4800x12 has nowhere to go"},
        {"rtx5090+ddr5-4800x12+epyc-9554:384", "epyc-9554:384 has nowhere to go"},
        {"rtx5090+epyc-9554+epyc-9554", "second device"},
        {"rtx5090+nvme4+nvme5", "nvme5 is a second disk"},
        {"rtx5090+ddr5-6e3x2", "ddr5-6e3x2"},
        {"rtx5090+ddr5-6000x0x2", "ddr5-6000x0x2"},
        {"epyc-9554:1e3", "no epyc-9554"},
        {"epyc-9554:0x10", "no epyc-9554"},
        {"epyc-9554:6.4.0", "no epyc-9554"},
        {"rtx5090+rtx5090", "second device"},
        {"epyc-9554+rtx5090", "the card first"},
        {"m4-max-40+ddr5-6000x2", "its own"},
        {"m4-max-40:100", "no m4-max-40 with 100 GB"},
        {"m4-max-40:0", "no m4-max-40"},
        {"m4-max-40:-1", "no m4-max-40"},
        {"m4-max-40:1e99", "no m4-max-40"},
        {"rtx5090:64", "no rtx5090 with 64 GB"},
        {"\xff\x1b[2J", "is no device"},
        {"xyz", "--all-machines lists"},
    };
    struct computer computer;
    struct stile_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (computer_parse(&computer, cases[i].name, &error) != STILE_ERROR_ARGUMENT)
            fail_msg("'%s' is understood", cases[i].name);
        if (!strstr(error.message, cases[i].says)) fail_msg("'%s': %s", cases[i].name, error.message);
    }
    char name[4096];
    memset(name, '+', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_int_equal(computer_parse(&computer, name, &error), STILE_ERROR_ARGUMENT);
}

/* ---- predictions ---------------------------------------------------------------------------- */

static struct plan_request request_of(const struct standin *standin)
{
    return (struct plan_request){
        .program = &standin->program,
        .memory = {.kv_bytes = 500000000, .activations_bytes = 100000000, .other_bytes = 100000000},
        .n_batch = 512,
        .n_prompt = 512,
        .n_generated = 1,
        .kv_format = FORMAT_F16,
    };
}

static struct computer_plan predict(const char *name, const char *shape, enum format format, double bits)
{
    struct standin standin;
    struct computer_plan result;
    struct computer computer = parse(name);
    assert_true(standin_create(&standin, shape_find(shape), format, bits));
    struct plan_request request = request_of(&standin);
    computer_predict(&computer, &request, &result);
    standin_free(&standin);
    return result;
}

static void assert_about(double value, double expected, double share)
{
    if (!(fabs(value / expected - 1) <= share)) fail_msg("%g is not about %g", value, expected);
}

/* A stand-in reads as many weights for a token as the table of shapes says, and is as large. */
static void stand_ins_have_the_size_of_their_models(void **state)
{
    (void)state;
    const struct step_shape step = {.n_tokens = 1, .n_selected = 1, .kv_format = FORMAT_F16};
    size_t n = 0;
    for (size_t i = 0; i < n_shapes; i++) {
        struct standin standin;
        if (!standin_create(&standin, &shapes[i], FORMAT_Q8_0, 8)) continue;
        struct cost cost = program_cost(&standin.program, &step);
        assert_about((double)cost.weight_bytes, shapes[i].n_params_active_m * 1e6, 0.01);
        standin_free(&standin);
        n++;
    }
    assert_true(n >= n_shapes - 1);
    assert_false(standin_create(&(struct standin){.ops = NULL}, &(struct shape){.id = ""}, FORMAT_Q8_0, 8));
}

/* 70B, 42 GB: a quarter of it in the host's memory costs nearly all of the speed. */
static void a_card_with_a_host(void **state)
{
    (void)state;
    double card_bytes = 0.97 * 32 * 1073741824 - 0.6e9 - 700e6, all_bytes = 69.502e9 * 4.82 / 8;
    struct computer_plan fits = predict("rtxpro6000-bw", "llama-3.3-70b", FORMAT_Q4_K, 4.82);
    struct computer_plan split = predict("rtx5090+ddr5-6000x2", "llama-3.3-70b", FORMAT_Q4_K, 4.82);
    assert_true(fits.plan.fits && fits.plan.places[1].dense_bytes == 0);
    assert_string_equal(fits.decode_bound, "device memory");
    assert_true(split.plan.fits && split.plan.places[1].dense_bytes > 0);
    assert_string_equal(split.decode_bound, "host memory");
    assert_false(split.decode_over_link);
    assert_about((double)split.plan.places[0].dense_bytes, card_bytes, 0.01);
    double host_s = (all_bytes - card_bytes) / (96e9 * 0.72), card_s = card_bytes / (1792e9 * 0.78) + 641 * 4e-6;
    assert_about(split.plan.decode_tokens_per_s.range.value, 1 / (host_s + card_s), 0.02);
    assert_true(fits.plan.decode_tokens_per_s.range.value > 4 * split.plan.decode_tokens_per_s.range.value);
    /* nothing is known of the host's arithmetic, so what lies there crosses the link to the card */
    assert_true(split.prefill_over_link && split.plan.prefill_tokens_per_s.range.value > 100);
    /* a slow host beside a fast link: crossing is faster in decode, too */
    struct computer_plan slow = predict("rtx5090+ddr3-1600x1:64", "llama-3.3-70b", FORMAT_Q4_K, 4.82);
    assert_true(slow.decode_over_link);
    assert_string_equal(slow.decode_bound, "link");
}

/* Experts go to the host: a token needs few of them. */
static void a_mixture_on_a_card(void **state)
{
    (void)state;
    struct computer_plan dense = predict("rtx4090", "qwen2.5-72b", FORMAT_Q4_K, 4.8);
    struct computer_plan mixture = predict("rtx4090", "glm-4.5-air", FORMAT_Q4_K, 4.8);
    assert_true(mixture.plan.places[1].expert_bytes > UINT64_C(30000000000) && mixture.plan.places[1].dense_bytes == 0);
    assert_true(mixture.plan.decode_tokens_per_s.range.value > 3 * dense.plan.decode_tokens_per_s.range.value);
}

/* Guessed tokens share what is read of a long context, but it is read. */
static void a_long_context(void **state)
{
    (void)state;
    struct standin standin;
    struct computer_plan one, four;
    struct computer computer = parse("rtx4090");
    assert_true(standin_create(&standin, shape_find("llama-3.1-8b"), FORMAT_Q4_K, 4.8));
    struct plan_request request = request_of(&standin);
    double kv_bytes = 100000.0 * 32 * 2 * 8 * 128 * 2, weight_bytes = 7.505e9 * 4.8 / 8;
    request.n_depth = 100000;
    computer_predict(&computer, &request, &one);
    assert_about(one.plan.token_bytes[0], kv_bytes + weight_bytes, 0.01);
    request.n_guessed = 3;
    request.tokens_per_pass = 2;
    computer_predict(&computer, &request, &four);
    double ratio = four.plan.decode_tokens_per_s.range.value / one.plan.decode_tokens_per_s.range.value;
    assert_true(ratio > 1.5 && ratio <= 2);
    standin_free(&standin);
}

static void memory_and_disk(void **state)
{
    (void)state;
    /* macOS lets the GPU have two thirds of 36 GB, three quarters of more; the smallest that does is taken */
    struct computer c = parse("m3-pro"), other = parse("m3-max-40");
    struct standin standin;
    struct computer_plan result;
    assert_true(standin_create(&standin, shape_find("qwen2.5-32b"), FORMAT_Q4_K, 4.8));
    struct plan_request request = request_of(&standin);
    computer_predict(&c, &request, &result);
    assert_string_equal(c.name, "m3-pro:36");
    assert_true(result.plan.fits);
    assert_true(result.machine.tiers[0].capacity_bytes == (uint64_t)(2.0 / 3 * 36 * 1073741824));
    computer_predict(&other, &request, &result);
    assert_string_equal(other.name, "m3-max-40:48");
    standin_free(&standin);
    /* from the disk: what does not fit, at its rate */
    struct computer_plan disk = predict("r7-5800x-ddr4:32+nvme3", "llama-3.3-70b", FORMAT_Q4_K, 4.82);
    assert_false(disk.plan.fits);
    assert_true(disk.plan.possible);
    assert_string_equal(disk.decode_bound, "disk");
    double memory_bytes = 0.94 * 32 * 1073741824 - 1e9 - 700e6;
    assert_about(disk.plan.decode_tokens_per_s.range.value, 0.8 * 3.5e9 / (69.502e9 * 4.82 / 8 - memory_bytes), 0.02);
}

/* Every device with every shape: ranges in order, power between nothing and what is rated, energy that physics allows. */
static void every_result_makes_sense(void **state)
{
    (void)state;
    static const char *const names[] = {"smollm2-135m", "llama-3.1-8b", "llama-3.3-70b", "qwen3-30b-a3b",
                                        "deepseek-v3"};
    for (size_t s = 0; s < sizeof names / sizeof *names; s++) {
        struct standin standin;
        assert_true(standin_create(&standin, shape_find(names[s]), FORMAT_Q4_K, 4.8));
        struct plan_request request = request_of(&standin);
        for (size_t i = 0; i < n_hardware_table; i++) {
            struct computer computer;
            struct computer_plan r;
            computer_of(&computer, &hardware_table[i]);
            computer_predict(&computer, &request, &r);
            const struct plan_range *t = &r.plan.decode_tokens_per_s.range, *j = &r.token_j, *w = &r.power_w;
            const struct plan_range *p = &r.plan.prefill_tokens_per_s.range;
            assert_true(r.plan.possible && t->value > 0 && t->low <= t->value && t->value <= t->high);
            assert_true(p->low <= p->value && p->value <= p->high);
            /* not faster than reading the weights of a token from the memory of the device */
            assert_true(t->high < hardware_table[i].mem_bandwidth_gbs * 1e9 * 1.1 /
                                      ((double)shape_find(names[s])->n_params_active_m * 1e6 * 4.8 / 8));
            if (!(hardware_table[i].tdp_w > 0)) {
                assert_true(j->value == 0 && r.rated_w == 0);
                continue;
            }
            assert_true(w->low > 0 && w->low <= w->value && w->value <= w->high && w->high <= 1.1 * r.rated_w);
            assert_about(j->value * t->value, w->value, 0.5);
            double bytes = (double)r.plan.token_bytes[0] + r.plan.token_bytes[1] + r.plan.token_bytes[2];
            assert_true(j->low <= j->value && j->value <= j->high && j->low >= bytes * 8 * 4e-12);
        }
        standin_free(&standin);
    }
}

/* ---- against others' measurements ------------------------------------------------------------ */

struct errors {
    size_t n, n_within;
    double median, worst, all[64];
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Over the rows of a metric, of mixtures of experts or of dense models. */
static struct errors errors_of(const char *metric, bool mixtures)
{
    struct errors errors = {.n = 0};
    for (size_t i = 0; i < n_published_table; i++) {
        const struct published *row = &published_table[i];
        struct plan_range range;
        if (strcmp(row->metric, metric) != 0 || (shape_find(row->shape)->n_experts > 0) != mixtures) continue;
        if (!published_predict(row, &range) || !(range.low > 0)) fail_msg("row %zu", i);
        errors.n_within += range.low <= row->value && row->value <= range.high;
        errors.all[errors.n++] = fabs(range.value / row->value - 1);
    }
    qsort(errors.all, errors.n, sizeof *errors.all, by_size);
    errors.median = errors.all[errors.n / 2];
    errors.worst = errors.all[errors.n - 1];
    return errors;
}

static void published_measurements_are_met(void **state)
{
    (void)state;
    static const struct {
        const char *metric;
        bool mixtures;
        size_t n;
        double median, worst;
    } cases[] = {{"decode", false, 26, 0.06, 0.7}, {"decode", true, 11, 0.15, 1.4}, {"prefill", false, 3, 0.15, 0.2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct errors errors = errors_of(cases[i].metric, cases[i].mixtures);
        print_message("%s, %s: %zu rows, %zu within the range, median %.1f%%, worst %.0f%%\n", cases[i].metric,
                      cases[i].mixtures ? "mixtures" : "dense", errors.n, errors.n_within, 100 * errors.median,
                      100 * errors.worst);
        assert_int_equal(errors.n, cases[i].n);
        assert_true(errors.median < cases[i].median && errors.worst < cases[i].worst);
        assert_true(errors.n_within + 1 >= errors.n);
    }
}

static void published_measurements_are_public(void **state)
{
    (void)state;
    struct stile_published p;
    const char *name, *description = NULL;
    size_t n = 0;
    for (; stile_plan_published(&p, n); n++) {
        assert_true(p.predicted_tokens_per_s.low > 0 && p.measured_tokens_per_s > 0 && *p.source);
        assert_true(p.mixture == (shape_find(p.shape)->n_experts > 0));
    }
    assert_int_equal(n, n_published_table);
    for (n = 0; (name = stile_computer_name(n, &description)); n++)
        assert_true(*name && *description);
    assert_int_equal(n, n_hardware_table);
}

/* Wall power of whole computers while decoding (github.com/geerlingguy/ai-benchmarks; peaks). */
static void power_is_that_of_published_computers(void **state)
{
    (void)state;
    static const struct {
        const char *name, *shape;
        double bits, watts;
    } cases[] = {
        {"rtx4090", "llama-3.2-3b", 5.03, 261.9},
        {"rtx4090", "qwen2.5-14b", 4.87, 464},
        {"rtx4090", "gpt-oss-20b", 5.68, 509},
        {"rtx3060-12", "llama-3.2-3b", 5.03, 214},
        {"rtx3060-12", "qwen2.5-14b", 4.87, 224},
        {"m3-ultra-80:512", "llama-3.2-3b", 5.03, 223},
        {"m3-ultra-80:512", "qwen2.5-14b", 4.87, 227},
        {"m3-ultra-80:512", "llama-3.3-70b", 4.82, 260},
        {"m4", "llama-3.2-3b", 5.03, 30.1},
        {"dgx-spark-gb10", "llama-3.2-3b", 5.03, 128.5},
        {"dgx-spark-gb10", "qwen2.5-14b", 4.87, 138},
        {"strix-halo-395:128", "llama-3.2-3b", 5.03, 133},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct computer_plan r = predict(cases[i].name, cases[i].shape, FORMAT_Q4_K, cases[i].bits);
        if (!(r.power_w.low <= cases[i].watts * 1.02 && cases[i].watts <= r.power_w.high * 1.02))
            fail_msg("%s, %s: %.0f W is not within %.0f .. %.0f", cases[i].name, cases[i].shape, cases[i].watts,
                     r.power_w.low, r.power_w.high);
    }
}

/* ---- quality -------------------------------------------------------------------------------- */

static void quality_is_of_the_nearest_model(void **state)
{
    (void)state;
    struct quality_expected q;
    quality_expect(&q, "q4_k_m", UINT64_C(8000000000));
    assert_about(q.ppl_loss, 6.9593 / 6.7684 - 1, 0.1);
    assert_about(q.divergence, 0.032, 0.05);
    assert_true(strncmp(q.model, "Llama-3-8B", 10) == 0 && !q.imatrix);
    quality_expect(&q, "Q4_K_M", UINT64_C(70000000000));
    assert_string_equal(q.model, "Llama-3-70B");
    assert_about(q.divergence, 0.055418, 0.001);
    quality_expect(&q, "iq3_xxs", UINT64_C(70000000000));
    assert_true(q.imatrix && q.ppl_loss > 0.1);
    quality_expect(&q, "nvfp4", UINT64_C(8000000000));
    assert_string_equal(q.model, "Qwen3-8B");
    assert_about(q.ppl_loss, 18.28 / 17.92 - 1, 0.001);
    assert_true(q.divergence < 0);
    quality_expect(&q, "bf16", 1);
    assert_true(q.ppl_loss == 0 && q.divergence == 0 && !*q.model);
    /* a name that others begin with is not theirs; nothing published is not known */
    static const char *const unknown[] = {"q4_k", "q3_k", "q", "", "tq1_0", "q2_0", "mxfp4"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        quality_expect(&q, unknown[i], 1);
        if (q.model || q.ppl_loss >= 0 || q.divergence >= 0) fail_msg("%s is known", unknown[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hardware_is_that_of_the_data),
        cmocka_unit_test(quality_is_that_of_the_data),
        cmocka_unit_test(published_is_that_of_the_data),
        cmocka_unit_test(names_mean_parts),
        cmocka_unit_test(strange_names_are_errors),
        cmocka_unit_test(stand_ins_have_the_size_of_their_models),
        cmocka_unit_test(a_card_with_a_host),
        cmocka_unit_test(a_mixture_on_a_card),
        cmocka_unit_test(a_long_context),
        cmocka_unit_test(memory_and_disk),
        cmocka_unit_test(every_result_makes_sense),
        cmocka_unit_test(published_measurements_are_met),
        cmocka_unit_test(published_measurements_are_public),
        cmocka_unit_test(power_is_that_of_published_computers),
        cmocka_unit_test(quality_is_of_the_nearest_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
