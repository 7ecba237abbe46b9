/* This machine as predictions see it: rates of a made-up probe, taken apart again. */
#include "plan/efficiency.h"
#include "plan/predict.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 4 };

static void add(struct stile_probe *probe, enum stile_quantity quantity, uint32_t n_threads, uint64_t size_bytes,
                const char *format, double value)
{
    struct stile_measurement *m = &probe->measurements[probe->n++];
    *m = (struct stile_measurement){
        .quantity = quantity, .n_threads = n_threads, .size_bytes = size_bytes, .n_samples = 1, .samples = {value}};
    strcpy(m->format, format);
    machine_summarize(m);
}

/* What is put in, and should come out: seconds for a multiplication, a weight and a result of products; for a
 * multiplication and a pair of attention, of many tokens and of one. */
static const double mac_s = 2e-12, weight_s = 3e-11, output_s = 4e-10;
static const double attention_mac_s = 5e-12, pair_s = 6e-10, token_mac_s = 9e-12, token_pair_s = 7e-10;
static const double read_rate = 40e9;

/* Multiplications per second of products with so many columns and tokens. */
static double products(double k, double n_tokens)
{
    return 1 / (mac_s + weight_s / n_tokens + output_s / k);
}

/* Of attention; one token also reads its keys and values of 2 bytes each, once for all queries that share them. */
static double attention(double head_dim, double n_group, bool token)
{
    double seconds = token ? token_mac_s * 2 * head_dim + token_pair_s + 2 * 2 * head_dim / n_group / read_rate
                           : attention_mac_s * 2 * head_dim + pair_s;
    return 2 * head_dim / seconds;
}

/* Bytes per second of matrices of a size, one token: 30 GB/s, and 2 us between two. */
static double matvec(double size_bytes)
{
    return size_bytes / (size_bytes / 30e9 + 2e-6);
}

static struct machine *made_up(void)
{
    struct machine *machine = calloc(1, sizeof *machine);
    assert_non_null(machine);
    struct stile_probe *probe = &machine->probe;
    strcpy(machine->cpu, "a processor");
    machine->memory.available_bytes = 123456;
    add(probe, STILE_MEMORY_READ, 1, 4096, "", 15e9);
    add(probe, STILE_MEMORY_READ, THREADS, 4096, "", read_rate);
    add(probe, STILE_MATMUL, THREADS, 0, "Q8_0", products(2048, 128));
    add(probe, STILE_MATMUL_NARROW, THREADS, 0, "Q8_0", products(512, 128));
    add(probe, STILE_MATMUL_FEW, THREADS, 0, "Q8_0", products(2048, 8));
    add(probe, STILE_MATMUL_SOME, THREADS, 0, "Q8_0", 200e9);
    add(probe, STILE_MATMUL_SOME, THREADS, 4 << 20, "Q8_0", 1 / (1 / 200e9 + 0.5 * 34 / 32 / read_rate / 32));
    add(probe, STILE_MATVEC, THREADS, 4 << 20, "", read_rate);
    add(probe, STILE_MATVEC, THREADS, 4 << 20, "Q8_0", matvec(4 << 20));
    add(probe, STILE_MATVEC, THREADS, 256 << 10, "Q8_0", matvec(256 << 10));
    add(probe, STILE_ATTENTION, THREADS, 0, "F16", attention(128, 4, false));
    add(probe, STILE_ATTENTION_NARROW, THREADS, 0, "F16", attention(64, 3, false));
    add(probe, STILE_ATTENTION_TOKEN, THREADS, 0, "F16", attention(128, 4, true));
    add(probe, STILE_ATTENTION_TOKEN_NARROW, THREADS, 0, "F16", attention(64, 3, true));
    add(probe, STILE_ELEMENTS, THREADS, 0, "", 5e9);
    add(probe, STILE_DISK_SEQUENTIAL, 8, 4 << 20, "", 1e9);
    add(probe, STILE_DISK_BUFFERED, 1, 1 << 20, "", 1.5e9);
    return machine;
}

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-6 * fabs(expected))) fail_msg("%.9g is not %.9g", value, expected);
}

static void taken_apart(void **state)
{
    (void)state;
    struct machine *machine = made_up();
    struct plan_machine *here = malloc(sizeof *here);
    plan_machine_here(here, machine, THREADS, NULL);
    const struct plan_processor *p = &here->tiers[0].processor;
    assert_int_equal(here->n_tiers, 2);
    assert_true(here->tiers[0].computes && !here->tiers[1].computes);
    assert_int_equal(here->tiers[0].capacity_bytes, 123456);
    assert_near(here->tiers[0].read_bytes_per_s.value, read_rate);
    assert_near(here->tiers[1].read_bytes_per_s.value, 1.5e9 * unmeasured.stream_share);
    assert_near(here->load_bytes_per_s.value, 1.5e9 * unmeasured.stream_share);
    assert_near(p->read_share[FORMAT_Q8_0].value, 30.0 / 40);
    assert_near(1 / p->macs_per_s[FORMAT_Q8_0].value, mac_s);
    assert_near(p->weight_s[FORMAT_Q8_0], weight_s);
    assert_near(p->output_s[FORMAT_Q8_0], output_s);
    assert_near(p->exposed_share[FORMAT_Q8_0], 0.5);
    assert_near(1 / p->attention_macs_per_s[FORMAT_F16].value, attention_mac_s);
    assert_near(p->attention_pair_s[FORMAT_F16], pair_s);
    assert_near(1 / p->kv_macs_per_s[FORMAT_F16].value, token_mac_s);
    assert_near(p->kv_pair_s[FORMAT_F16], token_pair_s);
    assert_near(p->kv_bytes_per_s[FORMAT_F16].value, read_rate);
    assert_near(p->op_s.value, 2e-6);
    assert_near(p->elements_per_s.value, 5e9);
    /* a format that was not measured is like the one that was, less surely so; another kind is not known */
    assert_near(p->macs_per_s[FORMAT_Q5_0].value, p->macs_per_s[FORMAT_Q8_0].value);
    assert_true(p->macs_per_s[FORMAT_Q5_0].low < p->macs_per_s[FORMAT_Q8_0].low);
    assert_near(p->macs_per_s[FORMAT_Q4_K].value, 0);
    assert_near(p->kv_macs_per_s[FORMAT_Q8_0].value, 0);
    free(machine);
    free(here);
}

