/* predict_here.c - this machine as plan_predict sees it: what was measured of it, in the terms of the formula. */
#include "plan/predict.h"

#include <stdio.h>
#include <string.h>

/* What is not measured. How it was found: `stile bench --profile kinds` and `--start` of models of 0.1 to 8 GB on a
 * Zen 5 with two cores, what remained after everything measured was subtracted. */
static const struct {
    double pass_s;  /* waking the threads */
    double logit_s; /* hashing a logit */
    double open_s, open_token_s, map_byte_s;
    /* What medians of two days differ by on a shared machine; the larger one of this and twice the spread counts. */
    double spread_least;
    double kind_spread; /* of formats that are not measured, but others like them */
    double decode_error, prefill_error, first_error;
} fixed = {
    .pass_s = 10e-6,
    .logit_s = 1.1e-9,
    .open_s = 5e-3,
    .open_token_s = 240e-9,
    .map_byte_s = 1 / 40e9,
    .spread_least = 0.05,
    .kind_spread = 0.15,
    .decode_error = 0.08,
    .prefill_error = 0.1,
    .first_error = 0.1,
};

/* The shapes that run/probe_kernels.c multiplies. */
enum { K = 2048, K_NARROW = 512, TOKENS = 128, TOKENS_FEW = 8, MATRIX_BYTES = 4 << 20, MATRIX_BYTES_SMALL = 256 << 10 };
enum { HEAD_DIM = 128, HEAD_DIM_NARROW = 64, N_GROUP = 4, N_GROUP_NARROW = 3 };
enum { SMALL_PAGE_BYTES = 4096, READS_IN_FLIGHT = 8 };

static struct plan_range around(double value, double spread)
{
    double share = 2 * spread > fixed.spread_least ? 2 * spread : fixed.spread_least;
    return (struct plan_range){value, value / (1 + share), value * (1 + share)};
}

struct here {
    const struct stile_probe *probe;
    uint32_t n_threads;              /* that were measured */
    double memory_share, work_share; /* what the threads that will work make of reading and of arithmetic, of these */
    /* What is usual of a quantity, as a share of its best, and its spread: over all formats. Measuring one takes some
     * hundredths of a second, so what disturbs hits some formats and not others, and their own medians tell little; and a
     * disturbance of that length weighs more there than in the seconds of a reply: a third as much, found by comparing. */
    double usual[STILE_N_QUANTITIES], spread[STILE_N_QUANTITIES];
};

static void pool(struct here *here)
{
    int n[STILE_N_QUANTITIES] = {0};
    for (uint32_t i = 0; i < here->probe->n; i++) {
        const struct stile_measurement *m = &here->probe->measurements[i];
        if (m->n_threads != here->n_threads || !(m->best > 0)) continue;
        here->usual[m->quantity] += m->median / m->best;
        here->spread[m->quantity] += m->spread;
        n[m->quantity]++;
    }
    for (int q = 0; q < STILE_N_QUANTITIES; q++) {
        here->usual[q] = n[q] > 0 ? (2 + here->usual[q] / n[q]) / 3 : 0;
        here->spread[q] /= n[q] > 0 ? n[q] : 1;
    }
}

/* Kernels are measured with all threads: with less of them, arithmetic has less of these, and memory what it was read
 * with by so many, or at most so many times what one thread reads. */
static void share_out(struct here *here, uint32_t n_threads)
{
    double read[2] = {0};
    for (uint32_t i = 0; i < here->probe->n; i++) {
        const struct stile_measurement *m = &here->probe->measurements[i];
        if (m->quantity == STILE_ELEMENTS) here->n_threads = m->n_threads;
    }
    here->memory_share = here->work_share = 1;
    if (here->n_threads == 0 || n_threads >= here->n_threads) return;
    here->work_share = (double)n_threads / here->n_threads;
    const uint32_t counts[2] = {n_threads, here->n_threads};
    for (int i = 0; i < 2; i++) {
        const struct stile_measurement *m =
            stile_probe_find(here->probe, STILE_MEMORY_READ, counts[i], SMALL_PAGE_BYTES, NULL);
        const struct stile_measurement *one =
            stile_probe_find(here->probe, STILE_MEMORY_READ, 1, SMALL_PAGE_BYTES, NULL);
        read[i] = m ? m->best : one ? n_threads * one->best : 0;
    }
    if (read[0] > 0 && read[0] < read[1]) here->memory_share = read[0] / read[1];
}

