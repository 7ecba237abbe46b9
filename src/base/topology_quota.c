/* topology_quota.c - how much processor time a container or a service may use. */
#include "base/topology.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* How many numbers the file begins with, at most two. */
static int read_numbers(const char *path, double numbers[2])
{
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int n = fscanf(file, "%lf %lf", &numbers[0], &numbers[1]);
    fclose(file);
    return n;
}

/* Of one group; 0: no limit. */
static double quota_of(const char *folder, bool version_2)
{
    char path[PATH_MAX + 32];
    double quota[2], period[2];
    if (version_2) { /* "max 100000", or "200000 100000" */
        snprintf(path, sizeof path, "%s/cpu.max", folder);
        return read_numbers(path, quota) == 2 && quota[1] > 0 ? quota[0] / quota[1] : 0;
    }
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder); /* -1: no limit */
    if (read_numbers(path, quota) < 1) return 0;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    return read_numbers(path, period) == 1 && period[0] > 0 ? quota[0] / period[0] : 0;
}

/* The smallest of the group and all above it. In a container the path may be the host's and not exist here; then the
 * root, which is the container's own group, is what remains. */
static double smallest(const char *root, const char *group, bool version_2)
{
    char folder[PATH_MAX];
    double least = 0;
    size_t n_root = strlen(root);
    int n = snprintf(folder, sizeof folder, "%s%s", root, strstr(group, "..") ? "" : group);
    if (n < 0 || (size_t)n >= sizeof folder) return 0;
    for (;;) {
        double quota = quota_of(folder, version_2);
        if (quota > 0 && (least == 0 || quota < least)) least = quota;
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < n_root) return least;
        *slash = '\0';
    }
}

/* Is "cpu" one of the names in a comma-separated list? */
static bool names_cpu(const char *list)
{
    for (; *list; list += strcspn(list, ","), list += *list == ',')
        if (strcspn(list, ",") == 3 && memcmp(list, "cpu", 3) == 0) return true;
    return false;
}

double topology_quota(const char *proc, const char *sys)
{
    char line[PATH_MAX], path[PATH_MAX];
    double least = 0;
    int n = snprintf(path, sizeof path, "%s/thread-self/cgroup", proc);
    FILE *file = n > 0 && (size_t)n < sizeof path ? fopen(path, "r") : NULL;
    /* "0::/group" (version 2), "4:cpu,cpuacct:/group" (version 1) */
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group) continue;
        names++;
        *group++ = '\0';
        bool version_2 = names[0] == '\0';
        if (!version_2 && !names_cpu(names)) continue;
        snprintf(path, sizeof path, "%s/fs/cgroup%s", sys, version_2 ? "" : "/cpu");
        double quota = smallest(path, group, version_2);
        if (quota > 0 && (least == 0 || quota < least)) least = quota;
    }
    if (file) fclose(file);
    return least;
}
