/* predict_here.c - this machine as plan_predict sees it: what was measured of it, in the terms of the formula. */
#include "plan/efficiency.h"
#include "plan/machine_levels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The shapes that run/probe_kernels.c multiplies. */
enum {
    K = 2048,
    K_NARROW = 512,
    TOKENS = 128,
    TOKENS_FEW = 8,
    TOKENS_SOME = 32,
    MATRIX_BYTES = 4 << 20,
    MATRIX_BYTES_SMALL = 256 << 10
};
enum { HEAD_DIM = 128, HEAD_DIM_NARROW = 64, N_GROUP = 4, N_GROUP_NARROW = 3 };
enum { SMALL_PAGE_BYTES = 4096, READS_IN_FLIGHT = 8 };

struct here {
    const struct stile_probe *probe;
    struct machine_levels levels;
    const struct stile_pace *pace; /* NULL: not known */
    uint32_t n_threads;            /* that kernels were measured with */
    double read_bytes_per_s;       /* by these, with nothing done to it */
    double hand_over_s;            /* between two matrices */
    /* What the threads that will work make of memory, of arithmetic with one token and with many, now: of that. */
    double memory, work_one, work_many;
};

static struct plan_range around(double value, double share)
{
    return (struct plan_range){value, value / (1 + share), value * (1 + share)};
}

/* How sure rates of a group are. */
static double sure(const struct here *here, enum machine_group group)
{
    double state = here->pace ? unmeasured.pace_spread : unmeasured.probe_spread;
    double moved = here->pace ? 0 : 2 * here->levels.pace_spread[group];
    return state > moved ? state : moved;
}

/* As it was when it was probed, by all threads; 0 where it was not measured. */
static double probed(const struct here *here, enum stile_quantity quantity, uint64_t size_bytes, const char *format)
{
    return machine_level(&here->levels, here->probe, quantity, here->n_threads, size_bytes, format);
}

static double read_with(const struct here *here, uint32_t n_threads)
{
    return machine_level(&here->levels, here->probe, STILE_MEMORY_READ, n_threads, SMALL_PAGE_BYTES, NULL);
}

/* With less threads than were measured, arithmetic has less of them: their share, or what one was measured to make; and
 * memory what it was read with by so many, or at most so many times what one thread reads. */
static void share_out(struct here *here, uint32_t n_threads)
{
    here->memory = here->work_one = here->work_many = 1;
    if (here->n_threads == 0 || n_threads >= here->n_threads) return;
    here->work_one = here->work_many = (double)n_threads / here->n_threads;
    double one = machine_level(&here->levels, here->probe, STILE_MATMUL, 1, 0, "Q8_0");
    double all = probed(here, STILE_MATMUL, 0, "Q8_0");
    if (n_threads == 1 && one > 0 && one < all) here->work_one = here->work_many = one / all;
    double some = read_with(here, n_threads), most = read_with(here, here->n_threads);
    if (!(some > 0)) some = n_threads * read_with(here, 1);
    if (some > 0 && some < most) here->memory = some / most;
}

/* A moment says something of the minute that follows, not all. */
static double faster(double now, double then, double weight)
{
    return now > 0 && then > 0 ? pow(now / then, weight) : 1;
}

/* The pace is of so many threads as measured it: rates of others change alike. */
static void keep_pace(struct here *here)
{
    const struct stile_pace *pace = here->pace;
    if (!pace || pace->n_threads == 0) return;
    bool all = pace->n_threads == here->n_threads;
    double read = all ? here->read_bytes_per_s : read_with(here, pace->n_threads);
    double many = machine_level(&here->levels, here->probe, STILE_MATMUL, pace->n_threads, 0, "Q8_0");
    double one = all ? probed(here, STILE_MATVEC_CACHED, 0, "Q4_K") : 0;
    bool slow = pace->read_bytes_per_s < read;
    here->memory *=
        faster(pace->read_bytes_per_s, read, slow ? unmeasured.slow_read_weight : unmeasured.fast_read_weight);
    here->work_many *= faster(pace->matmul_macs_per_s, many, unmeasured.work_weight);
    here->work_one *= one > 0 ? faster(pace->matvec_bytes_per_s, one, unmeasured.work_weight)
                              : faster(pace->matmul_macs_per_s, many, unmeasured.work_weight);
}

