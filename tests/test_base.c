/* Arena, buffer, checked arithmetic, byte order and 16-bit floats, errors, likeness of words. */
#include "base/arena.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/edit_distance.h"
#include "base/error.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t random_u64(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* ---- arena ---- */

static bool all_zero(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

static void arena_gives_zeroed_aligned_memory_that_stays(void **state)
{
    (void)state;
    enum { N = 2000 };
    static unsigned char *parts[N];
    static size_t sizes[N];
    struct arena arena = {0};
    size_t total = 0;
    /* leave dirt behind for the arena's blocks to find */
    void *dirt[8];
    for (int i = 0; i < 8; i++) {
        dirt[i] = malloc(80000);
        assert_non_null(dirt[i]);
        memset(dirt[i], 0xff, 80000);
    }
    for (int i = 0; i < 8; i++)
        free(dirt[i]);
    for (size_t i = 0; i < N; i++) {
        size_t alignment = (size_t)1 << random_u64() % 13;
        sizes[i] = random_u64() % (i % 50 == 0 ? 200000 : 300);
        parts[i] = arena_aligned(&arena, sizes[i], 1, alignment);
        assert_non_null(parts[i]);
        assert_int_equal((uintptr_t)parts[i] % alignment, 0);
        assert_true(all_zero(parts[i], sizes[i]));
        memset(parts[i], (int)(i % 255 + 1), sizes[i]);
        total += sizes[i] ? sizes[i] : 1;
    }
    assert_int_equal(arena.total_bytes, total);
    for (size_t i = 0; i < N; i++) /* no two overlap */
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(parts[i][j], i % 255 + 1);
    arena_free(&arena);
    assert_null(arena.blocks);
    arena_free(&arena);
    arena_free(NULL);
}

static void arena_refuses_what_overflows(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_null(arena_array(&arena, SIZE_MAX, 2));
    assert_null(arena_array(&arena, SIZE_MAX / 2, 3));
    assert_null(arena_array(&arena, SIZE_MAX, 1));
    assert_null(arena_array(&arena, (size_t)1 << 32, (size_t)1 << 32));
    assert_null(arena_aligned(&arena, 1, 1, 8192));
    assert_null(arena_string(&arena, "", SIZE_MAX));
    assert_non_null(arena_array(&arena, 0, SIZE_MAX));
    double *p = arena_array(&arena, 3, sizeof *p);
    assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
    arena_free(&arena);
}

static void arena_copies_strings(void **state)
{
    (void)state;
    struct arena arena = {0};
    const char *copy = arena_string(&arena, "stile\0over", 10);
    assert_memory_equal(copy, "stile\0over", 11);
    assert_string_equal(arena_string(&arena, NULL, 0), "");
    arena_free(&arena);
}

/* ---- buffer ---- */

static void buffer_grows_and_is_terminated(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    char expected[4000];
    size_t n = 0;
    while (n < 3500) {
        char c = (char)('a' + random_u64() % 26);
        switch (random_u64() % 4) {
        case 0: buffer_char(&buffer, c); break;
        case 1: buffer_add(&buffer, &c, 1); break;
        case 2: buffer_string(&buffer, (char[]){c, '\0'}); break;
        case 3: buffer_printf(&buffer, "%c%*d", c, 300, 7); break;
        }
        expected[n++] = c;
        if (buffer.n > n) { /* the last one was printf's: 299 spaces and a digit */
            memset(expected + n, ' ', 299);
            expected[n += 299] = '7';
            n++;
        }
        assert_int_equal(buffer.n, n);
        assert_int_equal(buffer.data[n], '\0');
    }
    assert_memory_equal(buffer.data, expected, n);
    char *taken = buffer_take(&buffer);
    assert_int_equal(strlen(taken), n);
    free(taken);
    assert_null(buffer.data);
    taken = buffer_take(&buffer);
    assert_string_equal(taken, "");
    free(taken);
    buffer_free(&buffer);
}

static void buffer_holds_any_byte(void **state)
{
    (void)state;
    struct buffer buffer = {0};
    for (int i = 0; i < 256; i++)
        buffer_char(&buffer, (char)i);
    assert_int_equal(buffer.n, 256);
    for (int i = 0; i < 256; i++)
        assert_int_equal((unsigned char)buffer.data[i], i);
    buffer_free(&buffer);
    assert_int_equal(buffer.n, 0);
}

static void buffer_stops_at_its_limit(void **state)
{
    (void)state;
    struct buffer buffer = {.limit = 5};
    buffer_string(&buffer, "12345");
    assert_false(buffer.failed);
    buffer_char(&buffer, '6');
    assert_true(buffer.failed);
    assert_string_equal(buffer.data, "12345");
    buffer_add(&buffer, "", 0);
    buffer_printf(&buffer, "%d", 1);
    assert_int_equal(buffer.n, 5);
    assert_null(buffer_take(&buffer));
    assert_false(buffer.failed); /* empty again, with the same limit */
    buffer_printf(&buffer, "%d", 123456);
    assert_true(buffer.failed);
    buffer_free(&buffer);

    buffer_add(&buffer, "x", 1);
    buffer_add(&buffer, "", SIZE_MAX); /* a length that would wrap is not read */
    assert_true(buffer.failed);
    buffer_free(&buffer);
}

/* ---- checked ---- */

__extension__ typedef unsigned __int128 wide;

static void checked_arithmetic_knows_every_overflow(void **state)
{
    (void)state;
    for (int i = 0; i < 200000; i++) {
        uint64_t a = random_u64() >> random_u64() % 64, b = random_u64() >> random_u64() % 64, r = 1234;
        if (i % 3 == 0) b = UINT64_MAX - a + random_u64() % 3; /* about the edge of the sum */
        wide sum = (wide)a + b, product = (wide)a * b;
        assert_int_equal(checked_add(a, b, &r), sum <= UINT64_MAX);
        assert_int_equal(r, sum <= UINT64_MAX ? (uint64_t)sum : 1234);
        r = 1234;
        assert_int_equal(checked_mul(a, b, &r), product <= UINT64_MAX);
        assert_int_equal(r, product <= UINT64_MAX ? (uint64_t)product : 1234);
        uint64_t alignment = (uint64_t)1 << random_u64() % 64;
        wide aligned = ((wide)a + alignment - 1) / alignment * alignment;
        r = 1234;
        assert_int_equal(checked_align(a, alignment, &r), (wide)a + alignment - 1 <= UINT64_MAX);
        if (r != 1234) assert_int_equal(r, (uint64_t)aligned);
    }
    uint64_t r;
    assert_true(checked_align(0, 32, &r));
    assert_int_equal(r, 0);
    assert_true(checked_align(UINT64_MAX - 31, 32, &r));
    assert_int_equal(r, UINT64_MAX - 31);
    assert_false(checked_align(UINT64_MAX - 30, 32, &r));
}

/* ---- bytes ---- */

static void loads_are_little_endian_at_any_address(void **state)
{
    (void)state;
    const unsigned char bytes[] = {0xff, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    assert_int_equal(load_u16(bytes + 1), 0x2301);
    assert_int_equal(load_u32(bytes + 1), 0x67452301);
    assert_int_equal(load_u64(bytes + 1), 0xefcdab8967452301u);
    assert_int_equal(f32_bits(f32_from_bits(0xffc12345u)), 0xffc12345u);
}

/* The value of a 16-bit float with this many exponent and mantissa bits, by the formula of IEEE 754. */
static double value_16(unsigned h, int exponent_bits, int mantissa_bits)
{
    int mantissa = (int)(h & ((1u << mantissa_bits) - 1)), exponent = (int)(h >> mantissa_bits) % (1 << exponent_bits);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double sign = h & 0x8000u ? -1.0 : 1.0;
    if (exponent == (1 << exponent_bits) - 1) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

static bool same_float(float a, double b)
{
    return isnan(a) ? isnan(b) : (double)a == b && !signbit(a) == !signbit(b);
}

/* All values; and for every two neighbours the float in the middle and the two next to it. As rounding is monotonic
 * this covers all floats. The largest value's upper neighbour is 2^(emax + 1), which stands for infinity. */
static void check_16(int exponent_bits, int mantissa_bits, float (*widen)(uint16_t), uint16_t (*narrow)(float))
{
    unsigned infinity = ((1u << exponent_bits) - 1) << mantissa_bits;
    for (unsigned h = 0; h < 65536; h++) {
        double value = value_16(h, exponent_bits, mantissa_bits);
        assert_true(same_float(widen((uint16_t)h), value));
        if (isnan(value)) {
            assert_int_equal(narrow(widen((uint16_t)h)), h | 1u << (mantissa_bits - 1)); /* quiet */
            continue;
        }
        assert_int_equal(narrow(widen((uint16_t)h)), h);
        if ((h & 0x7fffu) >= infinity) continue;
        unsigned sign = h & 0x8000u, even = h & 1u ? h + 1 : h;
        double next = value_16(h + 1, exponent_bits, mantissa_bits);
        if ((h & 0x7fffu) + 1 == infinity) next = ldexp(sign ? -1.0 : 1.0, 1 << (exponent_bits - 1));
        float middle = (float)((value + next) / 2);
        assert_true((double)middle == (value + next) / 2);
        assert_int_equal(narrow(middle), even);
        assert_int_equal(narrow(nextafterf(middle, 0.0f)), h);
        assert_int_equal(narrow(nextafterf(middle, sign ? -INFINITY : INFINITY)), h + 1);
    }
}

static void f16_is_right_everywhere(void **state)
{
    (void)state;
    check_16(5, 10, f32_from_f16, f16_from_f32);
    assert_int_equal(f16_from_f32(3.4e38f), 0x7c00);
    assert_int_equal(f16_from_f32(-INFINITY), 0xfc00);
    assert_int_equal(f16_from_f32(f32_from_bits(0x7f800001u)) & 0x7e00, 0x7e00); /* its payload is lost, not its kind */
    assert_int_equal(f16_from_f32(-0x1p-149f), 0x8000);
}

static void bf16_is_right_everywhere(void **state)
{
    (void)state;
    check_16(8, 7, f32_from_bf16, bf16_from_f32);
    assert_int_equal(bf16_from_f32(f32_from_bits(0x7f7fffffu)), 0x7f80);
    assert_int_equal(bf16_from_f32(f32_from_bits(0x7f800001u)) & 0x7fc0, 0x7fc0);
    assert_int_equal(bf16_from_f32(f32_from_bits(0xffffffffu)), 0xffff);
}

/* ---- error ---- */

static void error_is_one_printable_line(void **state)
{
    (void)state;
    struct stile_error error = {0};
    assert_int_equal(error_set(&error, STILE_ERROR_MALFORMED, "%s: offset %d",
                               "a\nb\t\x1b[31m\x7f"
                               "c",
                               7),
                     STILE_ERROR_MALFORMED);
    assert_int_equal(error.code, STILE_ERROR_MALFORMED);
    assert_string_equal(error.message, "a?b??[31m?c: offset 7");
    error_set(&error, STILE_ERROR_MALFORMED, "%s", "Grüße");
    assert_string_equal(error.message, "Grüße");
    for (int c = 1; c < 256; c++) {
        error_set(&error, STILE_ERROR_MALFORMED, "%c", c);
        assert_int_equal(strlen(error.message), 1);
        assert_true((unsigned char)error.message[0] >= ' ' && error.message[0] != 0x7f);
    }
}

static void error_fits_and_may_be_absent(void **state)
{
    (void)state;
    struct stile_error error;
    static char longer[4 * sizeof error.message];
    memset(longer, 'x', sizeof longer - 1);
    memset(&error, 0x55, sizeof error);
    assert_int_equal(error_set(&error, STILE_ERROR_IO, "%s", longer), STILE_ERROR_IO);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
    assert_int_equal(error_set(NULL, STILE_ERROR_IO, "%s", longer), STILE_ERROR_IO);
    assert_int_equal(error_memory(&error, 42, "a test"), STILE_ERROR_MEMORY);
    assert_int_equal(error.code, STILE_ERROR_MEMORY);
    assert_string_equal(error.message, "out of memory (42 bytes for a test)");
    assert_int_equal(error_memory(NULL, 42, "a test"), STILE_ERROR_MEMORY);
}

/* ---- likeness of words ---- */

static void edits_are_counted(void **state)
{
    (void)state;
    char longest[64], longer[65];
    memset(longest, 'a', sizeof longest);
    memset(longer, 'a', sizeof longer);
    longest[63] = longer[64] = '\0';
    assert_true(edit_distance("", "") == 0 && edit_distance("ctx", "CTX") == 0);
    assert_true(edit_distance("", "abc") == 3 && edit_distance("abc", "") == 3);
    assert_true(edit_distance("kitten", "sitting") == 3 && edit_distance("sitting", "kitten") == 3);
    assert_true(edit_distance("ab", "ba") == 2 && edit_distance("rtx509", "rtx5090") == 1);
    assert_true(edit_distance(longest, "") == 63 && edit_distance(longest, longer) == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_zeroed_aligned_memory_that_stays),
        cmocka_unit_test(arena_refuses_what_overflows),
        cmocka_unit_test(arena_copies_strings),
        cmocka_unit_test(buffer_grows_and_is_terminated),
        cmocka_unit_test(buffer_holds_any_byte),
        cmocka_unit_test(buffer_stops_at_its_limit),
        cmocka_unit_test(checked_arithmetic_knows_every_overflow),
        cmocka_unit_test(loads_are_little_endian_at_any_address),
        cmocka_unit_test(f16_is_right_everywhere),
        cmocka_unit_test(bf16_is_right_everywhere),
        cmocka_unit_test(error_is_one_printable_line),
        cmocka_unit_test(error_fits_and_may_be_absent),
        cmocka_unit_test(edits_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