/* Fewer threads than were measured: their share of arithmetic, of memory what they can read. */
static void fewer_threads(void **state)
{
    (void)state;
    struct machine *machine = made_up();
    struct plan_machine *here = malloc(sizeof *here), *all = malloc(sizeof *all);
    plan_machine_here(all, machine, THREADS, NULL);
    plan_machine_here(here, machine, 1, NULL);
    assert_near(here->tiers[0].read_bytes_per_s.value, 15e9);
    assert_near(here->tiers[0].processor.read_share[FORMAT_Q8_0].value, 30.0 / 40);
    assert_near(here->tiers[0].processor.macs_per_s[FORMAT_Q8_0].value,
                all->tiers[0].processor.macs_per_s[FORMAT_Q8_0].value / THREADS);
    plan_machine_here(here, machine, 2, NULL); /* nobody measured: twice what one reads */
    assert_near(here->tiers[0].read_bytes_per_s.value, 30e9);
    plan_machine_here(here, machine, 2 * THREADS, NULL);
    assert_near(here->tiers[0].read_bytes_per_s.value, read_rate);
    free(machine);
    free(here);
    free(all);
}

/* Weights come from memory and are multiplied at once, but for a part: what is slower counts more. */
static void memory_and_arithmetic(void **state)
{
    (void)state;
    struct machine *machine = made_up();
    struct plan_machine *here = malloc(sizeof *here);
    add(&machine->probe, STILE_MATVEC_CACHED, THREADS, 0, "Q8_0", 60e9);
    plan_machine_here(here, machine, THREADS, NULL);
    assert_near(here->tiers[0].processor.read_share[FORMAT_Q8_0].value, 30.0 / 40); /* as measured */
    /* one thread reads at 3/8, and multiplies at 1/4: memory alone gave 1 / (1 / 30^4 - 1 / 60^4)^(1/4) */
    plan_machine_here(here, machine, 1, NULL);
    double memory = pow(pow(30, -4) - pow(60, -4), -0.25) * 15 / 40, both = pow(pow(memory, -4) + pow(15, -4), -0.25);
    assert_near(here->tiers[0].processor.read_share[FORMAT_Q8_0].value, both / 15);
    free(machine);
    free(here);
}

/* What is measured now, against the probe: part of the way, in proportions; memory that is slower most of it. */
static void the_pace(void **state)
{
    (void)state;
    struct machine *machine = made_up();
    struct plan_machine *here = malloc(sizeof *here), *then = malloc(sizeof *then);
    struct stile_pace pace = {.n_threads = THREADS,
                              .read_bytes_per_s = read_rate * 1.21,
                              .matmul_macs_per_s = products(2048, 128) * 0.64,
                              .disk_bytes_per_s = 3e9};
    plan_machine_here(then, machine, THREADS, NULL);
    plan_machine_here(here, machine, THREADS, &pace);
    const double faster = pow(1.21, unmeasured.fast_read_weight);
    assert_near(here->tiers[0].read_bytes_per_s.value, read_rate * faster);
    assert_near(here->probed_read_bytes_per_s, read_rate);
    const double slower = pow(0.64, unmeasured.work_weight);
    const struct plan_processor *now = &here->tiers[0].processor, *before = &then->tiers[0].processor;
    assert_near(now->macs_per_s[FORMAT_Q8_0].value, before->macs_per_s[FORMAT_Q8_0].value * slower);
    assert_near(now->weight_s[FORMAT_Q8_0], weight_s / slower);
    assert_near(now->kv_bytes_per_s[FORMAT_F16].value, read_rate * faster);
    assert_near(here->tiers[1].read_bytes_per_s.value, 3e9 * unmeasured.stream_share);
    /* one thread measured its own reading */
    pace = (struct stile_pace){.n_threads = 1, .read_bytes_per_s = 15e9 * 0.81};
    plan_machine_here(here, machine, 1, &pace);
    assert_near(here->tiers[0].read_bytes_per_s.value, 15e9 * pow(0.81, unmeasured.slow_read_weight));
    assert_true(unmeasured.slow_read_weight > unmeasured.fast_read_weight && unmeasured.slow_read_weight <= 1);
    pace = (struct stile_pace){.n_threads = 0}; /* nothing could be measured */
    plan_machine_here(here, machine, THREADS, &pace);
    assert_near(here->tiers[0].read_bytes_per_s.value, read_rate);
    free(machine);
    free(here);
    free(then);
}

static void never_measured(void **state)
{
    (void)state;
    struct machine *machine = calloc(1, sizeof *machine);
    struct plan_machine *here = malloc(sizeof *here);
    plan_machine_here(here, machine, 2, NULL);
    assert_near(here->tiers[0].read_bytes_per_s.value, 0);
    assert_near(here->tiers[0].processor.macs_per_s[FORMAT_Q8_0].value, 0);
    assert_near(here->load_bytes_per_s.value, 0);
    free(machine);
    free(here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_apart), cmocka_unit_test(fewer_threads),  cmocka_unit_test(memory_and_arithmetic),
        cmocka_unit_test(the_pace),    cmocka_unit_test(never_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
