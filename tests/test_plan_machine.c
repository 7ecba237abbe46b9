/* Memory limits read from made-up /proc and cgroup folders, the measurement, and the cache of what was measured. */
#include "base/paths.h"
#include "base/threads.h"
#include "plan/machine.h"
#include "plan/machine_measure.h"

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

static void caches_are_read(void **state)
{
    (void)state;
    struct stile_caches caches;
    machine_caches_read(&caches, in_root("none"), 4);
    assert_true(caches.l1_bytes == 0 && caches.l2_bytes == 0 && caches.l3_bytes == 0 && caches.l3_count == 0);
    put("cache/index0/level", "1\n");
    put("cache/index0/type", "Data\n");
    put("cache/index0/size", "48K\n");
    put("cache/index1/level", "1\n");
    put("cache/index1/type", "Instruction\n");
    put("cache/index1/size", "32K\n");
    put("cache/index2/level", "2\n");
    put("cache/index2/size", "1M\n");
    put("cache/index3/level", "3\n");
    put("cache/index3/type", "Unified\n");
    put("cache/index3/size", "32768K\n");
    put("cache/index3/shared_cpu_list", "0-7,64-71\n");
    machine_caches_read(&caches, in_root("cache"), 128);
    assert_true(caches.l1_bytes == 48 * KIB && caches.l2_bytes == 1024 * KIB && caches.l3_bytes == 32768 * KIB);
    assert_int_equal(caches.l3_count, 8);
    machine_caches_read(&caches, in_root("cache"), 2); /* a machine that shows less than the cache serves */
    assert_int_equal(caches.l3_count, 1);
    static const char *const hostile[] = {"", "-1K", "x", "99999999999999999999K", "K", "18446744073709551615M"};
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        put("cache/index3/size", hostile[i]);
        machine_caches_read(&caches, in_root("cache"), 128);
        assert_true(caches.l3_bytes == 0 && caches.l2_bytes == 1024 * KIB);
    }
    put("cache/index3/size", "8M");
    static const char *const lists[] = {"", "5-2", "-", "0-", "99999999999-1", "0-99999999", "a,b"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        put("cache/index3/shared_cpu_list", lists[i]);
        machine_caches_read(&caches, in_root("cache"), 128);
        assert_true(caches.l3_bytes == 8192 * KIB && caches.l3_count >= 1 && caches.l3_count <= 128);
    }
}

static void what_is_measured_is_larger_than_the_caches(void **state)
{
    (void)state;
    struct machine *machine = calloc(1, sizeof *machine);
    machine->memory.available_bytes = 64 * GIB;
    assert_true(machine_area_bytes(machine, 1) == 256 << 20);
    machine->caches = (struct stile_caches){.l2_bytes = 1 << 20, .l3_bytes = 96 << 20, .l3_count = 8};
    assert_true(machine_area_bytes(machine, 1) == 384 << 20);
    assert_true(machine_area_bytes(machine, 4) == 4 * (384 << 20));
    assert_true(machine_area_bytes(machine, 64) == 8 * ((size_t)384 << 20));
    machine->memory.available_bytes = 2 * GIB; /* of that an eighth */
    assert_true(machine_area_bytes(machine, 1) == 256 << 20);
    assert_true(machine_area_bytes(machine, 4) == 0); /* the caches could hold half of it */
    machine->memory.available_bytes = 0;
    assert_true(machine_area_bytes(machine, 1) == 0);
    free(machine);
}

static void large_pages_are_counted(void **state)
{
    (void)state;
    struct machine_area area = {.data = (char *)0x10000000, .size_bytes = 16 << 20};
    const char *path = in_root("smaps");
    assert_true(machine_area_large(&area, path) < 0);
    put("smaps", "0f000000-10000000 rw-p 00000000 00:00 0\nAnonHugePages:     65536 kB\n"
                 "10000000-10800000 rw-p 00000000 00:00 0 \nRss: 1 kB\nAnonHugePages:      4096 kB\n"
                 "10800000-11000000 rw-p 00000000 00:00 0 \nAnonHugePages:      8192 kB\nTHPeligible: 1\n"
                 "11000000-12000000 rw-p 00000000 00:00 0 \nAnonHugePages:     16384 kB\n");
    assert_true(machine_area_large(&area, path) == 0.75);
    put("smaps", "10000000-12000000 rw-p 00000000 00:00 0\nAnonHugePages: 99999999 kB\n"); /* joined with neighbours */
    assert_true(machine_area_large(&area, path) == 1);
    put("smaps", "10000000-11000000 rw-p\nAnonHugePages: many kB\n\xff\n-\n");
    assert_true(machine_area_large(&area, path) < 0);
}

