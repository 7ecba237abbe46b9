/* Choosing formats for a size, against trying all combinations. */
#include "quantize/choose.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void choosing_is_near_the_best(void **state)
{
    (void)state;
    enum { ITEMS = 6, CHOICES = 4, ALL = 4096 };
    uint64_t random = 1;
    for (int round = 0; round < 300; round++) {
        struct choice choices[ITEMS][CHOICES];
        struct choose_item items[ITEMS];
        struct choose_result result;
        struct stile_error error;
        bool possible;
        uint64_t most = 0, budget;
        for (int i = 0; i < ITEMS; i++) {
            uint64_t elements = 100 + (random = random * 6364136223846793005u + 1442695040888963407u) / 5 % 900;
            for (int j = 0; j < CHOICES; j++) {
                uint64_t bits = 2 + 2 * (uint64_t)j + (random >> (40 + j)) % 2;
                choices[i][j] =
                    (struct choice){elements * bits, (double)(1 + (random >> 50) % 50) * pow(4, -(double)bits)};
            }
            items[i] = (struct choose_item){.choices = choices[i], .n_choices = CHOICES};
            most += choices[i][CHOICES - 1].size_bytes;
        }
        budget = most * (uint64_t)(20 + round % 80) / 100;
        assert_int_equal(choose(items, ITEMS, budget, &result, &possible, &error), 0);
        double best = INFINITY;
        for (int all = 0; all < ALL; all++) {
            uint64_t size = 0;
            double loss = 0;
            for (int i = 0; i < ITEMS; i++) {
                const struct choice *c = &choices[i][all >> (2 * i) & 3];
                size += c->size_bytes;
                loss += c->loss;
            }
            if (size <= budget && loss < best) best = loss;
        }
        assert_int_equal(possible, best < INFINITY);
        if (!possible) continue;
        uint64_t size = 0;
        for (int i = 0; i < ITEMS; i++)
            size += choices[i][items[i].chosen].size_bytes;
        assert_int_equal(size, result.size_bytes);
        assert_true(size <= budget);
        /* the bound is one, and with as few items as these we may be a step away from the best */
        assert_true(result.bound <= best * (1 + 1e-9) && result.loss >= best * (1 - 1e-9));
        assert_true(result.loss < 3 * best);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(choosing_is_near_the_best)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
