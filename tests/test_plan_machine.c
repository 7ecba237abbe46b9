/* Memory limits read from made-up /proc and cgroup folders, the measurement, and the cache of what was measured. */
#include "base/paths.h"
#include "base/threads.h"
#include "plan/machine.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB UINT64_C(1024)
#define GIB (UINT64_C(1) << 30)

static char root[64];

static int remove_root(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+w '%s' && rm -rf '%s'", root, root);
    return system(command);
}

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/stile-machine-XXXXXX");
    if (!mkdtemp(root)) return -1;
    return setenv("XDG_CACHE_HOME", root, 1);
}

static const char *in_root(const char *below)
{
    static char paths[4][512];
    static int i;
    char *path = paths[i++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", root, below);
    return path;
}

static void put(const char *below, const char *text)
{
    char folder[512];
    const char *path = in_root(below);
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    assert_int_equal(path_make_folder(folder, NULL), STILE_OK);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static struct machine_memory memory_in_root(void)
{
    struct machine_memory memory;
    machine_memory_read(&memory, in_root("proc"), in_root("cgroup"));
    return memory;
}

#define MEMINFO "MemTotal:       16777216 kB\nMemFree:  100 kB\nMemAvailable:    8388608 kB\nBuffers: 1 kB\n"

static void without_groups_meminfo_counts(void **state)
{
    (void)state;
    put("proc/meminfo", MEMINFO);
    struct machine_memory memory = memory_in_root();
    assert_true(memory.total_bytes == 16 * GIB);
    assert_true(memory.available_bytes == 8 * GIB);
    put("proc/self/cgroup", "0::/\n"); /* the root has no limit */
    memory = memory_in_root();
    assert_true(memory.total_bytes == 16 * GIB);
    assert_true(memory.available_bytes == 8 * GIB);
}

static void without_proc_the_system_is_asked(void **state)
{
    (void)state;
    struct machine_memory memory = memory_in_root();
    assert_true(memory.total_bytes > 16 << 20);
    assert_true(memory.available_bytes == memory.total_bytes);
}

static void version_2_takes_the_smallest_limit_on_the_way_up(void **state)
{
    (void)state;
    put("proc/meminfo", MEMINFO);
    put("proc/self/cgroup", "0::/user.slice/app.scope\n");
    put("cgroup/user.slice/app.scope/memory.max", "max\n");
    put("cgroup/user.slice/app.scope/memory.current", "1048576\n");
    put("cgroup/user.slice/memory.max", "4294967296\n");
    put("cgroup/user.slice/memory.current", "3221225472\n");
    put("cgroup/user.slice/memory.stat", "anon 1\nfile 2\ninactive_anon 7\ninactive_file 1073741824\n");
    struct machine_memory memory = memory_in_root();
    assert_true(memory.total_bytes == 4 * GIB);
    assert_true(memory.available_bytes == 2 * GIB); /* 4 - (3 - 1) */
    put("cgroup/user.slice/app.scope/memory.max", "1073741824\n");
    memory = memory_in_root();
    assert_true(memory.total_bytes == GIB);
    assert_true(memory.available_bytes == GIB - 1024 * KIB);
}

static void version_1_counts_its_memory_controller(void **state)
{
    (void)state;
    put("proc/meminfo", MEMINFO);
    put("proc/self/cgroup", "5:cpu,cpuacct:/box\n4:memory:/box\n3:memoryx:/no\n0::/\n");
    put("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    put("cgroup/memory/memory.usage_in_bytes", "12884901888\n");
    put("cgroup/memory/box/memory.limit_in_bytes", "2147483648\n");
    put("cgroup/memory/box/memory.usage_in_bytes", "1610612736\n");
    put("cgroup/memory/box/memory.stat", "inactive_file 1\ntotal_inactive_file 536870912\n");
    put("cgroup/memory/no/memory.limit_in_bytes", "1\n");
    struct machine_memory memory = memory_in_root();
    assert_true(memory.total_bytes == 2 * GIB);
    assert_true(memory.available_bytes == GIB);
    /* joined with another controller; more in use than the limit allows */
    put("proc/self/cgroup", "4:hugetlb,memory:/box\n");
    put("cgroup/memory/box/memory.usage_in_bytes", "3221225472\n");
    memory = memory_in_root();
    assert_true(memory.total_bytes == 2 * GIB);
    assert_true(memory.available_bytes == 0);
}

static void in_a_container_the_root_is_the_group(void **state)
{
    (void)state;
    put("proc/meminfo", MEMINFO);
    put("cgroup/memory.max", "1073741824\n");
    static const char *const lines[] = {"0::/\n", "0::/docker/0123456789\n", "0::/../../outside\n", "0::/", "0::\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        put("proc/self/cgroup", lines[i]);
        assert_true(memory_in_root().total_bytes == GIB);
    }
    put("proc/self/cgroup", "nonsense\n::::\n\n0:\n:");
    assert_true(memory_in_root().total_bytes > 0);
    put("proc/self/cgroup", "0::/\n");
    put("cgroup/memory.max", "not a number");
    assert_true(memory_in_root().total_bytes == 16 * GIB);
}

static void reading_has_a_rate(void **state)
{
    (void)state;
    for (int n = 1; n <= 3; n += 2) {
        struct threads *threads;
        assert_int_equal(threads_create(&threads, n, NULL), STILE_OK);
        double rate = machine_measure_read(threads, 16 << 20, 10 * 1000 * 1000);
        assert_true(rate > 1e7 && rate < 1e14);
        assert_true(machine_measure_read(threads, 1000, 0) == 0);
        assert_true(machine_measure_read(threads, SIZE_MAX / 2, 0) == 0);
        threads_free(threads);
    }
}

/* ---- cache ---- */

static int n_files_in(const char *folder)
{
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void the_cache_keeps_what_was_measured(void **state)
{
    (void)state;
    const char *path = in_root("new/folder/machine.json");
    assert_true(machine_cache_load(path, "a") == 0);
    assert_int_equal(machine_cache_store(path, "a", 1.25e10, NULL), STILE_OK);
    assert_int_equal(machine_cache_store(path, "b, 2 threads", 3.5e10, NULL), STILE_OK);
    assert_true(machine_cache_load(path, "a") == 1.25e10);
    assert_true(machine_cache_load(path, "b, 2 threads") == 3.5e10);
    assert_true(machine_cache_load(path, "c") == 0);
    assert_int_equal(machine_cache_store(path, "a", 2e10, NULL), STILE_OK);
    assert_true(machine_cache_load(path, "a") == 2e10);
    assert_true(machine_cache_load(path, "b, 2 threads") == 3.5e10);
    assert_int_equal(n_files_in(in_root("new/folder")), 1); /* no temporary file is left */
    for (int i = 0; i < 70; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        assert_int_equal(machine_cache_store(path, key, 1e10, NULL), STILE_OK);
        assert_true(machine_cache_load(path, key) == 1e10);
    }
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_size < 16 * 1024);
}

static void a_damaged_cache_is_ignored_and_rewritten(void **state)
{
    (void)state;
    static const char *const damaged[] = {
        "",
        "{",
        "[]",
        "null",
        "\xff\xfe",
        "{\"version\": 2, \"read_bytes_per_s\": {\"a\": 1e10}}",
        "{\"version\": 1, \"read_bytes_per_s\": [1e10]}",
        "{\"version\": 1}",
        "{\"version\": 1, \"read_bytes_per_s\": {\"a\": \"1e10\"}}",
        "{\"version\": 1, \"read_bytes_per_s\": {\"a\": -1e10}}",
        "{\"version\": 1, \"read_bytes_per_s\": {\"a\": 1e300}}",
        "{\"version\": 1, \"read_bytes_per_s\": {\"a\": 0}}",
        "{\"version\": 1, \"read_bytes_per_s\": {\"a\": {}}}",
    };
    const char *path = in_root("machine.json");
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        put("machine.json", damaged[i]);
        assert_true(machine_cache_load(path, "a") == 0);
        assert_int_equal(machine_cache_store(path, "a", 1e10, NULL), STILE_OK);
        assert_true(machine_cache_load(path, "a") == 1e10);
    }
    char *deep = malloc(200001);
    memset(deep, '[', 200000);
    deep[200000] = '\0';
    put("machine.json", deep);
    assert_true(machine_cache_load(path, "a") == 0);
    deep[60000] = '\0';
    put("machine.json", deep);
    assert_true(machine_cache_load(path, "a") == 0);
    free(deep);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(path_make_folder(path, NULL), STILE_OK); /* a folder of that name */
    assert_true(machine_cache_load(path, "a") == 0);
    struct stile_error error;
    assert_int_equal(machine_cache_store(path, "a", 1e10, &error), STILE_ERROR_IO);
    assert_int_equal(n_files_in(root), 1);
    put("file", "");
    assert_int_equal(machine_cache_store(in_root("file/machine.json"), "a", 1e10, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, "file"));
}

static void the_machine_is_measured_once(void **state)
{
    (void)state;
    struct machine machine;
    struct stile_error error;
    assert_int_equal(machine_describe(&machine, 1, false, &error), STILE_OK);
    assert_true(machine.cpu[0] != '\0');
    assert_true(machine.n_processors >= 1);
    assert_int_equal(machine.n_threads, 1);
    assert_true(machine.memory.total_bytes >= machine.memory.available_bytes);
    assert_true(machine.read_bytes_per_s == 0);
    assert_false(machine.from_cache);

    assert_int_equal(machine_describe(&machine, 1, true, &error), STILE_OK);
    assert_false(machine.from_cache);
    if (machine.read_bytes_per_s == 0) {
        print_message("skipped: too little memory to measure in\n");
        return;
    }
    double rate = machine.read_bytes_per_s;
    assert_int_equal(machine_describe(&machine, 1, false, &error), STILE_OK);
    assert_true(machine.from_cache && machine.read_bytes_per_s == rate);
    assert_int_equal(machine_describe(&machine, 2, false, &error), STILE_OK); /* another key */
    assert_true(machine.read_bytes_per_s == 0 && !machine.from_cache);
    print_message("%s: %.1f GB/s with one thread\n", machine.cpu, rate / 1e9);

    put("stile/machine.json", "damaged");
    assert_int_equal(machine_describe(&machine, 1, true, &error), STILE_OK);
    assert_true(machine.read_bytes_per_s > 0 && !machine.from_cache);
    assert_int_equal(machine_describe(&machine, 1, true, &error), STILE_OK);
    assert_true(machine.from_cache);
}

static void a_cache_that_cannot_be_written_is_no_error(void **state)
{
    (void)state;
    struct machine machine;
    put("not a folder", "");
    setenv("XDG_CACHE_HOME", in_root("not a folder"), 1);
    assert_int_equal(machine_describe(&machine, 2, true, NULL), STILE_OK);
    assert_false(machine.from_cache);
    assert_int_equal(machine_describe(&machine, 2, false, NULL), STILE_OK);
    assert_true(machine.read_bytes_per_s == 0);
}

static void thread_counts_are_checked(void **state)
{
    (void)state;
    struct machine machine;
    struct stile_error error;
    assert_int_equal(machine_describe(&machine, 0, true, &error), STILE_ERROR_ARGUMENT);
    assert_int_equal(machine_describe(&machine, THREADS_MAX + 1, true, &error), STILE_ERROR_ARGUMENT);
}

#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ROOT(without_groups_meminfo_counts),
        IN_ROOT(without_proc_the_system_is_asked),
        IN_ROOT(version_2_takes_the_smallest_limit_on_the_way_up),
        IN_ROOT(version_1_counts_its_memory_controller),
        IN_ROOT(in_a_container_the_root_is_the_group),
        cmocka_unit_test(reading_has_a_rate),
        IN_ROOT(the_cache_keeps_what_was_measured),
        IN_ROOT(a_damaged_cache_is_ignored_and_rewritten),
        IN_ROOT(the_machine_is_measured_once),
        IN_ROOT(a_cache_that_cannot_be_written_is_no_error),
        cmocka_unit_test(thread_counts_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