static void passes_have_rates(void **state)
{
    (void)state;
    static const enum stile_quantity quantities[] = {STILE_MEMORY_READ, STILE_MEMORY_WRITE, STILE_MEMORY_COPY};
    struct threads *threads;
    struct machine_area area;
    assert_int_equal(threads_create(&threads, 3, NULL), STILE_OK);
    assert_false(machine_area_create(&area, threads, 1000, true));
    assert_false(machine_area_create(&area, threads, SIZE_MAX, true));
    for (int large = 0; large < 2; large++) {
        assert_true(machine_area_create(&area, threads, (8 << 20) + 5, large));
        assert_int_equal(area.size_bytes, 8 << 20);
        for (size_t i = 0; i < 3; i++) {
            double rate = machine_area_pass(&area, threads, quantities[i], 0);
            assert_true(rate > 1e6 && rate < 1e14);
        }
        assert_memory_equal(area.data, area.data + area.size_bytes / 2, area.size_bytes / 2); /* copied */
        if (!large) assert_true(machine_area_large(&area, "/proc/self/smaps") <= 0);
        machine_area_free(&area);
    }
    threads_free(threads);
}

static void the_chain_is_one_cycle(void **state)
{
    (void)state;
    static const size_t lines[] = {1, 2, 3, 1024};
    struct threads *threads;
    struct machine_area area;
    assert_int_equal(threads_create(&threads, 1, NULL), STILE_OK);
    assert_true(machine_area_create(&area, threads, 2 << 20, true));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        uint64_t at = 0, n = 0;
        machine_latency_prepare(&area, 64 * lines[i]);
        do {
            memcpy(&at, area.data + 64 * at, sizeof at);
            assert_true(at < lines[i]);
            n++;
        } while (at != 0);
        assert_int_equal(n, lines[i]);
        double ns = machine_latency_pass(&area, 1000 * 1000);
        assert_true(ns > 0.01 && ns < 1e6);
    }
    machine_area_free(&area);
    threads_free(threads);
}

static void samples_are_summarized(void **state)
{
    (void)state;
    struct stile_measurement m = {.n_samples = 4, .samples = {4, 1, 3, 2}};
    machine_summarize(&m);
    assert_true(m.median == 2.5 && m.best == 4 && m.spread == 0.5 / 2.5);
    assert_true(m.samples[0] == 4 && m.samples[3] == 2); /* still in order */
    m.quantity = STILE_LATENCY;
    m.n_samples = 3;
    machine_summarize(&m);
    assert_true(m.median == 3 && m.best == 1 && m.spread == 0.5);
    m.n_samples = 0;
    machine_summarize(&m);
    assert_true(m.median == 0 && m.best == 0 && m.spread == 0);
}

/* ---- disks ---- */

