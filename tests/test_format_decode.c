/* The table of formats, and the scalar decoders against golden data (tests/golden/make_format.py) and the golden blocks
 * of the format reference (one block per type, made by a rule). */
#include "base/bytes.h"
#include "format/format.h"
#include "format/grids.h"
#include "format/smallfloat.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *golden_dir = "build/golden";

struct record {
    uint32_t id, block_elements, block_bytes, n_blocks, nan_equal;
    char name[16];
};

static bool is_nan(uint32_t bits)
{
    return (bits & 0x7fffffffu) > 0x7f800000u;
}

/* Decodes the blocks of a record from an odd address and compares the floats bit for bit. */
static void check_blocks(const struct record *record, const uint8_t *blocks, const uint8_t *expected)
{
    size_t n = (size_t)record->n_blocks * record->block_elements;
    size_t n_bytes = (size_t)record->n_blocks * record->block_bytes;
    uint8_t *shifted = malloc(n_bytes + 1);
    float *found = malloc(n * sizeof *found);
    assert_non_null(shifted);
    assert_non_null(found);
    memcpy(shifted + 1, blocks, n_bytes);
    format_decode((enum format)record->id, shifted + 1, n, found);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(found[i]), want = load_u32(expected + 4 * i);
        if (bits == want || (record->nan_equal && is_nan(bits) && is_nan(want))) continue;
        fail_msg("%s: block %zu element %zu is %08x (%a), expected %08x", record->name, i / record->block_elements,
                 i % record->block_elements, (unsigned)bits, (double)found[i], (unsigned)want);
    }
    free(shifted);
    free(found);
}

static void golden_blocks_decode_to_the_same_bits(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/format.bin", golden_dir);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing: run tests/golden/make_format.py", path);
    struct record record;
    bool seen[FORMAT_COUNT] = {false};
    size_t n_blocks = 0, n_types = 0;
    while (fread(&record, sizeof record, 1, file) == 1) {
        const struct format_info *info = format_info(record.id);
        if (strcmp(record.name, "Q8_1") == 0 || strcmp(record.name, "Q8_K") == 0) {
            assert_null(info);
            assert_non_null(format_retired_name(record.id));
            continue;
        }
        assert_non_null(info);
        assert_string_equal(info->name, record.name);
        assert_int_equal(info->block_elements, record.block_elements);
        assert_int_equal(info->block_bytes, record.block_bytes);
        assert_true(record.n_blocks > 0 || !info->decode);
        size_t n_bytes = (size_t)record.n_blocks * (record.block_bytes + 4 * (size_t)record.block_elements);
        uint8_t *data = malloc(n_bytes + 1);
        assert_non_null(data);
        assert_int_equal(fread(data, 1, n_bytes, file), n_bytes);
        if (record.n_blocks > 0) check_blocks(&record, data, data + (size_t)record.n_blocks * record.block_bytes);
        free(data);
        if (!seen[record.id]) n_types++;
        seen[record.id] = true;
        n_blocks += record.n_blocks;
    }
    fclose(file);
    for (uint32_t id = 0; id < FORMAT_COUNT; id++)
        if (format_info(id) && !seen[id]) fail_msg("no golden data for %s", format_info(id)->name);
    print_message("%zu blocks of %zu types\n", n_blocks, n_types);
}

