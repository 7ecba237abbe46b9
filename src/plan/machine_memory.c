/* machine_memory.c - memory that this process may use: /proc/meminfo and the limits of its control groups. */
#include "plan/machine.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number that follows `name` at the start of a line; false when there is no such line. */
static bool read_field(const char *path, const char *name, uint64_t *value)
{
    char line[256];
    size_t n = strlen(name);
    bool found = false;
    FILE *file = fopen(path, "r");
    if (!file) return false;
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, name, n) == 0 && sscanf(line + n, "%" SCNu64, value) == 1;
    fclose(file);
    return found;
}

/* A file that holds one number; false when it is missing or says "max". */
static bool read_number(const char *path, uint64_t *value)
{
    return read_field(path, "", value);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* File names of one version of the control groups. */
struct group_files {
    const char *limit, *usage, *inactive, *active; /* the last two: lines of memory.stat, of the page cache */
};
static const struct group_files version_1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ",
                                             "total_active_file "};
static const struct group_files version_2 = {"memory.max", "memory.current", "inactive_file ", "active_file "};

static void apply_limit(struct machine_memory *memory, const char *folder, const struct group_files *files)
{
    char path[PATH_MAX + 64];
    uint64_t limit, usage, inactive = 0, active = 0;
    snprintf(path, sizeof path, "%s/%s", folder, files->limit);
    if (!read_number(path, &limit)) return;
    memory->total_bytes = smaller(memory->total_bytes, limit);
    snprintf(path, sizeof path, "%s/%s", folder, files->usage);
    if (!read_number(path, &usage)) usage = 0;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    read_field(path, files->inactive, &inactive);
    read_field(path, files->active, &active);
    usage -= smaller(usage, inactive);
    usage -= smaller(usage, active);
    memory->available_bytes = smaller(memory->available_bytes, limit - smaller(limit, usage));
}

/* The group and all above it. In a container the path may be the host's and not exist here; then the root, which is
 * the container's own group, is what remains. */
static void apply_limits(struct machine_memory *memory, const char *root, const char *group,
                         const struct group_files *files)
{
    char folder[PATH_MAX];
    size_t n_root = strlen(root);
    int n = snprintf(folder, sizeof folder, "%s%s", root, strstr(group, "..") ? "" : group);
    if (n < 0 || (size_t)n >= sizeof folder) return;
    for (;;) {
        apply_limit(memory, folder, files);
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < n_root) return;
        *slash = '\0';
    }
}

/* Is "memory" one of the names in a comma-separated list of n bytes? */
static bool names_memory(const char *list, size_t n)
{
    for (size_t i = 0; i < n;) {
        const char *comma = memchr(list + i, ',', n - i);
        size_t length = comma ? (size_t)(comma - list) - i : n - i;
        if (length == 6 && memcmp(list + i, "memory", 6) == 0) return true;
        i += length + 1;
    }
    return false;
}

/* Lines of self/cgroup: "0::/group" (version 2), "4:memory:/group" (version 1). */
static void apply_groups(struct machine_memory *memory, const char *proc, const char *cgroup)
{
    char line[PATH_MAX], path[PATH_MAX];
    snprintf(path, sizeof path, "%s/self/cgroup", proc);
    FILE *file = fopen(path, "r");
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group) continue;
        names++;
        *group++ = '\0';
        if (names[0] == '\0') {
            apply_limits(memory, cgroup, group, &version_2);
        } else if (names_memory(names, strlen(names))) {
            snprintf(path, sizeof path, "%s/memory", cgroup);
            apply_limits(memory, path, group, &version_1);
        }
    }
    fclose(file);
}

void machine_memory_read(struct machine_memory *memory, const char *proc, const char *cgroup)
{
    char path[PATH_MAX];
    uint64_t kib;
    long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    memory->total_bytes = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
    snprintf(path, sizeof path, "%s/meminfo", proc);
    if (read_field(path, "MemTotal:", &kib) && kib <= UINT64_MAX / 1024) memory->total_bytes = kib * 1024;
    memory->available_bytes = memory->physical_bytes = memory->total_bytes;
    if (read_field(path, "MemAvailable:", &kib)) memory->available_bytes = smaller(memory->total_bytes, kib * 1024);
    apply_groups(memory, proc, cgroup);
}