static void files_are_read(void **state)
{
    (void)state;
    static const enum stile_quantity quantities[] = {STILE_DISK_SEQUENTIAL, STILE_DISK_RANDOM, STILE_DISK_BUFFERED};
    struct machine_disk disk;
    struct stile_probe *probe = calloc(1, sizeof *probe);
    struct threads *threads;
    assert_int_equal(threads_create(&threads, 2, NULL), STILE_OK);
    bool open = machine_disk_open(&disk, root, 8 << 20, 1000000000, NULL, probe);
    assert_int_equal(n_files_in(root), 0); /* it has no name */
    assert_string_equal(probe->disk_path, root);
    assert_true(*probe->disk_kind);
    if (!open) {
        print_message("skipped: %s\n", probe->disk_note); /* /tmp may be in memory */
    } else {
        assert_true(disk.size_bytes >= 4 << 20 && disk.size_bytes <= 8 << 20);
        for (size_t i = 0; i < 3; i++) {
            double rate = machine_disk_pass(&disk, threads, quantities[i], 64 << 10, 10 * 1000 * 1000);
            assert_true(quantities[i] != STILE_DISK_BUFFERED && disk.fd_direct < 0 ? rate == 0 : rate > 1e3);
        }
        assert_true(machine_disk_stream(&disk, true, 0, 0) == 0); /* it has not one piece */
        assert_true(machine_disk_pass(&disk, threads, STILE_DISK_RANDOM, 0, 0) == 0);
        assert_true(machine_disk_pass(&disk, threads, STILE_DISK_RANDOM, 1 << 30, 0) == 0);
        machine_disk_close(&disk);
    }
    put("small", "x");
    const struct {
        const char *path, *note;
    } bad[] = {
        {in_root("none"), "cannot be opened"},
        {in_root("small"), "memory|too small"}, /* where /tmp is in memory, that is said first */
        {"/dev/null", "memory|neither"},
        {"/dev/shm", "memory|"},
        {root, "memory|too little could be written"},
    };
    volatile int cancelled = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (strcmp(bad[i].path, "/dev/shm") == 0 && access(bad[i].path, R_OK) != 0) continue;
        bool opened = machine_disk_open(&disk, bad[i].path, 8 << 20, 1000, &cancelled, probe);
        if (opened) machine_disk_close(&disk);
        const char *bar = strchr(bad[i].note, '|');
        bool said =
            strstr(probe->disk_note, bar ? bar + 1 : bad[i].note) || (bar && strstr(probe->disk_note, "memory"));
        if (opened || !said) fail_msg("%s: %s", bad[i].path, probe->disk_note);
    }
    assert_int_equal(n_files_in(root), 1);
    threads_free(threads);
    free(probe);
}

/* ---- cache ---- */

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

static struct stile_probe *made_up_probe(void)
{
    struct stile_probe *probe = calloc(1, sizeof *probe);
    assert_non_null(probe);
    *probe = (struct stile_probe){.time = 1800000000,
                                  .duration_s = 12.5,
                                  .commit = "abc",
                                  .isa = "avx2",
                                  .large_pages_share = 0.5,
                                  .disk_path = "/models",
                                  .disk_kind = "ext4",
                                  .disk_note = "a note",
                                  .n = STILE_N_QUANTITIES};
    for (int i = 0; i < STILE_N_QUANTITIES; i++) {
        struct stile_measurement *m = &probe->measurements[i];
        *m = (struct stile_measurement){.quantity = (enum stile_quantity)i, .n_threads = 2, .size_bytes = 4096};
        if (i == STILE_LATENCY) m->n_threads = 1;
        bool sized = i < STILE_MATMUL || i > STILE_ELEMENTS || i == STILE_MATVEC;
        if (!sized) m->size_bytes = 0;
        if (i >= STILE_MATMUL && i < STILE_ELEMENTS) strcpy(m->format, "Q4_K");
        m->n_samples = 3;
        for (uint32_t k = 0; k < 3; k++)
            m->samples[k] = 1e9 + i + k;
        machine_summarize(m);
    }
    return probe;
}

static void a_probe_survives_the_cache(void **state)
{
    (void)state;
    const char *path = in_root("machine.json");
    struct stile_probe *probe = made_up_probe(), *loaded = calloc(1, sizeof *loaded);
    machine_cache_load_probe(path, "a", loaded);
    assert_true(loaded->time == 0 && loaded->n == 0);
    assert_int_equal(machine_cache_store(path, "a", 1.25e10, NULL), STILE_OK);
    assert_int_equal(machine_cache_store_probe(path, "a", 2e10, probe, NULL), STILE_OK);
    assert_int_equal(machine_cache_store(path, "b", 3e10, NULL), STILE_OK); /* keeps it */
    assert_true(machine_cache_load(path, "a") == 2e10 && machine_cache_load(path, "b") == 3e10);
    machine_cache_load_probe(path, "a", loaded);
    assert_memory_equal(loaded, probe, sizeof *probe);
    machine_cache_load_probe(path, "b", loaded);
    assert_true(loaded->time == 0 && loaded->n == 0);
    const struct stile_measurement *m = stile_probe_find(probe, STILE_MATMUL, 2, 0, "Q4_K");
    assert_true(m == &probe->measurements[STILE_MATMUL]);
    assert_null(stile_probe_find(probe, STILE_MATMUL, 1, 0, "Q4_K"));
    assert_null(stile_probe_find(probe, STILE_MATMUL, 2, 0, "Q8_0"));
    assert_non_null(stile_probe_find(probe, STILE_LATENCY, 1, 4096, NULL));
    strcpy(probe->disk_path, "/not utf-8 \xff"); /* becomes null */
    assert_int_equal(machine_cache_store_probe(path, "a", 2e10, probe, NULL), STILE_OK);
    machine_cache_load_probe(path, "a", loaded);
    assert_string_equal(loaded->disk_path, "");
    assert_int_equal(loaded->n, STILE_N_QUANTITIES);
    free(probe);
    free(loaded);
}