/* Section 9.1 of the format reference: byte k of the block is (73 k + 41) mod 256, scales overwritten. */
static const struct golden_row {
    enum format format;
    int d, m; /* byte offsets of the f16 scale and minimum, -1: none */
    double first, second, middle, middle_5, last, sum, sum_abs;
} golden_rows[] = {
    {FORMAT_Q4_0, 0, -1, 0.1875, -0.25, 0.1875, -0.375, -0.5, -2.0625, 8.1875},
    {FORMAT_Q4_1, 0, 2, 0.84375, 0.40625, 0.28125, 0.71875, 0.59375, 15.0625, 15.0625},
    {FORMAT_Q5_0, 0, -1, 0.9375, 0.5, 0.8125, -0.75, 0.125, -2.8125, 19.6875},
    {FORMAT_Q5_1, 0, 2, 1.09375, 0.65625, 1.46875, 0.84375, 0.71875, 32.3125, 32.3125},
    {FORMAT_Q8_0, 0, -1, -4.3125, 0.25, 4.6875, -4.5, -6.875, -3, 126.125},
    {FORMAT_Q2_K, 80, 82, 0.5, 1.0625, -0.15625, -0.09375, -0.21875, 127.6875, 161.3125},
    {FORMAT_Q3_K, 108, -1, -0.4375, 0.875, 1.5, -1, -1.5, 14.625, 469.25},
    {FORMAT_Q4_K, 0, 2, 5.78125, 0.09375, 11.03125, 7.09375, -0.71875, 3334.5, 3404.125},
    {FORMAT_Q5_K, 0, 2, 18.78125, 0.09375, 32.03125, 7.09375, -0.71875, 6879.5, 6933.8125},
    {FORMAT_Q6_K, 208, -1, 10.0625, -2.875, -21.4375, 18.375, 18, -927.75, 16252},
    {FORMAT_IQ4_NL, 0, -1, 2.375, -3.0625, 2.375, -5.1875, -7.9375, -30.0625, 114.9375},
    {FORMAT_IQ4_XS, 0, -1, -188.5, 45.3125, 110.5, -94.5625, -46.875, -403.125, 15266.5},
    {FORMAT_MXFP4, -1, -1, 0.0625, -0.09375, 0.375, -0.1875, -0.09375, 0.78125, 4.46875},
    {FORMAT_NVFP4, -1, -1, -3, 4, -0.029296875, -0.009765625, 448, 4035.49414, 13934.5098},
    {FORMAT_Q1_0, 0, -1, 0.0625, 0.0625, 0.0625, -0.0625, -0.0625, -0.375, 8},
    {FORMAT_Q2_0, 0, -1, 0.125, 0.0625, 0.125, 0.125, -0.0625, 1.6875, 3.9375},
    {FORMAT_TQ1_0, 52, -1, -0.0625, 0, 0.0625, 0, 0.0625, -0.9375, 10.9375},
    {FORMAT_TQ2_0, 64, -1, 0, 0.0625, 0, 0.0625, -0.0625, 7.8125, 15.6875},
    {FORMAT_IQ2_XXS, 0, -1, -7.7265625, -7.7265625, -5.2734375, -5.2734375, -4.4921875, -18.640625, 553.0625},
    {FORMAT_IQ2_XS, 0, -1, 1.4375, -4.4921875, 1.9375, 1.9375, 1.9375, 41.609375, 634.984375},
    {FORMAT_IQ2_S, 0, -1, -0.4375, -1.3671875, -5.0390625, -0.9375, -3.0234375, -15.71875, 642.625},
    {FORMAT_IQ3_XXS, 0, -1, -18.5625, -15.1875, -7.3125, 0.8125, 15.1875, 121.34375, 1709.59375},
    {FORMAT_IQ3_S, 0, -1, -2.1875, -0.4375, -2.0625, 6.1875, 4.8125, 10.125, 1880.875},
    {FORMAT_IQ1_S, 0, -1, 0.0390625, 0.0390625, -0.7109375, 0.9140625, -0.2734375, -4.5625, 84.765625},
    {FORMAT_IQ1_M, -1, -1, 0.1640625, -0.2109375, 0.7734375, -0.6015625, -0.6328125, -3.8125, 85.0625},
};

