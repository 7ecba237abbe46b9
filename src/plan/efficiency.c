#include "plan/efficiency.h"

#include <string.h>

/* clang-format off */
static const struct efficiency table[] = {
    /* discrete and unified NVIDIA */
    {.family = "nvidia",
     .read_share = {[CLASS_FLOAT] = {0.85, 0.72, 0.92}, [CLASS_BITS] = {0.78, 0.68, 0.92},
                    [CLASS_FEW] = {0.75, 0.55, 0.85}, [CLASS_FP4] = {0.53, 0.33, 0.80}},
     .macs_share = {[CLASS_FLOAT] = {0.75, 0.55, 0.90}, [CLASS_BITS] = {0.65, 0.45, 0.95},
                    [CLASS_FEW] = {0.55, 0.30, 0.90}, [CLASS_FP4] = {0.65, 0.40, 2.00}},
     .op_s = {4e-6, 3e-6, 7e-6}, .mixture_op_s = {8e-6, 3.5e-6, 16e-6},
     .decode_error = 0.05, .prefill_error = 0.15, .power_share = {0.75, 0.45, 1.0},
     .usable_share = 0.97, .kept_bytes = 0.6e9,
     .source = "data/published.csv, tools/fit-efficiency.py: 21 rows of 5090, 4090, 3060 and GB10 (llama.cpp, TensorRT-LLM, "
               "vLLM); NVFP4 from 93 to 217 tokens/s with three engines on one card; prefill from one row"},
    /* nothing published in the data but one row of Strix Halo: NVIDIA's, and wide */
    {.family = "other",
     .read_share = {[CLASS_FLOAT] = {0.80, 0.60, 0.92}, [CLASS_BITS] = {0.75, 0.55, 0.90},
                    [CLASS_FEW] = {0.65, 0.40, 0.85}, [CLASS_FP4] = {0.45, 0.25, 0.75}},
     .macs_share = {[CLASS_FLOAT] = {0.45, 0.25, 0.70}, [CLASS_BITS] = {0.45, 0.20, 0.70},
                    [CLASS_FEW] = {0.40, 0.15, 0.65}, [CLASS_FP4] = {0.40, 0.15, 0.70}},
     .op_s = {4.5e-6, 3e-6, 9e-6}, .mixture_op_s = {9e-6, 4e-6, 20e-6},
     .decode_error = 0.08, .prefill_error = 0.2, .power_share = {0.80, 0.45, 1.1},
     .usable_share = 0.97, .kept_bytes = 0.8e9,
     .source = "not calibrated but for one row (Strix Halo, data/published.csv): NVIDIA's, lowered and widened"},
    {.family = "apple",
     .read_share = {[CLASS_FLOAT] = {0.90, 0.70, 0.95}, [CLASS_BITS] = {0.77, 0.66, 0.90},
                    [CLASS_FEW] = {0.50, 0.38, 0.70}, [CLASS_FP4] = {0.60, 0.40, 0.85}},
     .macs_share = {[CLASS_FLOAT] = {0.68, 0.55, 0.80}, [CLASS_BITS] = {0.76, 0.55, 0.86},
                    [CLASS_FEW] = {0.55, 0.35, 0.75}, [CLASS_FP4] = {0.55, 0.35, 0.80}},
     .op_s = {14e-6, 8e-6, 18e-6}, .mixture_op_s = {26e-6, 15e-6, 38e-6},
     .decode_error = 0.06, .prefill_error = 0.1, .power_share = {0.75, 0.45, 1.0},
     .usable_share = 0.75, .kept_bytes = 0,
     .source = "data/published.csv, tools/fit-efficiency.py: 17 rows of M1 Max to M4 Pro (llama.cpp, MLX); prefill: M3 "
               "Ultra 70B there, and llama.cpp PR 3084 (M2 Ultra, 0.57 to 0.61); usable memory: macOS, iogpu.wired_limit_mb"},
    /* stile itself */
    {.family = "cpu",
     .read_share = {[CLASS_FLOAT] = {0.74, 0.60, 0.84}, [CLASS_BITS] = {0.72, 0.57, 0.82},
                    [CLASS_FEW] = {0.62, 0.40, 0.78}, [CLASS_FP4] = {0.66, 0.45, 0.78}},
     .op_s = {6e-6, 3e-6, 15e-6}, .mixture_op_s = {8e-6, 4e-6, 20e-6},
     .decode_error = 0.05, .prefill_error = 0.15, .power_share = {0.75, 0.45, 1.0},
     .usable_share = 0.94, .kept_bytes = 1e9,
     .source = "80% of the theoretical bandwidth can be read (75 to 85%), of which stile's kernels use about 0.9; one "
               "published row: Raspberry Pi 5, llama.cpp, 0.60"},
};