static void a_damaged_probe_is_none(void **state)
{
    (void)state;
    static const char *const damaged[] = {
        "[]",
        "7",
        "{}",
        "{\"version\": 2, \"unix_time_s\": 5, \"measurements\": []}",
        "{\"version\": 1, \"unix_time_s\": -5, \"measurements\": []}",
        "{\"version\": 1, \"unix_time_s\": 1e30, \"measurements\": []}",
        "{\"version\": 1, \"unix_time_s\": 5, \"measurements\": [{}]}",
#define MEASURED(rest) "{\"version\": 1, \"unix_time_s\": 5, \"measurements\": [{\"quantity\": \"matmul\", " rest "}]}"
        MEASURED("\"threads\": 2"),
        MEASURED("\"macs_per_s_samples\": [1]"),
        MEASURED("\"threads\": 2000, \"macs_per_s_samples\": [1]"),
        MEASURED("\"threads\": \"2\", \"macs_per_s_samples\": [1]"),
        MEASURED("\"threads\": 2, \"macs_per_s_samples\": []"),
        MEASURED("\"threads\": 2, \"macs_per_s_samples\": [0]"),
        MEASURED("\"threads\": 2, \"macs_per_s_samples\": [1e99]"),
        MEASURED("\"threads\": 2, \"macs_per_s_samples\": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"),
    };
    struct stile_probe *loaded = calloc(1, sizeof *loaded);
    char text[1000];
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        snprintf(text, sizeof text, "{\"version\": 1, \"read_bytes_per_s\": {}, \"probes\": {\"a\": %s}}", damaged[i]);
        put("machine.json", text);
        machine_cache_load_probe(in_root("machine.json"), "a", loaded);
        if (loaded->time != 0 || loaded->n != 0) fail_msg("%s", damaged[i]);
    }
    snprintf(text, sizeof text, "{\"version\": 1, \"read_bytes_per_s\": {}, \"probes\": {\"a\": %s}}",
             MEASURED("\"threads\": 2, \"format\": \"longer than twelve bytes\", \"macs_per_s_samples\": [1]"));
    put("machine.json", text);
    machine_cache_load_probe(in_root("machine.json"), "a", loaded);
    assert_int_equal(loaded->n, 1);
    assert_string_equal(loaded->measurements[0].format, "longer than");
    free(loaded);
}

/* A machine in a file, with one part of it replaced. */
static int read_changed(struct machine *machine, const char *from, const char *to, struct stile_error *error)
{
    static const char text[] =
        "{\"version\": VERSION, \"unix_time_s\": 1, \"isa\": \"avx2\", \"complete\": true, \"measurements\": ["
        "{\"quantity\": \"memory_read\", \"threads\": 4, \"page_bytes\": 4096, \"bytes_per_s_samples\": [3e10, 4e10]},"
        "{\"quantity\": \"memory_read\", \"threads\": 8, \"page_bytes\": 4096, \"bytes_per_s_samples\": [5e10, 6e10]}],"
        "\"machine\": {\"cpu\": \"A\", \"n_processors\": 8, \"n_threads\": 8, \"memory_bytes\": 68719476736,"
        "\"cache_bytes\": {\"l1\": 32768, \"l2\": 1048576, \"l3\": 33554432}, \"large_pages\": \"always\"}}";
    static char changed[2 * sizeof text];
    struct stile_probe *probe = calloc(1, sizeof *probe);
    char *current = stile_probe_json(probe), version[16]; /* whichever it is */
    const char *at = current ? strstr(current, "\"version\":") : NULL;
    assert_non_null(at);
    snprintf(version, sizeof version, "%d", atoi(at + strlen("\"version\":")));
    stile_free(current);
    free(probe);
    const char *const changes[][2] = {{"VERSION", version}, {from, to}};
    strcpy(changed, text);
    for (size_t i = 0; i < 2 && changes[i][0]; i++) {
        char *found = strstr(changed, changes[i][0]), rest[sizeof text];
        assert_non_null(found);
        snprintf(rest, sizeof rest, "%s", found + strlen(changes[i][0]));
        sprintf(found, "%s%s", changes[i][1], rest);
    }
    put("machine.json", changed);
    return machine_read_file(machine, in_root("machine.json"), error);
}

