/* How many threads make sense here: the processors this process may use, SMT siblings counted once, and no more than
 * a container's CPU quota pays for. */
#include "base/threads.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#ifdef __linux__
#include <sched.h>

/* The lowest processor that shares a core with this one and that this process may use. */
static int first_sibling(int processor, const cpu_set_t *allowed)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", processor);
    FILE *file = fopen(path, "r");
    if (!file) return processor;
    /* "0,64" or "0-1" */
    int first = processor, low, high;
    for (;;) {
        if (fscanf(file, "%d", &low) != 1) break;
        high = low;
        int next = fgetc(file);
        if (next == '-') {
            if (fscanf(file, "%d", &high) != 1) break;
            next = fgetc(file);
        }
        for (int i = low; i <= high && i >= 0 && i < CPU_SETSIZE; i++)
            if (CPU_ISSET((size_t)i, allowed) && i < first) first = i;
        if (next != ',') break;
    }
    fclose(file);
    return first;
}

/* Processors' worth of time per period, or 0 for no limit. */
static double cgroup_quota(void)
{
    double quota = 0, period = 0;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r"); /* v2: "max 100000" or "200000 100000" */
    if (file) {
        if (fscanf(file, "%lf %lf", &quota, &period) != 2) quota = 0;
        fclose(file);
        return period > 0 ? quota / period : 0;
    }
    file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r");
    if (file) {
        if (fscanf(file, "%lf", &quota) != 1) quota = 0;
        fclose(file);
    }
    file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
    if (file) {
        if (fscanf(file, "%lf", &period) != 1) period = 0;
        fclose(file);
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

int threads_default_count(void)
{
    cpu_set_t allowed;
    int n = 0;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        for (int i = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET((size_t)i, &allowed) && first_sibling(i, &allowed) == i) n++;
    } else {
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    }
    double quota = cgroup_quota();
    if (quota > 0 && quota < n) n = (int)ceil(quota);
    if (n > THREADS_MAX) n = THREADS_MAX;
    return n > 0 ? n : 1;
}

#else

int threads_default_count(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (n > THREADS_MAX) n = THREADS_MAX;
    return n > 0 ? (int)n : 1;
}

#endif
