/* Background reads: the right bytes by every mechanism, and failing disks and files. */
#include "file/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 5 * 1024 * 1024 + 1234, N_READS = 40 };

static char folder[] = "/tmp/stile_test_reader_XXXXXX";
static char path[256], other_path[256];
static uint8_t *content;

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void make_file(const char *name, const uint8_t *bytes, size_t n_bytes)
{
    FILE *out = fopen(name, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, n_bytes, out), n_bytes);
    assert_int_equal(fclose(out), 0);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other_path, sizeof other_path, "%s/other", folder);
    content = malloc(SIZE);
    uint32_t random = 1;
    for (size_t i = 0; i < SIZE; i++)
        content[i] = (uint8_t)next_random(&random);
    make_file(path, content, SIZE);
    make_file(other_path, content + 1, SIZE / 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    unlink(other_path);
    free(content);
    return rmdir(folder);
}

static struct reader *reader_of(const struct reader_options *options)
{
    struct reader *reader = NULL;
    struct stile_error error;
    assert_int_equal(reader_create(&reader, options, &error), 0);
    assert_int_equal(reader_add_file(reader, path, &error), 0);
    assert_int_equal(reader_add_file(reader, other_path, &error), 1);
    return reader;
}

static struct reader_read read_of(int file, uint64_t offset, size_t size_bytes)
{
    struct reader_read read = {.file = file, .offset = offset, .size_bytes = size_bytes};
    read.buffer = aligned_alloc(READER_ALIGNMENT, reader_buffer_bytes(size_bytes));
    assert_non_null(read.buffer);
    return read;
}

/* Many overlapping reads of two files, the very ends among them. */
static void read_everywhere(const struct reader_options *options)
{
    struct reader *reader = reader_of(options);
    struct reader_read reads[N_READS];
    uint64_t total = 0;
    uint32_t random = 7;
    for (int i = 0; i < N_READS; i++) {
        uint64_t size = i % 2 ? SIZE / 2 : SIZE;
        uint64_t offset = i < 2 ? 0 : next_random(&random) % size, left = size - offset;
        uint64_t n = i < 2 ? size : i < 8 ? left : 1 + next_random(&random) % left;
        reads[i] = read_of(i % 2, offset, (size_t)n);
        total += n;
        reader_start(reader, &reads[i]);
    }
    for (int i = N_READS; i-- > 0;) {
        struct stile_error error;
        assert_int_equal(reader_wait(reader, &reads[i], &error), 0);
        assert_true(reader_is_done(&reads[i]));
        assert_memory_equal(reader_data(&reads[i]), content + reads[i].offset + (i % 2), reads[i].size_bytes);
        free(reads[i].buffer);
    }
    struct reader_stats stats;
    reader_stats(reader, &stats);
    assert_in_range(stats.read_bytes, total, total + (uint64_t)N_READS * 2 * READER_ALIGNMENT);
    assert_true(stats.busy_ns > 0);
    reader_free(reader);
}

static void test_reads(void **state)
{
    (void)state;
    static const size_t chunks[] = {READER_ALIGNMENT, 64 << 10, 0};
    for (int way = READER_DIRECT; way <= READER_FASTEST; way++) {
        for (int threads = 0; threads < 2; threads++) {
            for (size_t i = 0; i < 3; i++) {
                struct reader_options options = {
                    .way = (enum reader_way)way,
                    .n_in_flight = i == 0   ? 1
                                   : i == 1 ? 5
                                            : 0,
                    .chunk_bytes = chunks[i],
                    .threads = threads,
                };
                read_everywhere(&options);
            }
        }
    }
}

static atomic_int n_begun;
static off_t begun[16]; /* offsets, in order */
static atomic_bool let;

static ssize_t slow_pread(int fd, void *to, size_t n, off_t offset)
{
    begun[atomic_fetch_add(&n_begun, 1)] = offset;
    while (!atomic_load(&let))
        usleep(1000);
    return pread(fd, to, n, offset);
}