static void a_machine_comes_from_a_file(void **state)
{
    (void)state;
    struct stile_error error;
    struct machine *machine = calloc(1, sizeof *machine);
    if (read_changed(machine, NULL, NULL, &error) != STILE_OK) fail_msg("%s", error.message);
    assert_true(machine->n_threads == 8 && machine->n_processors == 8 && machine->probe.n == 2);
    assert_true(machine->read_bytes_per_s == 6e10 && machine->memory.total_bytes == 64 * GIB);
    assert_true(machine->caches.l3_bytes == 32 << 20 && machine->memory.available_bytes == 64 * GIB);
    assert_string_equal(machine->cpu, "A");
    static const char *const changes[][2] = {
        {"\"n_threads\": 8", "\"n_threads\": 0"},
        {"\"n_threads\": 8", "\"n_threads\": -8"},
        {"\"n_threads\": 8", "\"n_threads\": 1e99"},
        {"\"n_threads\": 8", "\"n_threads\": \"8\""},
        {"\"n_threads\": 8", "\"n_threads\": 6"}, /* nobody measured those */
        {"\"n_processors\": 8", "\"n_processors\": 99999999"},
        {"68719476736", "0"},
        {"68719476736", "9223372036854775807"},
        {"[5e10, 6e10]", "[]"},
        {"[5e10, 6e10]", "[5e10, -1]"},
        {"[5e10, 6e10]", "[5e10, 1e300]"},
        {"[5e10, 6e10]", "[1e3]"},
        {"\"version\": ", "\"version\": 9"},
        {"\"complete\": true", "\"complete\": false"},
        {"\"machine\"", "\"mechanism\""},
        {"\"measurements\"", "\"measures\""},
        {"{", "[{"},
        {"{", "\xff{"},
        {"}}", "}"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        if (read_changed(machine, changes[i][0], changes[i][1], &error) != STILE_ERROR_MALFORMED)
            fail_msg("%s -> %s is read", changes[i][0], changes[i][1]);
        assert_non_null(strstr(error.message, "machine.json"));
    }
    char *deep = malloc(3 << 20);
    memset(deep, '[', 3 << 20);
    deep[100000] = 0;
    put("machine.json", deep);
    assert_int_equal(machine_read_file(machine, in_root("machine.json"), &error), STILE_ERROR_MALFORMED);
    deep[100000] = '[';
    deep[(3 << 20) - 1] = 0;
    put("machine.json", deep);
    assert_int_equal(machine_read_file(machine, in_root("machine.json"), &error), STILE_ERROR_MALFORMED);
    put("machine.json", "");
    assert_int_equal(machine_read_file(machine, in_root("machine.json"), &error), STILE_ERROR_MALFORMED);
    assert_int_equal(machine_read_file(machine, in_root("none"), &error), STILE_ERROR_IO);
    assert_int_equal(machine_read_file(machine, in_root(""), &error), STILE_ERROR_IO); /* a folder */
    free(deep);
    free(machine);
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
        IN_ROOT(caches_are_read),
        cmocka_unit_test(what_is_measured_is_larger_than_the_caches),
        IN_ROOT(large_pages_are_counted),
        cmocka_unit_test(passes_have_rates),
        cmocka_unit_test(the_chain_is_one_cycle),
        cmocka_unit_test(samples_are_summarized),
        IN_ROOT(files_are_read),
        IN_ROOT(a_probe_survives_the_cache),
        IN_ROOT(a_damaged_probe_is_none),
        IN_ROOT(a_machine_comes_from_a_file),
        IN_ROOT(the_cache_keeps_what_was_measured),
        IN_ROOT(a_damaged_cache_is_ignored_and_rewritten),
        IN_ROOT(the_machine_is_measured_once),
        IN_ROOT(a_cache_that_cannot_be_written_is_no_error),
        cmocka_unit_test(thread_counts_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