static void make_golden_block(const struct golden_row *row, uint8_t *block, size_t n_bytes)
{
    static const uint8_t nvfp4_scales[4] = {0x38, 0x2c, 0x05, 0x7e};
    for (size_t k = 0; k < n_bytes; k++)
        block[k] = (uint8_t)(73 * k + 41);
    if (row->d >= 0) memcpy(block + row->d, (uint8_t[]){0x00, 0x2c}, 2);
    if (row->m >= 0) memcpy(block + row->m, (uint8_t[]){0x00, 0x28}, 2);
    if (row->format == FORMAT_MXFP4) block[0] = 123;
    if (row->format == FORMAT_NVFP4) memcpy(block, nvfp4_scales, 4);
    for (int k = 0; k < 4 && row->format == FORMAT_IQ1_M; k++)
        block[49 + 2 * k] = (uint8_t)((block[49 + 2 * k] & 15) | (0x2c00 >> 4 * k & 15) << 4);
}

static void reference_blocks_decode_as_published(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof golden_rows / sizeof *golden_rows; r++) {
        const struct golden_row *row = &golden_rows[r];
        const struct format_info *info = format_info(row->format);
        uint8_t block[256];
        float y[256];
        size_t n = info->block_elements;
        make_golden_block(row, block, info->block_bytes);
        info->decode(block, 1, y);
        double found[5] = {y[0], y[1], y[n / 2], y[n / 2 + 5], y[n - 1]}, sum = 0, sum_abs = 0;
        double expected[5] = {row->first, row->second, row->middle, row->middle_5, row->last};
        for (size_t i = 0; i < n; i++) {
            sum += (double)y[i];
            sum_abs += fabs((double)y[i]);
        }
        for (int i = 0; i < 5; i++)
            if (found[i] != expected[i]) fail_msg("%s: value %d is %g", info->name, i, found[i]);
        /* the sums are published with nine digits */
        if (fabs(sum - row->sum) > 5e-9 * fabs(row->sum)) fail_msg("%s: sum is %.10g", info->name, sum);
        if (fabs(sum_abs - row->sum_abs) > 5e-9 * row->sum_abs) fail_msg("%s: sum_abs %.10g", info->name, sum_abs);
    }
}

/* What the formats' definitions leave open or the gguf package treats in another way. */
static void scales_that_are_not_numbers(void **state)
{
    (void)state;
    uint8_t nvfp4[36], mxfp4[17];
    float y[64];
    memset(nvfp4, 0x77, sizeof nvfp4);
    memcpy(nvfp4, (uint8_t[]){0x7f, 0xff, 0xfe, 0x80}, 4); /* NaN, -NaN, -448 read as 448, -0 */
    format_decode(FORMAT_NVFP4, nvfp4, 64, y);
    for (int i = 0; i < 64; i++)
        assert_true(y[i] == (i / 16 == 2 ? 448.0f * 6 : 0.0f));
    memset(mxfp4, 0x27, sizeof mxfp4);
    mxfp4[0] = 255;
    format_decode(FORMAT_MXFP4, mxfp4, 32, y);
    for (int i = 0; i < 32; i++)
        assert_true(isinf(y[i]));
}

static void small_floats_follow_their_definition(void **state)
{
    (void)state;
    for (int e = 0; e < 255; e++)
        assert_true((double)f32_from_e8m0((uint8_t)e) == ldexp(1, e - 127));
    for (int e = 0; e < 127; e++) {
        int exponent = e >> 3, mantissa = e & 7;
        double value = exponent == 0 ? ldexp(mantissa, -9) : ldexp(8 + mantissa, exponent - 10);
        assert_true((double)f32_from_ue4m3((uint8_t)e) == value);
        assert_true((double)f32_from_ue4m3((uint8_t)(e | 128)) == value);
    }
    for (int c = 0; c < 16; c++) {
        int exponent = c >> 1 & 3, mantissa = c & 1;
        double value = exponent == 0 ? mantissa * 0.5 : ldexp(2 + mantissa, exponent - 2);
        assert_true(smallfloat_e2m1_x2[c] == 2 * value * (c >= 8 ? -1 : 1));
    }
}

