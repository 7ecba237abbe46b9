/* topology.h - the processors this process may use: which share a core, which are slow, which memory is near them. */
#ifndef STILE_BASE_TOPOLOGY_H
#define STILE_BASE_TOPOLOGY_H

#include <stdbool.h>

enum {
    TOPOLOGY_PROCESSORS_MAX = 1024, /* of more, the first count */
    TOPOLOGY_ID_MAX = 8192,         /* numbers are below */
};

struct topology_processor {
    int id;    /* the system's number */
    int core;  /* lowest id of those on the same core */
    int node;  /* memory node, the system's number */
    bool slow; /* of a weaker kind than the strongest here (efficiency cores) */
};

struct topology {
    struct topology_processor processors[TOPOLOGY_PROCESSORS_MAX]; /* by rising id */
    int n_processors;                                              /* at least 1 */
    int n_cores;                                                   /* SMT siblings counted once */
    int n_fast_cores;                                              /* those that are not slow; at least 1 */
    int n_nodes;                                                   /* memory nodes with processors of ours */
    double quota; /* processors' worth of time that the control groups allow; 0: no limit */
};

/* The topology of this process, as it was at the first call. Thread-safe. */
const struct topology *topology_here(void);

/* As told by the folders `proc` (normally "/proc": thread-self/status, thread-self/cgroup) and `sys` ("/sys": cpu_core,
 * cpu_atom, system/cpu and system/node under devices, and fs/cgroup). What is missing or makes no sense there is
 * assumed to be of the simplest kind: processors of one kind, one per core, on one node. */
void topology_read(struct topology *topology, const char *proc, const char *sys);

/* Processors' worth of time that the thread's control groups, version 1 or 2, leave it; 0: no limit. */
double topology_quota(const char *proc, const char *sys);

/* Where thread i of n belongs when each is to have a core of its own: threads are dealt to the nodes in order, to each as
 * many as its share of the cores; slow cores count only when there are more threads than fast ones. The node's number.
 */
int topology_node_of(const struct topology *topology, int i, int n);

#endif
