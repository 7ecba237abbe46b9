/* profile.c - the operations of a profiled run, added up by kind or by layer.
 *
 * Times are sums over the threads divided by their number: what a thread spent on average. What the entries do not
 * explain of the run's time (handing out work, hashing logits) is the entry "other".
 */
#include "lab/limit.h"
#include "lab/record.h"

#include <stdlib.h>
#include <string.h>

struct group {
    const char *kind; /* NULL: by layer */
    int32_t layer;
    double busy_ns, wait_ns;
    double bytes, macs;
    double predicted_ns; /* at the limits: reading its bytes, or with the kernels alone, whichever takes longer */
};

static bool belongs(const struct group *group, const struct stile_profile_entry *entry, bool by_layer)
{
    return by_layer ? group->layer == entry->layer : strcmp(group->kind, entry->kind) == 0;
}

/* 0 where no limit is known. */
static double predicted_ns(const struct bench_plan *plan, const struct bench_result *result, double limit,
                           const struct stile_profile_entry *entry)
{
    double macs = 0, matmul_s = 0;
    double read_s = limit > 0 ? (double)(entry->cost.weight_bytes + entry->cost.kv_bytes) / limit : 0;
    limit_arithmetic(&plan->host->probe, result->threads, host_isa(plan->host, plan->isa), entry, 1, &macs, &matmul_s);
    return 1e9 * (matmul_s > read_s ? matmul_s : read_s);
}

static size_t gather(const struct bench_plan *plan, const struct bench_result *result, bool by_layer,
                     struct group *groups)
{
    double limit = record_limit(plan, result);
    size_t n = 0;
    for (size_t i = 0; i < result->n_profile; i++) {
        const struct stile_profile_entry *entry = &result->profile[i];
        size_t g = 0;
        while (g < n && !belongs(&groups[g], entry, by_layer))
            g++;
        if (g == n) groups[n++] = (struct group){.kind = by_layer ? NULL : entry->kind, .layer = entry->layer};
        groups[g].busy_ns += (double)entry->busy_ns / result->threads;
        groups[g].wait_ns += (double)entry->wait_ns / result->threads;
        groups[g].bytes += (double)(entry->cost.weight_bytes + entry->cost.kv_bytes);
        groups[g].macs += (double)entry->cost.macs;
        groups[g].predicted_ns += predicted_ns(plan, result, limit, entry);
    }
    return n;
}

static int compare_groups(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (!x->kind) return (x->layer > y->layer) - (x->layer < y->layer);
    double left = x->busy_ns + x->wait_ns, right = y->busy_ns + y->wait_ns;
    return (left < right) - (left > right);
}

static json_t *group_json(const struct group *group, double total_ns)
{
    json_t *object = json_object();
    double time_ns = group->busy_ns + group->wait_ns;
    if (group->kind)
        json_object_set_new(object, "kind", json_string(group->kind));
    else
        json_object_set_new(object, "layer", json_integer(group->layer));
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"time_ns", time_ns},
        {"share", total_ns > 0 ? time_ns / total_ns : 0},
        {"waiting_share", time_ns > 0 ? group->wait_ns / time_ns : 0},
        {"bytes", group->bytes},
        {"macs", group->macs},
        {"rate_bytes_per_s", time_ns > 0 ? group->bytes / time_ns * 1e9 : 0},
        {"macs_per_s", time_ns > 0 ? group->macs / time_ns * 1e9 : 0},
        {"predicted_ns", group->predicted_ns},
        {"share_of_limit", time_ns > 0 ? group->predicted_ns / time_ns : 0},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_object_set_new(object, numbers[i].name, json_real(numbers[i].value));
    return object;
}

json_t *record_profile(const struct bench_plan *plan, const struct bench_result *result, bool by_layer)
{
    struct group *groups = calloc(result->n_profile + 1, sizeof *groups);
    if (!groups) return NULL;
    json_t *array = json_array();
    double total_ns = (double)result->profile_ns, explained_ns = 0;
    size_t n = gather(plan, result, by_layer, groups);
    for (size_t i = 0; i < n; i++)
        explained_ns += groups[i].busy_ns + groups[i].wait_ns;
    if (!by_layer) {
        double other_ns = total_ns > explained_ns ? total_ns - explained_ns : 0;
        groups[n++] = (struct group){.kind = "other", .busy_ns = other_ns};
    }
    qsort(groups, n, sizeof *groups, compare_groups);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(array, group_json(&groups[i], total_ns));
    free(groups);
    return array;
}