/* The format that stands for others with the same kind of activations where only some were measured: floats, blocks of
 * 32, blocks of 256. */
static const char *kind_of(const struct format_info *info)
{
    return info->block_elements == 1 ? "BF16" : info->block_elements == 256 ? "Q4_K" : "Q8_0";
}

/* ---- products of one token ------------------------------------------------------------------ */

/* Small matrices cost more than their bytes. */
static void find_hand_over(struct here *here)
{
    double small = probed(here, STILE_MATVEC, MATRIX_BYTES_SMALL, "Q8_0");
    double large = probed(here, STILE_MATVEC, MATRIX_BYTES, "Q8_0");
    if (!(small > 0 && large > small)) return;
    here->hand_over_s = (1 / small - 1 / large) / (1.0 / MATRIX_BYTES_SMALL - 1.0 / MATRIX_BYTES);
}

/* Of what can be read, the share that products with such weights use. From what was measured with weights in memory and
 * in caches follows what memory alone would allow; and from that, what is left of it where both are faster or slower. */
static double read_share(const struct here *here, const char *format)
{
    double measured = probed(here, STILE_MATVEC, MATRIX_BYTES, format), n = unmeasured.overlap;
    double arithmetic = probed(here, STILE_MATVEC_CACHED, 0, format), read = here->read_bytes_per_s;
    if (!(measured > 0 && read > 0)) return 0;
    measured = 1 / (1 / measured - here->hand_over_s / MATRIX_BYTES);
    if (!(arithmetic > 0)) return measured / read;
    double rest = pow(measured, -n) - pow(arithmetic, -n), memory = rest > 0 ? pow(rest, -1 / n) : INFINITY;
    if (memory > unmeasured.memory_share * read) { /* it does not bind */
        memory = unmeasured.memory_share * read;
        arithmetic = measured < memory ? pow(pow(measured, -n) - pow(memory, -n), -1 / n) : INFINITY;
    }
    double now = pow(pow(memory * here->memory, -n) + pow(arithmetic * here->work_one, -n), -1 / n);
    return now / (read * here->memory);
}

/* ---- products of many ----------------------------------------------------------------------- */

/* Of reading, what takes longer for coming from memory while the multiplications of some tokens go on. */
static double exposed_share(const struct here *here, const char *kind)
{
    double cached = probed(here, STILE_MATMUL_SOME, 0, kind);
    double from_memory = probed(here, STILE_MATMUL_SOME, MATRIX_BYTES, kind);
    enum format format;
    const struct format_info *info = format_by_name(kind, &format);
    if (!(from_memory > 0 && cached > from_memory && here->read_bytes_per_s > 0)) return 0;
    double read_s = (double)info->block_bytes / info->block_elements / here->read_bytes_per_s;
    double share = TOKENS_SOME * (1 / from_memory - 1 / cached) / read_s;
    return share < 1 ? share : 1;
}

/* A product takes, for each multiplication, 1 / macs_per_s + weight_s / tokens + output_s / columns; three shapes were
 * measured. */
static void set_products(struct plan_processor *processor, const struct here *here, enum format format)
{
    const struct format_info *info = format_info(format);
    const char *kind = kind_of(info);
    double measured = probed(here, STILE_MATMUL, 0, info->name), usual_kind = probed(here, STILE_MATMUL, 0, kind);
    double usual = measured > 0 ? measured : usual_kind;
    double spread = sure(here, GROUP_PRODUCTS) + (measured > 0 ? 0 : unmeasured.kind_spread);
    double narrow = probed(here, STILE_MATMUL_NARROW, 0, kind), few = probed(here, STILE_MATMUL_FEW, 0, kind);
    if (!(usual > 0)) return;
    processor->exposed_share[format] = exposed_share(here, kind);
    double time_s = 1 / usual;
    if (narrow > 0 && few > 0) {
        double output_s = (1 / narrow - 1 / usual_kind) / (1.0 / K_NARROW - 1.0 / K);
        double weight_s = (1 / few - 1 / usual_kind) / (1.0 / TOKENS_FEW - 1.0 / TOKENS);
        if (output_s < 0) output_s = 0;
        if (weight_s < 0) weight_s = 0;
        double rest_s = time_s - weight_s / TOKENS - output_s / K;
        if (rest_s > time_s / 4) { /* otherwise something was disturbed */
            processor->output_s[format] = output_s / here->work_many;
            processor->weight_s[format] = weight_s / here->work_many;
            time_s = rest_s;
        }
    }
    processor->macs_per_s[format] = around(here->work_many / time_s, spread);
}

