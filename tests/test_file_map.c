/* Mapped files: what is refused, and that a file truncated underneath marks its own map and nothing else. */
#include "file/map.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, PAGES = 64 };

static char folder[] = "/tmp/stile_test_map_XXXXXX";
static char path[256], other_path[256];

/* Installed before the first map is opened: the handler that faults which are not ours must reach. */
static volatile sig_atomic_t n_foreign;
static sigjmp_buf foreign;

static void on_foreign(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    (void)context;
    n_foreign++;
    siglongjmp(foreign, 1);
}

/* cmocka puts its own handler in place for every test: this brings back the one that map_open installed. */
static struct sigaction ours;

static void bring_back(void)
{
    assert_int_equal(sigaction(SIGBUS, &ours, NULL), 0);
}

static void make_file(const char *name, size_t n_bytes, int byte)
{
    char block[PAGE];
    memset(block, byte, sizeof block);
    FILE *out = fopen(name, "wb");
    assert_non_null(out);
    for (size_t n; n_bytes > 0; n_bytes -= n) {
        n = n_bytes < sizeof block ? n_bytes : sizeof block;
        assert_int_equal(fwrite(block, 1, n, out), n);
    }
    assert_int_equal(fclose(out), 0);
}

static unsigned sum(const struct map *map)
{
    const volatile uint8_t *data = map_data(map);
    unsigned total = 0;
    for (uint64_t i = 0; i < map_size_bytes(map); i += 512)
        total += data[i];
    return total;
}

static struct map *open_whole(const char *name)
{
    struct map *map = NULL;
    struct stile_error error = {0};
    if (map_open(&map, name, &error) != 0) fail_msg("%s", error.message);
    return map;
}

static void whole(void **state)
{
    (void)state;
    make_file(path, PAGES * PAGE + 17, 3);
    struct map *map = open_whole(path);
    assert_int_equal(map_size_bytes(map), PAGES * PAGE + 17);
    assert_int_equal(sum(map), 3 * (PAGES * 8 + 1));
    assert_false(map_failed(map));
    char byte = 0;
    assert_int_equal(pread(map_fd(map), &byte, 1, PAGES * PAGE), 1);
    assert_int_equal(byte, 3);
    map_close(map);
    map_close(NULL);
}

static void check_refused(const char *name, const char *expected, int code)
{
    struct map *map = NULL;
    struct stile_error error = {0};
    assert_int_equal(map_open(&map, name, &error), code);
    assert_null(map);
    assert_int_equal(error.code, code);
    if (!strstr(error.message, expected) || strncmp(error.message, name, strlen(name)) != 0)
        fail_msg("'%s' lacks '%s' or '%s'", error.message, name, expected);
}

static void refused(void **state)
{
    (void)state;
    check_refused(folder, "is a folder", STILE_ERROR_IO);
    check_refused("/dev/zero", "is a device", STILE_ERROR_IO);
    check_refused(other_path, "cannot open: No such file", STILE_ERROR_IO);
    assert_int_equal(mkfifo(other_path, 0600), 0);
    check_refused(other_path, "is a pipe", STILE_ERROR_IO);
    unlink(other_path);
    make_file(other_path, 0, 0);
    check_refused(other_path, "the file is empty", STILE_ERROR_MALFORMED);
    unlink(other_path);
    assert_int_equal(symlink(other_path, other_path), 0);
    check_refused(other_path, "cannot open", STILE_ERROR_IO);
    unlink(other_path);
    assert_int_equal(map_open(&(struct map *){NULL}, folder, NULL), STILE_ERROR_IO);
}

static void truncated(void **state)
{
    (void)state;
    bring_back();
    make_file(path, PAGES * PAGE, 5);
    make_file(other_path, PAGES * PAGE, 7);
    struct map *map = open_whole(path), *other = open_whole(other_path);
    assert_int_equal(sum(map), 5 * PAGES * 8);
    assert_int_equal(truncate(path, PAGES / 2 * PAGE), 0);
    assert_int_equal(sum(map), 5 * PAGES / 2 * 8); /* the rest reads as zeros */
    assert_true(map_failed(map));
    assert_int_equal(sum(map), 5 * PAGES / 2 * 8);
    assert_int_equal(sum(other), 7 * PAGES * 8);
    assert_false(map_failed(other));
    map_close(map);
    assert_false(map_failed(other));
    /* a new map in the same slot begins unharmed */
    make_file(path, PAGES * PAGE, 6);
    map = open_whole(path);
    assert_int_equal(sum(map), 6 * PAGES * 8);
    assert_false(map_failed(map));
    map_close(map);
    map_close(other);
    unlink(other_path);
}