/* Idle reads come after those that are needed, hurried ones as these; dropped ones not at all. */
static void test_idle(void **state)
{
    (void)state;
    const struct reader_options options = {.way = READER_CACHED, .n_in_flight = 1, .pread = slow_pread};
    struct reader *reader = reader_of(&options);
    struct reader_read reads[6];
    for (int i = 0; i < 6; i++) {
        reads[i] = read_of(0, (uint64_t)i * 2 * READER_ALIGNMENT, 100);
        reads[i].idle = i > 0 && i < 5;
        reader_start(reader, &reads[i]);
        while (atomic_load(&n_begun) == 0) /* the first is under way before the others are there */
            usleep(1000);
    }
    assert_false(reader_drop(reader, &reads[0]));
    assert_true(reader_drop(reader, &reads[2]));
    assert_false(reader_drop(reader, &reads[2]));
    reader_hurry(reader, &reads[3]);
    atomic_store(&let, true);
    for (int i = 0; i < 6; i++)
        if (i != 2) assert_int_equal(reader_wait(reader, &reads[i], NULL), 0);
    static const int order[] = {0, 5, 3, 1, 4};
    assert_int_equal(n_begun, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(begun[i], order[i] * 2 * READER_ALIGNMENT);
    reader_free(reader);
    for (int i = 0; i < 6; i++)
        free(reads[i].buffer);
}

static void expect_failure(const struct reader_options *options, uint64_t offset, size_t size_bytes, const char *says)
{
    struct reader *reader = reader_of(options);
    struct reader_read bad = read_of(0, offset, size_bytes), good = read_of(0, 100, 5000);
    struct stile_error error;
    reader_start(reader, &bad);
    assert_int_equal(reader_wait(reader, &bad, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, path));
    assert_non_null(strstr(error.message, says));
    if (!options->pread) { /* one failure does not spoil the next read */
        reader_start(reader, &good);
        assert_int_equal(reader_wait(reader, &good, &error), 0);
        assert_memory_equal(reader_data(&good), content + 100, 5000);
    }
    free(bad.buffer);
    free(good.buffer);
    reader_free(reader);
}

static void test_file_too_short(void **state)
{
    (void)state;
    for (int way = READER_DIRECT; way <= READER_CACHED; way++) {
        for (int threads = 0; threads < 2; threads++) {
            struct reader_options options = {.way = (enum reader_way)way, .chunk_bytes = 64 << 10, .threads = threads};
            expect_failure(&options, SIZE - 100000, 100001, "the file ends before");
            expect_failure(&options, 2 * SIZE, 1, "the file ends before");
        }
    }
}

/* Works for half of the file, in crumbs, and is interrupted all the time; then the disk is gone. */
static ssize_t failing_pread(int fd, void *to, size_t size_bytes, off_t offset)
{
    static atomic_uint calls;
    if (atomic_fetch_add(&calls, 1) % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    if (offset > SIZE / 2) {
        errno = EIO;
        return -1;
    }
    size_t crumb = size_bytes < READER_ALIGNMENT ? size_bytes : READER_ALIGNMENT;
    return pread(fd, to, crumb, offset);
}

static void test_failing_disk(void **state)
{
    (void)state;
    struct reader_options options = {.chunk_bytes = 64 << 10, .n_in_flight = 3, .pread = failing_pread};
    expect_failure(&options, 0, SIZE, strerror(EIO));
    struct reader *reader = reader_of(&options);
    assert_string_equal(reader_mechanism(reader), "threads");
    struct reader_read read = read_of(0, 12345, SIZE / 4);
    struct stile_error error;
    reader_start(reader, &read);
    assert_int_equal(reader_wait(reader, &read, &error), 0);
    assert_memory_equal(reader_data(&read), content + 12345, SIZE / 4);
    free(read.buffer);
    reader_free(reader);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct reader_options options = {0};
    struct reader *reader = reader_of(&options);
    struct stile_error error;
    assert_int_equal(reader_add_file(reader, "/nowhere/file", &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, "/nowhere/file"));
    reader_free(reader);
}

/* Freed while reads are under way and others wait: nothing may be written to afterwards. */
static void test_free_early(void **state)
{
    (void)state;
    for (int threads = 0; threads < 2; threads++) {
        struct reader_options options = {.chunk_bytes = READER_ALIGNMENT, .n_in_flight = 4, .threads = threads};
        struct reader *reader = reader_of(&options);
        struct reader_read reads[8];
        for (int i = 0; i < 8; i++) {
            reads[i] = read_of(0, 0, SIZE);
            reader_start(reader, &reads[i]);
        }
        reader_free(reader);
        for (int i = 0; i < 8; i++) {
            memset(reads[i].buffer, 0x5a, reader_buffer_bytes(SIZE));
            free(reads[i].buffer);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),        cmocka_unit_test(test_idle),         cmocka_unit_test(test_file_too_short),
        cmocka_unit_test(test_failing_disk), cmocka_unit_test(test_missing_file), cmocka_unit_test(test_free_early),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