/* ---- attention, and the rest ------------------------------------------------------------------ */

/* Seconds for a pair of a query and a position, with heads of two widths: what is left when the time of reading is
 * taken off. What of it grows with the width is multiplications. */
static void split_pair(double wide_s, double narrow_s, struct plan_range *macs_per_s, double *pair_s, double work,
                       double spread)
{
    double mac_s = narrow_s > 0 ? (wide_s - narrow_s) / (2 * (HEAD_DIM - HEAD_DIM_NARROW)) : 0;
    double pair = wide_s - mac_s * 2 * HEAD_DIM;
    if (!(mac_s > 0.3 * wide_s / (2 * HEAD_DIM)) || !(pair > 0)) { /* only one was measured, or one was disturbed */
        mac_s = wide_s / (2 * HEAD_DIM);
        pair = 0;
    }
    *macs_per_s = around(work / mac_s, spread);
    *pair_s = pair / work;
}

static void set_attention(struct plan_processor *processor, const struct here *here, enum format format)
{
    const struct format_info *info = format_info(format);
    double read = here->read_bytes_per_s, spread = sure(here, GROUP_REST);
    double many = probed(here, STILE_ATTENTION, 0, info->name);
    double token = probed(here, STILE_ATTENTION_TOKEN, 0, info->name);
    double many_narrow = probed(here, STILE_ATTENTION_NARROW, 0, info->name);
    double token_narrow = probed(here, STILE_ATTENTION_TOKEN_NARROW, 0, info->name);
    if (!(many > 0 && token > 0 && read > 0)) return;
    double position_s = 2.0 * info->block_bytes / info->block_elements / read; /* of one dimension */
    double wide_s = 2 * HEAD_DIM / token - HEAD_DIM * position_s / N_GROUP;
    double narrow_s = 2 * HEAD_DIM_NARROW / token_narrow - HEAD_DIM_NARROW * position_s / N_GROUP_NARROW;
    split_pair(2 * HEAD_DIM / many, many_narrow > 0 ? 2 * HEAD_DIM_NARROW / many_narrow : 0,
               &processor->attention_macs_per_s[format], &processor->attention_pair_s[format], here->work_many, spread);
    if (wide_s < 2 * HEAD_DIM / many) wide_s = 2 * HEAD_DIM / many;
    split_pair(wide_s, token_narrow > 0 ? narrow_s : 0, &processor->kv_macs_per_s[format],
               &processor->kv_pair_s[format], here->work_one, spread);
    processor->kv_bytes_per_s[format] = around(read * here->memory, spread);
}

static void set_processor(struct plan_processor *processor, const struct here *here)
{
    static const enum format caches[] = {FORMAT_F16, FORMAT_F32, FORMAT_Q8_0};
    for (uint32_t f = 0; f < FORMAT_COUNT; f++) {
        const struct format_info *info = format_info(f);
        if (!info || !info->decode) continue;
        double share = read_share(here, info->name);
        /* that memory is faster or slower is in its own rate already */
        double spread = share > 0 ? 0 : unmeasured.kind_spread;
        if (!(share > 0)) share = read_share(here, kind_of(info));
        if (share > 0) processor->read_share[f] = around(share, spread);
        set_products(processor, here, (enum format)f);
    }
    processor->n_few = TOKENS_FEW;
    for (size_t i = 0; i < sizeof caches / sizeof *caches; i++)
        set_attention(processor, here, caches[i]);
    processor->elements_per_s = around(probed(here, STILE_ELEMENTS, 0, NULL) * here->work_many, sure(here, GROUP_REST));
    if (here->hand_over_s > 0) processor->op_s = around(here->hand_over_s, 0.5);
    processor->pass_s = around(unmeasured.pass_s, 0.5);
    processor->logit_s = unmeasured.logit_s;
}