static void set_time(const char *name)
{
    struct timespec past[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, name, past, 0), 0);
}

/* What raises no signal: cut inside the last page, written over, and replaced (which harms nobody). */
static void changed_quietly(void **state)
{
    (void)state;
    make_file(path, PAGE, 5);
    set_time(path);
    struct map *map = open_whole(path);
    assert_false(map_failed(map));
    assert_int_equal(truncate(path, PAGE - 1), 0);
    set_time(path);
    assert_true(map_failed(map));
    map_close(map);

    make_file(path, PAGE, 5);
    set_time(path);
    map = open_whole(path);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    close(fd);
    assert_true(map_failed(map));
    map_close(map);

    map = open_whole(path);
    make_file(other_path, PAGE, 9);
    assert_int_equal(rename(other_path, path), 0);
    assert_int_equal(map_data(map)[1], 5);
    assert_false(map_failed(map));
    map_close(map);
}

/* What was once read as zeros stays a failure, also when the file looks whole again. */
static void truncated_for_a_while(void **state)
{
    (void)state;
    bring_back();
    make_file(path, 4 * PAGE, 5);
    set_time(path);
    struct map *map = open_whole(path);
    assert_int_equal(truncate(path, PAGE), 0);
    assert_int_equal(sum(map), 5 * 8);
    assert_int_equal(truncate(path, 4 * PAGE), 0);
    set_time(path);
    assert_true(map_failed(map));
    map_close(map);
}

/* Closing gives everything back: more maps, one after the other, than there may be at a time. */
static void many_maps(void **state)
{
    (void)state;
    make_file(path, PAGE, 5);
    for (int i = 0; i < 5000; i++)
        map_close(open_whole(path));
}

struct reader {
    struct map *map, *other;
    pthread_barrier_t *start;
    unsigned sum, other_sum;
};

static void *read_both(void *arg)
{
    struct reader *reader = arg;
    pthread_barrier_wait(reader->start);
    reader->sum = sum(reader->map);
    reader->other_sum = sum(reader->other);
    return NULL;
}

static void truncated_under_threads(void **state)
{
    enum { THREADS = 8, ROUNDS = 20 };
    pthread_t threads[THREADS];
    struct reader readers[THREADS];
    pthread_barrier_t start;
    (void)state;
    bring_back();
    for (int round = 0; round < ROUNDS; round++) {
        make_file(path, PAGES * PAGE, 5);
        make_file(other_path, PAGES * PAGE, 7);
        struct map *map = open_whole(path), *other = open_whole(other_path);
        pthread_barrier_init(&start, NULL, THREADS + 1);
        for (int i = 0; i < THREADS; i++) {
            readers[i] = (struct reader){.map = map, .other = other, .start = &start};
            assert_int_equal(pthread_create(&threads[i], NULL, read_both, &readers[i]), 0);
        }
        if (round % 2 == 0) assert_int_equal(truncate(path, PAGE), 0);
        pthread_barrier_wait(&start);
        if (round % 2 == 1) assert_int_equal(truncate(path, PAGE), 0);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            assert_true(readers[i].sum <= 5 * PAGES * 8);
            assert_int_equal(readers[i].other_sum, 7 * PAGES * 8);
        }
        assert_true(map_failed(map));
        assert_false(map_failed(other));
        map_close(map);
        map_close(other);
        pthread_barrier_destroy(&start);
    }
    unlink(other_path);
}

/* Maps come and go in some threads while faults are handled in others. */
static void *open_and_close(void *arg)
{
    for (int i = 0; i < 300; i++) {
        struct map *map = NULL;
        if (map_open(&map, arg, NULL) != 0) return arg;
        if (map_data(map)[0] != 7) return arg;
        map_close(map);
    }
    return NULL;
}

static void open_during_faults(void **state)
{
    pthread_t threads[2];
    (void)state;
    bring_back();
    make_file(other_path, PAGE, 7);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, other_path), 0);
    for (int i = 0; i < 50; i++) {
        make_file(path, 4 * PAGE, 5);
        struct map *map = open_whole(path);
        assert_int_equal(truncate(path, PAGE), 0);
        assert_int_equal(sum(map), 5 * 8);
        assert_true(map_failed(map));
        map_close(map);
    }
    for (int i = 0; i < 2; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    unlink(other_path);
}

static void fault_once(volatile uint8_t *data)
{
    n_foreign = 0;
    if (sigsetjmp(foreign, 1) == 0) {
        (void)data[PAGE];
        fail_msg("the fault was swallowed");
    }
    assert_int_equal(n_foreign, 1);
}