static void signs_have_even_parity(void **state)
{
    (void)state;
    for (unsigned s = 0; s < 256; s++) {
        int n = 0;
        for (int k = 0; k < 8; k++)
            n += grid_signs(s) >> k & 1;
        assert_int_equal(n % 2, 0);
        assert_int_equal(grid_signs(s) & 127, s & 127);
    }
}

static void table_knows_every_id(void **state)
{
    (void)state;
    int n_formats = 0, n_weights = 0;
    for (uint32_t id = 0; id < 1000; id++) {
        const struct format_info *info = format_info(id);
        const char *retired = format_retired_name(id);
        assert_false(info && retired);
        if (id < FORMAT_COUNT) assert_true(info || retired);
        if (!info) continue;
        n_formats++;
        n_weights += info->decode != NULL;
        enum format format;
        assert_ptr_equal(format_by_name(info->name, &format), info);
        assert_int_equal(format, id);
    }
    assert_int_equal(n_formats, 33);
    assert_int_equal(n_weights, 28);
    assert_null(format_info(FORMAT_COUNT));
    assert_null(format_info(UINT32_MAX));
    assert_null(format_retired_name(UINT32_MAX));
    assert_string_equal(format_retired_name(4), "Q4_2 (retired)");
    assert_string_equal(format_retired_name(33), "Q4_0_8_8 (retired)");
    assert_string_equal(format_retired_name(140), "IQ5_K (private to ik_llama.cpp)");
    assert_non_null(format_retired_name(399));
    assert_null(format_retired_name(400));
}

static void names_ignore_case(void **state)
{
    (void)state;
    enum format format = FORMAT_F32;
    assert_ptr_equal(format_by_name("q4_k", &format), format_info(FORMAT_Q4_K));
    assert_int_equal(format, FORMAT_Q4_K);
    assert_ptr_equal(format_by_name("iq2_XXS", NULL), format_info(FORMAT_IQ2_XXS));
    assert_null(format_by_name("Q4_2", &format));
    assert_null(format_by_name("", &format));
    assert_null(format_by_name("Q4_KK", &format));
    assert_int_equal(format, FORMAT_Q4_K);
}

static void row_sizes_are_checked(void **state)
{
    (void)state;
    uint64_t bytes = 7;
    assert_true(format_row_bytes(FORMAT_Q4_0, 64, &bytes));
    assert_int_equal(bytes, 36);
    assert_true(format_row_bytes(FORMAT_Q6_K, 0, &bytes));
    assert_int_equal(bytes, 0);
    assert_true(format_row_bytes(FORMAT_F64, UINT64_C(1) << 60, &bytes));
    assert_true(bytes == UINT64_C(1) << 63);
    assert_false(format_row_bytes(FORMAT_F64, UINT64_C(1) << 61, &bytes));
    assert_false(format_row_bytes(FORMAT_Q4_0, 63, &bytes));
    assert_false(format_row_bytes(FORMAT_Q4_K, 128, &bytes));
    assert_false(format_row_bytes((enum format)4, 32, &bytes));
    assert_false(format_row_bytes((enum format)FORMAT_COUNT, 32, &bytes));
    /* every format that is larger than a byte per element overflows; the others cannot */
    for (uint32_t id = 0; id < FORMAT_COUNT; id++) {
        const struct format_info *info = format_info(id);
        if (!info) continue;
        uint64_t n = UINT64_MAX / info->block_elements * info->block_elements;
        bool fits = info->block_bytes <= info->block_elements;
        assert_int_equal(format_row_bytes((enum format)id, n, &bytes), fits);
    }
    assert_int_not_equal(bytes, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) golden_dir = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_blocks_decode_to_the_same_bits),
        cmocka_unit_test(reference_blocks_decode_as_published),
        cmocka_unit_test(scales_that_are_not_numbers),
        cmocka_unit_test(small_floats_follow_their_definition),
        cmocka_unit_test(signs_have_even_parity),
        cmocka_unit_test(table_knows_every_id),
        cmocka_unit_test(names_ignore_case),
        cmocka_unit_test(row_sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