/* ---- disk --------------------------------------------------------------------------------------- */

/* As weights are streamed, past the page cache or through it, as it is faster; or, where that was not measured, the
 * fastest way of reading files, with several reads in flight. */
static struct plan_range disk_rate(const struct here *here)
{
    const double share = unmeasured.stream_share;
    const struct stile_measurement *best = NULL;
    bool streamed = false;
    if (here->pace && here->pace->disk_bytes_per_s > 0)
        return around(share * here->pace->disk_bytes_per_s, unmeasured.disk_spread);
    for (uint32_t i = 0; i < here->probe->n; i++) {
        const struct stile_measurement *m = &here->probe->measurements[i];
        bool reads = m->quantity == STILE_DISK_BUFFERED || m->quantity == STILE_DISK_STREAMED ||
                     (m->quantity == STILE_DISK_SEQUENTIAL && m->n_threads <= READS_IN_FLIGHT);
        if (!reads || (streamed && m->quantity != STILE_DISK_STREAMED)) continue;
        if (!best || m->median > best->median || (m->quantity == STILE_DISK_STREAMED && !streamed)) best = m;
        streamed = streamed || m->quantity == STILE_DISK_STREAMED;
    }
    return best ? around(share * best->median, 2 * best->spread + unmeasured.disk_spread)
                : (struct plan_range){0, 0, 0};
}

void plan_machine_here(struct plan_machine *plan_machine, const struct machine *machine, int n_threads,
                       const struct stile_pace *pace)
{
    const struct stile_probe *probe = &machine->probe;
    struct here here = {.probe = probe, .pace = pace};
    struct plan_tier *memory = &plan_machine->tiers[0], *disk = &plan_machine->tiers[1];
    memset(plan_machine, 0, sizeof *plan_machine);
    machine_levels_find(&here.levels, probe);
    here.n_threads = here.levels.n_threads;
    here.read_bytes_per_s = probed(&here, STILE_MATVEC, MATRIX_BYTES, NULL);
    if (!(here.read_bytes_per_s > 0)) here.read_bytes_per_s = read_with(&here, here.n_threads);
    share_out(&here, (uint32_t)n_threads);
    keep_pace(&here);
    find_hand_over(&here);
    snprintf(plan_machine->name, sizeof plan_machine->name, "%s", machine->cpu);
    plan_machine->n_tiers = 2;
    snprintf(memory->name, sizeof memory->name, "memory");
    memory->capacity_bytes = machine->memory.available_bytes;
    memory->computes = true;
    memory->read_bytes_per_s = around(here.read_bytes_per_s * here.memory, sure(&here, GROUP_WEIGHTS));
    set_processor(&memory->processor, &here);
    snprintf(disk->name, sizeof disk->name, "disk");
    disk->capacity_bytes = UINT64_MAX;
    plan_machine->load_bytes_per_s = disk->read_bytes_per_s = disk_rate(&here);
    plan_machine->alone_memory = unmeasured.alone_memory;
    plan_machine->alone_arithmetic = unmeasured.alone_arithmetic;
    plan_machine->experts_missed = unmeasured.experts_missed;
    plan_machine->experts_vain = unmeasured.experts_vain;
    plan_machine->experts_late_s = unmeasured.experts_late_s;
    plan_machine->open_s = unmeasured.open_s;
    plan_machine->open_token_s = unmeasured.open_token_s;
    plan_machine->map_byte_s = unmeasured.map_byte_s;
    plan_machine->decode_error = unmeasured.decode_error;
    plan_machine->prefill_error = unmeasured.prefill_error;
    plan_machine->first_error = unmeasured.first_error;
    plan_machine->probed_read_bytes_per_s = here.read_bytes_per_s;
}