/* A fault in somebody else's mapping goes to the handler that was there before ours. */
static void foreign_fault(void **state)
{
    volatile uint8_t *data[2];
    struct map *volatile map = NULL; /* kept across siglongjmp */
    (void)state;
    bring_back();
    make_file(path, 2 * PAGE, 1);
    make_file(other_path, 2 * PAGE, 1);
    int fd = open(other_path, O_RDONLY);
    for (int i = 0; i < 2; i++) { /* one on either side of ours in memory */
        data[i] = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
        assert_true(data[i] != MAP_FAILED);
        if (i == 0) map = open_whole(path);
    }
    assert_int_equal(truncate(other_path, 0), 0);
    fault_once(data[0]);
    fault_once(data[1]);
    n_foreign = 0;
    if (sigsetjmp(foreign, 1) == 0) raise(SIGBUS);
    assert_int_equal(n_foreign, 1);
    assert_false(map_failed(map));
    for (int i = 0; i < 2; i++)
        munmap((void *)(uintptr_t)data[i], 2 * PAGE);
    close(fd);
    map_close(map);
}

/* Without an earlier handler it ends the process, as it would have without us. `how` 0: a fault, 1: kill. */
static int status_of_child(int how)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        execl("/proc/self/exe", "test_file_map", how == 0 ? "--fault" : "--kill", path, (char *)NULL);
        _exit(99);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

static int child_main(const char *how, const char *name)
{
    struct map *map = NULL;
    signal(SIGBUS, SIG_DFL); /* under the address sanitizer there is one */
    if (map_open(&map, name, NULL) != 0) return 1;
    if (strcmp(how, "--kill") == 0) {
        raise(SIGBUS);
        return 2;
    }
    int fd = open(name, O_RDONLY);
    volatile uint8_t *data = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (truncate(name, 0) != 0) return 3;
    return data[0] + 4;
}

static void default_action(void **state)
{
    (void)state;
    for (int how = 0; how < 2; how++) {
        make_file(path, PAGE, 1);
        int status = status_of_child(how);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGBUS);
    }
}

static int remove_files(void **state)
{
    (void)state;
    unlink(path);
    unlink(other_path);
    return 0;
}

static size_t n_in_memory(const struct map *map)
{
    static unsigned char there[PAGES];
    size_t n = 0;
    assert_int_equal(mincore((void *)(uintptr_t)map_data(map), map_size_bytes(map), there), 0);
    for (size_t i = 0; i < PAGES; i++)
        n += there[i] & 1;
    return n;
}

/* One page that is touched does not bring those around it; what is asked for beforehand comes. */
static void scattered(void **state)
{
    enum { WAITS = 2000 };
    struct map *map;
    (void)state;
    make_file(path, (size_t)PAGES * PAGE, 3);
    assert_int_equal(map_open(&map, path, NULL), 0);
    assert_int_equal(fsync(map_fd(map)), 0);
    assert_int_equal(posix_fadvise(map_fd(map), 0, 0, POSIX_FADV_DONTNEED), 0);
    if (n_in_memory(map) > 0) { /* a file system in memory, or one that keeps what it has */
        map_close(map);
        skip();
    }
    map_read_scattered(map_data(map) + 1, (size_t)PAGES * PAGE - 1);
    assert_int_equal(*(map_data(map) + 20 * PAGE), 3);
    assert_int_equal(n_in_memory(map), 1);
    map_read_soon(map_data(map) + 40 * PAGE - 1, 2);
    for (int i = 0; i < WAITS && n_in_memory(map) < 3; i++)
        usleep(1000);
    assert_int_equal(n_in_memory(map), 3);
    map_close(map);
}

/* The first map installs the handler. */
static int install(void)
{
    struct sigaction action = {.sa_sigaction = on_foreign, .sa_flags = SA_SIGINFO};
    struct map *map = NULL;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
    if (map_open(&map, "/proc/self/exe", NULL) != 0) return -1;
    map_close(map);
    return sigaction(SIGBUS, NULL, &ours);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_teardown(f, remove_files)
    const struct CMUnitTest tests[] = {
        TEST(whole),
        TEST(refused),
        TEST(truncated),
        TEST(changed_quietly),
        TEST(foreign_fault),
        TEST(truncated_under_threads),
        TEST(open_during_faults),
        TEST(default_action),
        TEST(truncated_for_a_while),
        TEST(many_maps),
        TEST(scattered),
    };
    if (argc == 3) return child_main(argv[1], argv[2]);
    if (!mkdtemp(folder) || install() != 0) return 1;
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other_path, sizeof other_path, "%s/other", folder);
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir(folder) == 0 ? n_failed : 1;
}