/* What is usual; 0 where it was not measured. */
static double rate(const struct here *here, enum stile_quantity quantity, uint64_t size_bytes, const char *format)
{
    const struct stile_measurement *m = stile_probe_find(here->probe, quantity, here->n_threads, size_bytes, format);
    bool memory = quantity == STILE_MEMORY_READ || quantity == STILE_MATVEC;
    return m ? m->best * here->usual[quantity] * (memory ? here->memory_share : here->work_share) : 0;
}

static struct plan_range range_of(const struct here *here, enum stile_quantity quantity, uint64_t size_bytes)
{
    return around(rate(here, quantity, size_bytes, NULL), here->spread[quantity]);
}

/* The format that stands for others with the same kind of activations where only some were measured: floats, blocks of
 * 32, blocks of 256. */
static const char *kind_of(const struct format_info *info)
{
    return info->block_elements == 1 ? "BF16" : info->block_elements == 256 ? "Q4_K" : "Q8_0";
}

/* A product takes, for each multiplication, 1 / macs_per_s + weight_s / tokens + output_s / columns; three shapes were
 * measured. */
static void set_products(struct plan_processor *processor, const struct here *here, enum format format)
{
    const struct format_info *info = format_info(format);
    const char *kind = kind_of(info);
    double measured = rate(here, STILE_MATMUL, 0, info->name), usual_kind = rate(here, STILE_MATMUL, 0, kind);
    double usual = measured > 0 ? measured : usual_kind;
    double spread = measured > 0 ? here->spread[STILE_MATMUL] : fixed.kind_spread;
    double narrow = rate(here, STILE_MATMUL_NARROW, 0, kind), few = rate(here, STILE_MATMUL_FEW, 0, kind);
    if (!(usual > 0)) return;
    double time_s = 1 / usual;
    if (narrow > 0 && few > 0) {
        double output_s = (1 / narrow - 1 / usual_kind) / (1.0 / K_NARROW - 1.0 / K);
        double weight_s = (1 / few - 1 / usual_kind) / (1.0 / TOKENS_FEW - 1.0 / TOKENS);
        if (output_s < 0) output_s = 0;
        if (weight_s < 0) weight_s = 0;
        double rest_s = time_s - weight_s / TOKENS - output_s / K;
        if (rest_s > time_s / 4) { /* otherwise something was disturbed */
            processor->output_s[format] = output_s;
            processor->weight_s[format] = weight_s;
            time_s = rest_s;
        }
    }
    processor->macs_per_s[format] = around(1 / time_s, spread);
}

/* Seconds for a pair of a query and a position, with heads of two widths: what is left when the time of reading is
 * taken off. What of it grows with the width is multiplications. */
static void split_pair(double wide_s, double narrow_s, struct plan_range *macs_per_s, double *pair_s, double spread)
{
    double mac_s = narrow_s > 0 ? (wide_s - narrow_s) / (2 * (HEAD_DIM - HEAD_DIM_NARROW)) : 0;
    double pair = wide_s - mac_s * 2 * HEAD_DIM;
    if (!(mac_s > 0.3 * wide_s / (2 * HEAD_DIM)) || !(pair > 0)) { /* only one was measured, or one was disturbed */
        mac_s = wide_s / (2 * HEAD_DIM);
        pair = 0;
    }
    *macs_per_s = around(1 / mac_s, spread);
    *pair_s = pair;
}

static void set_attention(struct plan_processor *processor, const struct here *here, enum format format,
                          double read_bytes_per_s)
{
    const struct format_info *info = format_info(format);
    double many = rate(here, STILE_ATTENTION, 0, info->name), token = rate(here, STILE_ATTENTION_TOKEN, 0, info->name);
    double many_narrow = rate(here, STILE_ATTENTION_NARROW, 0, info->name);
    double token_narrow = rate(here, STILE_ATTENTION_TOKEN_NARROW, 0, info->name);
    if (!(many > 0 && token > 0 && read_bytes_per_s > 0)) return;
    double position_s = 2.0 * info->block_bytes / info->block_elements / read_bytes_per_s; /* of one dimension */
    double wide_s = 2 * HEAD_DIM / token - HEAD_DIM * position_s / N_GROUP;
    double narrow_s = 2 * HEAD_DIM_NARROW / token_narrow - HEAD_DIM_NARROW * position_s / N_GROUP_NARROW;
    split_pair(2 * HEAD_DIM / many, many_narrow > 0 ? 2 * HEAD_DIM_NARROW / many_narrow : 0,
               &processor->attention_macs_per_s[format], &processor->attention_pair_s[format],
               here->spread[STILE_ATTENTION]);
    if (wide_s < 2 * HEAD_DIM / many) wide_s = 2 * HEAD_DIM / many;
    split_pair(wide_s, token_narrow > 0 ? narrow_s : 0, &processor->kv_macs_per_s[format],
               &processor->kv_pair_s[format], here->spread[STILE_ATTENTION_TOKEN]);
    processor->kv_bytes_per_s[format] = around(read_bytes_per_s, here->spread[STILE_ATTENTION_TOKEN]);
}

