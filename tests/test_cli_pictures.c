/* Pictures: the names of points do not cover each other, nor points. */
#include "cli/quality_sweep.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* SmolLM2-135M in what it may be made into: bits per weight and divergence from the model. */
static const struct {
    const char *name;
    double bits, divergence;
    bool with_imatrix;
} formats[] = {
    {"q8_0", 8.50, 0.0007, false},   {"q6_k", 7.98, 0.0030, false},   {"q5_k_m", 7.12, 0.0118, false},
    {"q5_k_s", 7.02, 0.0125, false}, {"q5_0", 6.96, 0.0160, false},   {"q4_k_m", 6.24, 0.0480, false},
    {"q4_k_m", 6.24, 0.0390, true},  {"q4_k_s", 6.02, 0.0560, false}, {"iq4_nl", 5.98, 0.0610, false},
    {"iq4_xs", 5.82, 0.0640, false}, {"q4_0", 5.95, 0.1290, false},   {"q4_1", 6.20, 0.0850, false},
    {"mxfp4", 5.75, 0.3400, false},  {"nvfp4", 5.90, 0.0950, false},  {"q3_k_m", 5.60, 0.2100, false},
    {"q2_k", 5.31, 0.6900, false},
};
enum { N = sizeof formats / sizeof *formats };

static char *draw(void)
{
    static struct sweep_entry entries[N];
    static struct sweep_row rows[N + 1];
    rows[0] = (struct sweep_row){.done = true, .bits_per_weight = 16};
    for (size_t i = 0; i < N; i++) {
        snprintf(entries[i].format, sizeof entries[i].format, "%s", formats[i].name);
        entries[i].with_imatrix = formats[i].with_imatrix;
        rows[i + 1] = (struct sweep_row){.entry = &entries[i],
                                         .done = true,
                                         .bits_per_weight = formats[i].bits,
                                         .size_bytes = (uint64_t)(1e6 * formats[i].bits)};
        rows[i + 1].estimates.divergence.value = formats[i].divergence;
        rows[i + 1].estimates.divergence.error = 0.04 * formats[i].divergence;
    }
    struct sweep sweep = {.rows = rows, .n_rows = N + 1};
    sweep_sort(&sweep);
    return sweep_svg(&sweep, "What formats of SmolLM2-135M cost", "1000 tokens of a text");
}

struct name {
    double x1, y1, x2, y2;
    char text[32];
};

/* The texts of class n, as wide as they are in a wide font. */
static size_t find_names(const char *svg, struct name *names, size_t most)
{
    size_t n = 0;
    for (const char *at = svg; (at = strstr(at, "<text x=\"")); at++) {
        double x, y;
        struct name *name = &names[n];
        if (sscanf(at, "<text x=\"%lf\" y=\"%lf\" class=\"n\" text-anchor=\"middle\">%31[^<]", &x, &y, name->text) != 3)
            continue;
        double width = 8.2 * (double)strlen(name->text);
        name->x1 = x - width / 2, name->x2 = x + width / 2, name->y1 = y - 10, name->y2 = y + 2;
        if (++n == most) break;
    }
    return n;
}

static void sixteen_formats_can_be_read(void **state)
{
    (void)state;
    struct name names[N + 1];
    char *svg = draw();
    size_t n = find_names(svg, names, N + 1), n_points = 0;
    assert_int_equal(n, N);
    for (size_t i = 0; i < n; i++) {
        const struct name *a = &names[i];
        assert_true(a->x1 > 84 && a->x2 < 1000 && a->y1 > 84 && a->y2 < 572);
        for (size_t j = 0; j < i; j++) {
            const struct name *b = &names[j];
            if (a->x1 < b->x2 && b->x1 < a->x2 && a->y1 < b->y2 && b->y1 < a->y2)
                fail_msg("%s covers %s", a->text, b->text);
        }
    }
    for (const char *at = svg; (at = strstr(at, "<circle")); at++) {
        double x, y;
        assert_int_equal(sscanf(strstr(at, "cx="), "cx=\"%lf\" cy=\"%lf\"", &x, &y), 2);
        n_points++;
        for (size_t i = 0; i < n; i++)
            if (x + 5 > names[i].x1 && x - 5 < names[i].x2 && y + 5 > names[i].y1 && y - 5 < names[i].y2)
                fail_msg("%s covers the point at %.0f, %.0f", names[i].text, x, y);
    }
    assert_int_equal(n_points, N + 2); /* and two of the legend */
    free(svg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixteen_formats_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
