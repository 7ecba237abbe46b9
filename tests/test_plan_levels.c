/* What is usual of a probe's rates: levels and paces of made-up rounds, found again. */
#include "plan/machine.h"
#include "plan/machine_levels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 7 };

static struct stile_measurement *add(struct stile_probe *probe, enum stile_quantity quantity, uint32_t n_threads,
                                     const char *format, double level, const double paces[ROUNDS])
{
    struct stile_measurement *m = &probe->measurements[probe->n++];
    *m = (struct stile_measurement){.quantity = quantity, .n_threads = n_threads, .n_samples = ROUNDS};
    strcpy(m->format, format);
    for (int i = 0; i < ROUNDS; i++)
        m->samples[i] = level * paces[i];
    machine_summarize(m);
    return m;
}

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-9 * fabs(expected))) fail_msg("%.12g is not %.12g", value, expected);
}

/* Most rounds of a fast machine, two of a slow one; and single samples that went wrong. */
static void rounds_and_single_samples(void **state)
{
    (void)state;
    static const double paces[ROUNDS] = {1, 1.5, 1, 0.9, 1.1, 0.5, 1}, others[ROUNDS] = {2, 2, 2, 1, 2, 2, 2};
    static const char *const formats[] = {"F16", "Q8_0", "Q4_K", "Q6_K", "Q2_K"};
    struct stile_probe *probe = calloc(1, sizeof *probe);
    struct machine_levels *levels = malloc(sizeof *levels);
    for (int f = 0; f < 5; f++)
        add(probe, STILE_MATMUL, THREADS, formats[f], 100 * (f + 1), paces)->samples[f] *= 0.3;
    for (int f = 0; f < 5; f++)
        add(probe, STILE_MATMUL, 1, formats[f], 30 * (f + 1), others);
    add(probe, STILE_ELEMENTS, THREADS, "", 7, paces);
    add(probe, STILE_MEMORY_READ, 2, "", 9, others);
    machine_levels_find(levels, probe);
    assert_int_equal(levels->n_threads, THREADS);
    for (int f = 0; f < 5; f++) {
        assert_near(machine_level(levels, probe, STILE_MATMUL, THREADS, 0, formats[f]), 100 * (f + 1));
        assert_near(machine_level(levels, probe, STILE_MATMUL, 1, 0, formats[f]), 60 * (f + 1)); /* usual: pace 2 */
    }
    assert_near(machine_level(levels, probe, STILE_ELEMENTS, THREADS, 0, NULL), 7);
    assert_near(machine_level(levels, probe, STILE_MEMORY_READ, 2, 0, NULL), 18); /* the median */
    assert_near(machine_level(levels, probe, STILE_MATVEC, THREADS, 0, NULL), 0);
    assert_near(levels->pace_spread[GROUP_PRODUCTS], 0.05); /* of 0.5 0.9 1 1 1 1.1 1.5 */
    assert_near(levels->rest_spread[GROUP_PRODUCTS] + 1, 1);
    assert_near(levels->rest_spread[GROUP_SINGLE] + 1, 1);
    free(probe);
    free(levels);
}

static void nothing(void **state)
{
    (void)state;
    struct stile_probe *probe = calloc(1, sizeof *probe);
    struct machine_levels *levels = malloc(sizeof *levels);
    machine_levels_find(levels, probe);
    assert_int_equal(levels->n_threads, 0);
    assert_near(machine_level(levels, probe, STILE_MATMUL, THREADS, 0, "F16"), 0);
    add(probe, STILE_MATVEC_CACHED, THREADS, "F16", 5, (const double[ROUNDS]){1, 1, 1, 1, 1, 1, 1})->n_samples = 1;
    machine_levels_find(levels, probe);
    assert_near(machine_level(levels, probe, STILE_MATVEC_CACHED, THREADS, 0, "F16"), 5);
    free(probe);
    free(levels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rounds_and_single_samples), cmocka_unit_test(nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