static const struct cycle_efficiency cycles[] = {
    {"avx512", {85, 60, 100}, {28, 20, 32},
     "stile probe, Zen 5 server, 2026-11-23: 290 and 98 GMAC/s a core at 3.1 to 3.9 GHz (by the latency of its L1)"},
    {"avx2", {25, 18, 40}, {10, 7, 14}, "Zen 3 at 3.2 GHz, 2026-11-22: 75 to 88 GMAC/s a core in Q4_K; floats by peak"},
};
/* clang-format on */

const struct unmeasured unmeasured = {
    .pass_s = 10e-6,
    .logit_s = 1.1e-9,
    .open_s = 5e-3,
    .open_token_s = 240e-9,
    .map_byte_s = 1 / 40e9,
    .overlap = 4,
    .memory_share = 1.1,
    .stream_share = 0.95,
    .alone_memory = 0.1,
    .alone_arithmetic = 0.35,
    .experts_missed = 0.08,
    .experts_vain = 0.06,
    .experts_late_s = 0.7e-3,
    .slow_read_weight = 0.9,
    .fast_read_weight = 0.25,
    .work_weight = 0.5,
    .kind_spread = 0.15,
    .probe_spread = 0.12,
    .pace_spread = 0.08,
    .disk_spread = 0.12,
    .decode_error = 0.07,
    .prefill_error = 0.08,
    .first_error = 0.1,
    .source =
        "bench --profile kinds, --start of models of 0.1 to 8 GB, Zen 5 with two cores of a shared machine, "
        "2026-11-23: what remained after everything measured was subtracted; overlap: products of Q8_0, Q4_K, Q2_K "
        "and BF16 from memory at 43 and 57 GB/s and from caches; streaming: Q8_0 of 1.3 and 8.5 GB under limits from "
        "0.6 to 7.4 GB; experts: a Qwen3-30B-A3B under 8 GB; spreads, errors and weights: bench/plan_check.py",
};

enum format_class format_class_of(enum format format)
{
    switch (format) {
    case FORMAT_F32:
    case FORMAT_F16:
    case FORMAT_BF16: return CLASS_FLOAT;
    case FORMAT_NVFP4: return CLASS_FP4;
    case FORMAT_Q2_K:
    case FORMAT_Q3_K:
    case FORMAT_IQ2_XXS:
    case FORMAT_IQ2_XS:
    case FORMAT_IQ2_S:
    case FORMAT_IQ3_XXS:
    case FORMAT_IQ3_S:
    case FORMAT_IQ1_S:
    case FORMAT_IQ1_M:
    case FORMAT_TQ1_0:
    case FORMAT_TQ2_0:
    case FORMAT_Q1_0:
    case FORMAT_Q2_0: return CLASS_FEW;
    default: return CLASS_BITS;
    }
}

const struct efficiency *efficiency_of(const char *kind, const char *vendor)
{
    enum { N = sizeof table / sizeof *table };
    bool cpu = strcmp(kind, "cpu") == 0 || strcmp(vendor, "qualcomm") == 0; /* nothing is known of its GPU */
    bool known = strcmp(vendor, "nvidia") == 0 || strcmp(vendor, "apple") == 0;
    const char *family = cpu ? "cpu" : known ? vendor : "other";
    size_t i = 0;
    while (i + 1 < N && strcmp(table[i].family, family) != 0)
        i++;
    return &table[i];
}

const struct cycle_efficiency *cycle_efficiency_of(const char *isa)
{
    for (size_t i = 0; isa && i < sizeof cycles / sizeof *cycles; i++)
        if (strcmp(cycles[i].isa, isa) == 0) return &cycles[i];
    return NULL;
}
