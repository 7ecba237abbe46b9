/* UTF-8: every code point, every wrong form, and text that arrives in pieces. */
#include "text/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void every_code_point_comes_back(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        char s[4];
        size_t n = utf8_encode(c, s);
        assert_int_equal(n, c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4);
        uint32_t back;
        assert_int_equal(utf8_decode(s, n, &back), n);
        assert_int_equal(back, c);
        /* and from none of its beginnings */
        for (size_t cut = 1; cut < n; cut++) {
            assert_int_equal(utf8_decode(s, cut, &back), 1);
            assert_int_equal(back, 0xFFFD);
            assert_int_equal(utf8_complete(s, cut), 0);
        }
        assert_int_equal(utf8_complete(s, n), n);
    }
}

static void what_is_no_code_point_is_replaced(void **state)
{
    (void)state;
    static const uint32_t wrong[] = {0xD800, 0xDFFF, 0x110000, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char s[4];
        assert_int_equal(utf8_encode(wrong[i], s), 3);
        assert_memory_equal(s, "\xEF\xBF\xBD", 3);
    }
}

static void wrong_forms_are_single_bytes(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF",
        "\xC3(",
        "\xE0\x80\x80",
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF",
        "\xE2\x82x",
        "\xF0\x80\x80\x80",
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xF0\x9F\xA6x",
        "\xF8\x88\x80\x80\x80",
        "\xFE",
        "\xFF",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint32_t c;
        assert_int_equal(utf8_decode(wrong[i], strlen(wrong[i]), &c), 1);
        assert_int_equal(c, 0xFFFD);
        /* nothing that comes later can make these whole, so nothing is held back */
        assert_int_equal(utf8_complete(wrong[i], strlen(wrong[i])), strlen(wrong[i]));
    }
}

/* utf8_complete by its definition: walk from the front; what is left out is the beginning of a character, that is,
 * some bytes after it make it one. */
static size_t complete_slowly(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t length = utf8_decode(s + i, n - i, &c);
        if (length == 1 && c == 0xFFFD && n - i <= 3) {
            static const unsigned char tails[6] = {0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF}; /* both ends of each range */
            char whole[4];
            for (size_t tail = 0; tail < 6 * 6 * 6; tail++) {
                const unsigned char next[3] = {tails[tail % 6], tails[tail / 6 % 6], tails[tail / 36]};
                memcpy(whole, s + i, n - i);
                memcpy(whole + (n - i), next, 4 - (n - i));
                for (size_t total = n - i + 1; total <= 4; total++) {
                    if (utf8_decode(whole, total, &c) == total) return i;
                }
            }
        }
        i += length;
    }
    return n;
}

static void unfinished_ends_are_held_back(void **state)
{
    (void)state;
    assert_int_equal(utf8_complete("", 0), 0);
    static const unsigned char bytes[] = {'a',  0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1,
                                          0xC2, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xF5, 0xFF};
    enum { N = sizeof bytes };
    char s[4];
    for (int i = 0; i < N * N * N; i++) {
        s[0] = (char)bytes[i % N];
        s[1] = (char)bytes[i / N % N];
        s[2] = (char)bytes[i / N / N];
        for (size_t n = 1; n <= 3; n++)
            assert_int_equal(utf8_complete(s, n), complete_slowly(s, n));
    }
}

/* Any text cut anywhere: what is given out piece by piece is the text. */
static void pieces_make_the_text(void **state)
{
    (void)state;
    static const char text[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\xA6\x99\xF0\x9F\xE2\x82\x80\xFFz\xE2\x82";
    size_t n = sizeof text - 1, given = 0;
    for (size_t arrived = 1; arrived <= n; arrived++) {
        size_t whole = utf8_complete(text + given, arrived - given);
        assert_true(arrived - given - whole <= 3);
        given += whole;
    }
    assert_int_equal(given, n - 2); /* the end is unfinished */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_comes_back),  cmocka_unit_test(what_is_no_code_point_is_replaced),
        cmocka_unit_test(wrong_forms_are_single_bytes), cmocka_unit_test(unfinished_ends_are_held_back),
        cmocka_unit_test(pieces_make_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
