#include "base/topology.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

enum { PATH_BYTES = 512 };

/* A set of processor numbers below TOPOLOGY_ID_MAX. */
struct set {
    uint64_t words[TOPOLOGY_ID_MAX / 64];
    int n;
};

static void set_add(struct set *set, int id)
{
    uint64_t bit = UINT64_C(1) << id % 64;
    if (set->words[id / 64] & bit) return;
    set->words[id / 64] |= bit;
    set->n++;
}

static bool set_has(const struct set *set, int id)
{
    return set->words[id / 64] >> id % 64 & 1;
}

/* "0-3,8": numbers and ranges; reading ends where it makes no sense. False when there was nothing. */
static bool read_list(FILE *file, struct set *set)
{
    int low, high, next;
    memset(set, 0, sizeof *set);
    do {
        if (fscanf(file, "%5d", &low) != 1) break;
        high = low;
        next = fgetc(file);
        if (next == '-') {
            if (fscanf(file, "%5d", &high) != 1) break;
            next = fgetc(file);
        }
        if (low < 0 || high < low) break;
        for (int id = low; id <= high && id < TOPOLOGY_ID_MAX; id++)
            set_add(set, id);
    } while (next == ',');
    return set->n > 0;
}

static bool read_list_at(const char *path, struct set *set)
{
    FILE *file = fopen(path, "r");
    bool found = file && read_list(file, set);
    if (file) fclose(file);
    return found;
}

static bool read_list_in(const char *sys, const char *below, struct set *set)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/devices/%s", sys, below);
    return n > 0 && n < PATH_BYTES && read_list_at(path, set);
}

/* The number in a file below devices/system/cpu/cpuID; 0 when there is none. */
static long read_number(const char *sys, int id, const char *below)
{
    char path[PATH_BYTES];
    long number = 0;
    int n = snprintf(path, sizeof path, "%s/devices/system/cpu/cpu%d/%s", sys, id, below);
    FILE *file = n > 0 && n < PATH_BYTES ? fopen(path, "r") : NULL;
    if (!file) return 0;
    if (fscanf(file, "%10ld", &number) != 1 || number < 0) number = 0;
    fclose(file);
    return number;
}

/* What the thread may run on, of what is online. */
static void read_allowed(struct set *allowed, const char *proc, const char *sys)
{
    static const char name[] = "Cpus_allowed_list:";
    char path[PATH_BYTES], word[64];
    struct set online;
    memset(allowed, 0, sizeof *allowed);
    int n = snprintf(path, sizeof path, "%s/thread-self/status", proc);
    FILE *file = n > 0 && n < PATH_BYTES ? fopen(path, "r") : NULL;
    while (file && fscanf(file, "%63s", word) == 1)
        if (strcmp(word, name) == 0) {
            read_list(file, allowed);
            break;
        }
    if (file) fclose(file);
    if (read_list_in(sys, "system/cpu/online", &online)) {
        struct set both = {.n = 0};
        for (int id = 0; id < TOPOLOGY_ID_MAX; id++)
            if (set_has(&online, id) && (allowed->n == 0 || set_has(allowed, id))) set_add(&both, id);
        if (both.n > 0) *allowed = both;
    }
    long processors = allowed->n > 0 ? 0 : sysconf(_SC_NPROCESSORS_ONLN);
    for (int id = 0; id < processors && id < TOPOLOGY_ID_MAX; id++)
        set_add(allowed, id);
    if (allowed->n == 0) set_add(allowed, 0);
}

static void read_cores(struct topology *topology, const struct set *allowed, const char *sys)
{
    for (int i = 0; i < topology->n_processors; i++) {
        struct topology_processor *p = &topology->processors[i];
        char below[64];
        struct set siblings;
        snprintf(below, sizeof below, "system/cpu/cpu%d/topology/thread_siblings_list", p->id);
        p->core = p->id;
        if (!read_list_in(sys, below, &siblings) || !set_has(&siblings, p->id)) continue;
        for (int id = 0; id < p->core; id++)
            if (set_has(&siblings, id) && set_has(allowed, id)) p->core = id;
    }
}

static void read_nodes(struct topology *topology, const char *sys)
{
    struct set nodes, near;
    topology->n_nodes = 0;
    if (!read_list_in(sys, "system/node/has_cpu", &nodes)) nodes.n = 0;
    for (int node = 0; node < TOPOLOGY_ID_MAX && nodes.n > 0; node++) {
        char below[64];
        bool ours = false;
        snprintf(below, sizeof below, "system/node/node%d/cpulist", node);
        if (!set_has(&nodes, node) || !read_list_in(sys, below, &near)) continue;
        for (int i = 0; i < topology->n_processors; i++) {
            if (!set_has(&near, topology->processors[i].id)) continue;
            topology->processors[i].node = node;
            ours = true;
        }
        topology->n_nodes += ours;
    }
    if (topology->n_nodes == 0) topology->n_nodes = 1;
}

