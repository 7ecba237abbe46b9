/* Reading ahead: brings a whole file in, has nothing to do for one that is there, may be stopped at any time. */
#include "file/ahead.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_MAPS = 3, SIZE_BYTES = (20 << 20) + 5000 };

static char paths[N_MAPS][64];
static struct map *maps[N_MAPS];

static int make_files(void **state)
{
    (void)state;
    char *bytes = malloc(SIZE_BYTES);
    if (!bytes) return -1;
    memset(bytes, 7, SIZE_BYTES);
    for (int i = 0; i < N_MAPS; i++) {
        /* on a disk, where /tmp may be memory; and one in between on another, which has a queue of its own */
        bool other = i == 1 && access("/dev/shm", W_OK) == 0;
        strcpy(paths[i], other ? "/dev/shm/stile-ahead-XXXXXX" : "/var/tmp/stile-ahead-XXXXXX");
        int file = mkstemp(paths[i]);
        ssize_t n = file < 0 ? -1 : write(file, bytes, SIZE_BYTES >> i);
        if (n != SIZE_BYTES >> i || fsync(file) != 0 || close(file) != 0) return -1;
    }
    free(bytes);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    for (int i = 0; i < N_MAPS; i++)
        unlink(paths[i]);
    return 0;
}

static void open_maps(void)
{
    for (int i = 0; i < N_MAPS; i++)
        assert_int_equal(map_open(&maps[i], paths[i], NULL), STILE_OK);
}

static void close_maps(void)
{
    for (int i = 0; i < N_MAPS; i++)
        map_close(maps[i]);
}

static void drop(void)
{
    for (int i = 0; i < N_MAPS; i++)
        assert_int_equal(posix_fadvise(map_fd(maps[i]), 0, 0, POSIX_FADV_DONTNEED), 0);
}

static size_t n_pages_here(void)
{
    static unsigned char here[SIZE_BYTES / 4096 + 1];
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE), n_here = 0;
    for (int i = 0; i < N_MAPS; i++) {
        size_t n = (size_t)(map_size_bytes(maps[i]) + page_bytes - 1) / page_bytes;
        assert_int_equal(mincore((void *)map_data(maps[i]), map_size_bytes(maps[i]), here), 0);
        for (size_t p = 0; p < n; p++)
            n_here += here[p] & 1;
    }
    return n_here;
}

static void brings_everything_in(void **state)
{
    (void)state;
    open_maps();
    for (int i = 0; i < N_MAPS; i++)
        for (size_t at = 0; at < map_size_bytes(maps[i]); at += 4096)
            assert_int_equal(map_data(maps[i])[at], 7);
    size_t n_pages = n_pages_here();
    assert_null(ahead_start(maps, N_MAPS)); /* all is there */
    close_maps();
    open_maps(); /* pages in use would stay */
    drop();
    if (n_pages_here() == n_pages) {
        close_maps();
        skip(); /* a file system that keeps its files in memory */
    }
    struct ahead *ahead = ahead_start(maps, N_MAPS);
    if (!ahead) {
        close_maps();
        skip(); /* a system that cannot be asked */
    }
    for (int i = 0; i < 1000 && n_pages_here() < n_pages; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(n_pages_here(), n_pages);
    ahead_stop(ahead);
    close_maps();
}

/* Whether the page of the address is in the page table; true where the system does not say. */
static bool is_mapped(const uint8_t *data)
{
    uint64_t entry, page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    int file = open("/proc/self/pagemap", O_RDONLY);
    ssize_t n = pread(file, &entry, sizeof entry, (off_t)((uintptr_t)data / page_bytes * sizeof entry));
    close(file);
    return n != sizeof entry || entry >> 63;
}

static void maps_what_is_here(void **state)
{
    (void)state;
    open_maps();
    assert_null(ahead_start(maps, N_MAPS));
#ifdef MADV_POPULATE_READ
    bool can = madvise((void *)map_data(maps[0]), 1, MADV_POPULATE_READ) == 0;
    for (int i = 0; i < N_MAPS && can; i++)
        for (size_t at = 0; at < map_size_bytes(maps[i]); at += 1 << 16)
            assert_true(is_mapped(map_data(maps[i]) + at));
#else
    (void)is_mapped;
#endif
    close_maps();
}

static void can_be_stopped_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        open_maps();
        drop();
        ahead_stop(ahead_start(maps, N_MAPS));
        close_maps();
    }
    ahead_stop(NULL);
}

static void a_cut_file_does_no_harm(void **state)
{
    (void)state;
    open_maps();
    drop();
    assert_int_equal(truncate(paths[0], 9 << 20), 0);
    assert_int_equal(truncate(paths[1], 0), 0);
    ahead_stop(ahead_start(maps, N_MAPS));
    assert_true(map_failed(maps[0]));
    close_maps();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_everything_in),
        cmocka_unit_test(maps_what_is_here),
        cmocka_unit_test(can_be_stopped_at_once),
        cmocka_unit_test(a_cut_file_does_no_harm),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
