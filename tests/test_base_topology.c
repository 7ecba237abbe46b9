/* The topology, read from made-up /proc and /sys folders: hybrids, phones, servers, containers, nonsense. */
#include "base/paths.h"
#include "base/topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char root[64];

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/stile-topology-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

__attribute__((format(printf, 2, 3))) static void put(const char *text, const char *below, ...)
{
    char path[512], folder[512];
    int n = snprintf(path, sizeof path, "%s/", root);
    va_list arguments;
    va_start(arguments, below);
    vsnprintf(path + n, sizeof path - (size_t)n, below, arguments);
    va_end(arguments);
    strcpy(folder, path);
    *strrchr(folder, '/') = '\0';
    assert_int_equal(path_make_folder(folder, NULL), 0);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void put_siblings(int id, int a, int b)
{
    char text[32];
    snprintf(text, sizeof text, "%d,%d\n", a, b);
    put(text, "sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", id);
}

static void put_number(int id, const char *name, long number)
{
    char text[32];
    snprintf(text, sizeof text, "%ld\n", number);
    put(text, "sys/devices/system/cpu/cpu%d/%s", id, name);
}

static void put_allowed(const char *list)
{
    char text[512];
    snprintf(text, sizeof text, "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t%s\nMems_allowed:\t1\n", list);
    put(text, "proc/thread-self/status");
}

static const struct topology *read_root(void)
{
    static struct topology topology;
    char proc[128], sys[128];
    snprintf(proc, sizeof proc, "%s/proc", root);
    snprintf(sys, sizeof sys, "%s/sys", root);
    topology_read(&topology, proc, sys);
    assert_in_range(topology.n_processors, 1, TOPOLOGY_PROCESSORS_MAX);
    assert_in_range(topology.n_cores, 1, topology.n_processors);
    assert_in_range(topology.n_fast_cores, 1, topology.n_cores);
    assert_in_range(topology.n_nodes, 1, topology.n_processors);
    return &topology;
}

static void assert_counts(const struct topology *t, int n_processors, int n_cores, int n_fast_cores, int n_nodes)
{
    assert_int_equal(t->n_processors, n_processors);
    assert_int_equal(t->n_cores, n_cores);
    assert_int_equal(t->n_fast_cores, n_fast_cores);
    assert_int_equal(t->n_nodes, n_nodes);
}

/* 8 performance cores with two threads each, 16 efficiency cores with one. */
static void put_hybrid(void)
{
    put("0-31\n", "sys/devices/system/cpu/online");
    put("0-15\n", "sys/devices/cpu_core/cpus");
    put("16-31\n", "sys/devices/cpu_atom/cpus");
    put("0\n", "sys/devices/system/node/has_cpu");
    put("0-31\n", "sys/devices/system/node/node0/cpulist");
    for (int id = 0; id < 16; id++)
        put_siblings(id, id / 2 * 2, id / 2 * 2 + 1);
    for (int id = 16; id < 32; id++)
        put_siblings(id, id, id);
}

static void a_hybrid_has_fast_and_slow_cores(void **state)
{
    (void)state;
    put_hybrid();
    put_allowed("0-31");
    const struct topology *t = read_root();
    assert_counts(t, 32, 24, 8, 1);
    assert_int_equal(t->processors[5].core, 4);
    assert_false(t->processors[15].slow);
    assert_true(t->processors[16].slow);
    assert_true(t->quota == 0);
}

static void what_is_allowed_counts(void **state)
{
    (void)state;
    put_hybrid();
    put_allowed("1,3,5,7,16-19");
    const struct topology *t = read_root();
    assert_counts(t, 8, 8, 4, 1);
    assert_int_equal(t->processors[0].core, 1); /* its sibling 0 is not ours */
    put_allowed("20-23");                       /* efficiency cores are fast when there is nothing else */
    assert_counts(read_root(), 4, 4, 4, 1);
    put_allowed("30-40"); /* offline ones are not usable */
    assert_counts(read_root(), 2, 2, 2, 1);
}

static void a_phone_tells_capacities(void **state)
{
    (void)state;
    put("0-7\n", "sys/devices/system/cpu/online");
    for (int id = 0; id < 8; id++) {
        put_number(id, "cpu_capacity", id < 4 ? 320 : id < 7 ? 860 : 1024);
        put_number(id, "cpufreq/cpuinfo_max_freq", 2000000); /* the capacity knows better */
    }
    const struct topology *t = read_root();
    assert_counts(t, 8, 8, 4, 1);
    assert_true(t->processors[3].slow);
    assert_false(t->processors[4].slow);
}

static void clocks_tell_kinds_but_not_bins(void **state)
{
    (void)state;
    put("0-7\n", "sys/devices/system/cpu/online");
    for (int id = 0; id < 8; id++)
        put_number(id, "cpufreq/cpuinfo_max_freq", id < 4 ? 5700000 : 5200000);
    assert_counts(read_root(), 8, 8, 8, 1);
    for (int id = 4; id < 8; id++)
        put_number(id, "cpufreq/cpuinfo_max_freq", 2400000);
    assert_counts(read_root(), 8, 8, 4, 1);
}

static void a_server_has_nodes(void **state)
{
    (void)state;
    put("0-255\n", "sys/devices/system/cpu/online");
    put("0-1\n", "sys/devices/system/node/has_cpu");
    put("0-63,128-191\n", "sys/devices/system/node/node0/cpulist");
    put("64-127,192-255\n", "sys/devices/system/node/node1/cpulist");
    for (int id = 0; id < 256; id++)
        put_siblings(id, id % 128, id % 128 + 128);
    put_allowed("0-255");
    const struct topology *t = read_root();
    assert_counts(t, 256, 128, 128, 2);
    assert_int_equal(t->processors[191].node, 0);
    assert_int_equal(t->processors[192].node, 1);
    /* half of the threads on each node, whatever their number */
    static const int counts[] = {2, 4, 16, 128, 256};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
        for (int i = 0; i < counts[c]; i++)
            assert_int_equal(topology_node_of(t, i, counts[c]), i >= counts[c] / 2);
    assert_int_equal(topology_node_of(t, 0, 1), 1); /* the middle of all: any node will do */

    put_allowed("0-63"); /* a process that was put on one of them */
    assert_counts(read_root(), 64, 64, 64, 1);
    put_allowed("60-67"); /* four cores on each */
    t = read_root();
    assert_counts(t, 8, 8, 8, 2);
    put_allowed("0-5,126-127"); /* unequal shares */
    t = read_root();
    for (int i = 0; i < 8; i++)
        assert_int_equal(topology_node_of(t, i, 8), i >= 6);
}

static void slow_cores_get_no_thread_until_needed(void **state)
{
    (void)state;
    put("0-3\n", "sys/devices/system/cpu/online");
    put("0-1\n", "sys/devices/system/node/has_cpu");
    put("0-1\n", "sys/devices/system/node/node0/cpulist");
    put("2-3\n", "sys/devices/system/node/node1/cpulist");
    for (int id = 0; id < 4; id++)
        put_number(id, "cpu_capacity", id < 2 ? 1024 : 300);
    const struct topology *t = read_root();
    assert_counts(t, 4, 4, 2, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(topology_node_of(t, i, 2), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(topology_node_of(t, i, 4), i / 2);
}

static void a_container_may_have_no_sysfs(void **state)
{
    (void)state;
    put_allowed("0-3,8");
    assert_counts(read_root(), 5, 5, 5, 1);
}

static void nothing_at_all_is_still_a_machine(void **state)
{
    (void)state;
    const struct topology *t = read_root();
    assert_int_equal(t->n_cores, t->n_processors);
    assert_int_equal(t->n_fast_cores, t->n_processors);
    assert_true(t->quota == 0);
}

static void nonsense_does_no_harm(void **state)
{
    (void)state;
    static const char *const texts[] = {"",    "\n",   "-1\n",          "7-2\n",       "0-99999999999999\n",
                                        "x-y", "0-",   "4294967296-0",  "-5--3",       "0-8191,0-8191,0-8191",
                                        ",,,", "9999", "0x10-0x20\n",   "max",         "18446744073709551616",
                                        "nan", "0,0",  "\xff\xfe\x01-", "0-2147483648"};
    enum { N = sizeof texts / sizeof texts[0] };
    for (size_t i = 0; i < N * N; i++) {
        const char *a = texts[i % N], *b = texts[i / N];
        put(a, "sys/devices/system/cpu/online");
        put(b, "sys/devices/cpu_core/cpus");
        put(a, "sys/devices/cpu_atom/cpus");
        put(b, "sys/devices/system/node/has_cpu");
        put(a, "sys/devices/system/node/node0/cpulist");
        put(b, "sys/devices/system/cpu/cpu0/topology/thread_siblings_list");
        put(a, "sys/devices/system/cpu/cpu0/cpu_capacity");
        put(b, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq");
        put_allowed(b);
        const struct topology *t = read_root();
        for (int n = 1; n <= 300; n += 13)
            topology_node_of(t, n - 1, n);
    }
}

static double quota_in_root(void)
{
    return read_root()->quota;
}

static void quotas_of_both_versions_count(void **state)
{
    (void)state;
    put("0::/a/b\n", "proc/thread-self/cgroup");
    put("max 100000\n", "sys/fs/cgroup/a/b/cpu.max");
    assert_true(quota_in_root() == 0);
    put("250000 100000\n", "sys/fs/cgroup/a/cpu.max"); /* the group above */
    assert_true(quota_in_root() == 2.5);
    put("50000 50000\n", "sys/fs/cgroup/a/b/cpu.max");
    assert_true(quota_in_root() == 1);
    put("0::/a/../..\n", "proc/thread-self/cgroup"); /* of a host that we do not see: what is at the root counts */
    assert_true(quota_in_root() == 0);
    put("400000 100000\n", "sys/fs/cgroup/cpu.max");
    assert_true(quota_in_root() == 4);
    put("4:memory:/m\n3:cpuacct,cpu:/c\n", "proc/thread-self/cgroup");
    put("-1\n", "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us");
    put("100000\n", "sys/fs/cgroup/cpu/c/cpu.cfs_period_us");
    assert_true(quota_in_root() == 0);
    put("150000\n", "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us");
    assert_true(quota_in_root() == 1.5);
    put("3:cpuset,cpux:/c\n", "proc/thread-self/cgroup"); /* other controllers */
    assert_true(quota_in_root() == 0);
}

static void here_is_somewhere(void **state)
{
    (void)state;
    const struct topology *t = topology_here();
    assert_ptr_equal(t, topology_here());
    assert_in_range(t->n_processors, 1, TOPOLOGY_PROCESSORS_MAX);
    assert_in_range(t->n_fast_cores, 1, t->n_cores);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_hybrid_has_fast_and_slow_cores),
        IN_FOLDER(what_is_allowed_counts),
        IN_FOLDER(a_phone_tells_capacities),
        IN_FOLDER(clocks_tell_kinds_but_not_bins),
        IN_FOLDER(a_server_has_nodes),
        IN_FOLDER(slow_cores_get_no_thread_until_needed),
        IN_FOLDER(a_container_may_have_no_sysfs),
        IN_FOLDER(nothing_at_all_is_still_a_machine),
        IN_FOLDER(nonsense_does_no_harm),
        IN_FOLDER(quotas_of_both_versions_count),
        cmocka_unit_test(here_is_somewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