/* Kinds told apart by a number that rises with speed: slow is what has less than two thirds of the best. Processors
 * that merely clock differently stay together. False when the number is not known for all. */
static bool tell_apart(struct topology *topology, const char *sys, const char *below)
{
    long numbers[TOPOLOGY_PROCESSORS_MAX], best = 0;
    for (int i = 0; i < topology->n_processors; i++) {
        numbers[i] = read_number(sys, topology->processors[i].id, below);
        if (numbers[i] == 0) return false;
        if (numbers[i] > best) best = numbers[i];
    }
    for (int i = 0; i < topology->n_processors; i++)
        topology->processors[i].slow = numbers[i] < best / 3 * 2;
    return true;
}

/* Intel names its two kinds; elsewhere there is a capacity, or at least a highest clock. */
static void read_kinds(struct topology *topology, const char *sys)
{
    struct set fast, slow;
    bool named = read_list_in(sys, "cpu_core/cpus", &fast) && read_list_in(sys, "cpu_atom/cpus", &slow),
         any_fast = false;
    for (int i = 0; i < topology->n_processors && named; i++) {
        struct topology_processor *p = &topology->processors[i];
        p->slow = set_has(&slow, p->id) && !set_has(&fast, p->id);
        any_fast |= !p->slow;
    }
    for (int i = 0; i < topology->n_processors && named && !any_fast; i++)
        topology->processors[i].slow = false; /* all that we have */
    if (!named && !tell_apart(topology, sys, "cpu_capacity")) tell_apart(topology, sys, "cpufreq/cpuinfo_max_freq");
}

static void count_cores(struct topology *topology)
{
    topology->n_cores = topology->n_fast_cores = 0;
    for (int i = 0; i < topology->n_processors; i++) {
        const struct topology_processor *p = &topology->processors[i];
        if (p->core != p->id) continue;
        topology->n_cores++;
        topology->n_fast_cores += !p->slow;
    }
}

void topology_read(struct topology *topology, const char *proc, const char *sys)
{
    struct set allowed;
    memset(topology, 0, sizeof *topology);
    read_allowed(&allowed, proc, sys);
    for (int id = 0; id < TOPOLOGY_ID_MAX && topology->n_processors < TOPOLOGY_PROCESSORS_MAX; id++)
        if (set_has(&allowed, id)) topology->processors[topology->n_processors++].id = id;
    read_cores(topology, &allowed, sys);
    read_nodes(topology, sys);
    read_kinds(topology, sys);
    count_cores(topology);
    topology->quota = topology_quota(proc, sys);
}

int topology_node_of(const struct topology *topology, int i, int n)
{
    bool all = n > topology->n_fast_cores;
    int n_cores = all ? topology->n_cores : topology->n_fast_cores;
    /* the core in the middle of the thread's share of them, counted node by node */
    int wanted = (int)((2 * (int64_t)i + 1) * n_cores / (2 * (int64_t)n)), at = 0, node = -1;
    for (;;) {
        int next = INT32_MAX;
        for (int p = 0; p < topology->n_processors; p++)
            if (topology->processors[p].node > node && topology->processors[p].node < next)
                next = topology->processors[p].node;
        if (next == INT32_MAX) return node;
        node = next;
        for (int p = 0; p < topology->n_processors; p++) {
            const struct topology_processor *processor = &topology->processors[p];
            if (processor->node == node && processor->core == processor->id && (all || !processor->slow)) at++;
        }
        if (at > wanted) return node;
    }
}

#ifdef __APPLE__
static int system_number(const char *name)
{
    int number = 0;
    size_t n = sizeof number;
    return sysctlbyname(name, &number, &n, NULL, 0) == 0 && number > 0 ? number : 0;
}

/* macOS tells how many there are of each kind, the fastest first, and lets nobody choose among them. */
static void read_here(struct topology *topology)
{
    memset(topology, 0, sizeof *topology);
    int n_fast = system_number("hw.perflevel0.physicalcpu"), n = system_number("hw.physicalcpu");
    if (n < 1) n = 1;
    if (n > TOPOLOGY_PROCESSORS_MAX) n = TOPOLOGY_PROCESSORS_MAX;
    for (int i = 0; i < n; i++)
        topology->processors[i] = (struct topology_processor){.id = i, .core = i, .slow = n_fast > 0 && i >= n_fast};
    topology->n_processors = n;
    topology->n_nodes = 1;
    count_cores(topology);
}
#else
static void read_here(struct topology *topology)
{
    topology_read(topology, "/proc", "/sys");
}
#endif

static struct topology here;

static void find_here(void)
{
    read_here(&here);
}

const struct topology *topology_here(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_here);
    return &here;
}