static void set_processor(struct plan_processor *processor, const struct here *here, double read_bytes_per_s)
{
    static const enum format caches[] = {FORMAT_F16, FORMAT_F32, FORMAT_Q8_0};
    for (uint32_t f = 0; f < FORMAT_COUNT; f++) {
        const struct format_info *info = format_info(f);
        if (!info || !info->decode) continue;
        double vector = rate(here, STILE_MATVEC, MATRIX_BYTES, info->name);
        /* disturbances are in the rate of memory already */
        double spread = vector > 0 ? 0 : fixed.kind_spread;
        if (!(vector > 0)) vector = rate(here, STILE_MATVEC, MATRIX_BYTES, kind_of(info));
        if (vector > 0 && read_bytes_per_s > 0) processor->read_share[f] = around(vector / read_bytes_per_s, spread);
        set_products(processor, here, (enum format)f);
    }
    for (size_t i = 0; i < sizeof caches / sizeof *caches; i++)
        set_attention(processor, here, caches[i], read_bytes_per_s);
    processor->elements_per_s = range_of(here, STILE_ELEMENTS, 0);
    /* small matrices cost more than their bytes */
    double small = rate(here, STILE_MATVEC, MATRIX_BYTES_SMALL, "Q8_0"),
           large = rate(here, STILE_MATVEC, MATRIX_BYTES, "Q8_0");
    double op_s = small > 0 && large > 0 ? MATRIX_BYTES_SMALL * (1 / small - 1 / large) : 0;
    if (op_s > 0) processor->op_s = around(op_s, here->spread[STILE_MATVEC]);
    processor->pass_s = around(fixed.pass_s, 0);
    processor->logit_s = fixed.logit_s;
}

/* The fastest way of reading files that was measured, with several reads in flight. */
static struct plan_range disk_rate(const struct stile_probe *probe)
{
    const struct stile_measurement *best = NULL;
    for (uint32_t i = 0; i < probe->n; i++) {
        const struct stile_measurement *m = &probe->measurements[i];
        bool reads = m->quantity == STILE_DISK_BUFFERED ||
                     (m->quantity == STILE_DISK_SEQUENTIAL && m->n_threads <= READS_IN_FLIGHT);
        if (reads && (!best || m->median > best->median)) best = m;
    }
    return best ? around(best->median, best->spread) : (struct plan_range){0, 0, 0};
}

void plan_machine_here(struct plan_machine *plan_machine, const struct machine *machine, int n_threads)
{
    const struct stile_probe *probe = &machine->probe;
    struct here here = {.probe = probe};
    struct plan_tier *memory = &plan_machine->tiers[0], *disk = &plan_machine->tiers[1];
    memset(plan_machine, 0, sizeof *plan_machine);
    share_out(&here, (uint32_t)n_threads);
    pool(&here);
    snprintf(plan_machine->name, sizeof plan_machine->name, "%s", machine->cpu);
    plan_machine->n_tiers = 2;
    snprintf(memory->name, sizeof memory->name, "memory");
    memory->capacity_bytes = machine->memory.available_bytes;
    memory->computes = true;
    memory->read_bytes_per_s = range_of(&here, STILE_MEMORY_READ, SMALL_PAGE_BYTES);
    set_processor(&memory->processor, &here, memory->read_bytes_per_s.value);
    snprintf(disk->name, sizeof disk->name, "disk");
    disk->capacity_bytes = UINT64_MAX;
    disk->read_bytes_per_s = disk_rate(probe);
    plan_machine->load_bytes_per_s = disk->read_bytes_per_s;
    plan_machine->bringing_takes_cores = true; /* the system copies what is read; all cores are busy in a prefill */
    plan_machine->open_s = fixed.open_s;
    plan_machine->open_token_s = fixed.open_token_s;
    plan_machine->map_byte_s = fixed.map_byte_s;
    plan_machine->decode_error = fixed.decode_error;
    plan_machine->prefill_error = fixed.prefill_error;
    plan_machine->first_error = fixed.first_error;
}
