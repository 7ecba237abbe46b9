/* kernel.c - which table this processor can run, and the sizes that callers need. */
#include "kernel/kernel.h"

#include "kernel/act.h"
#include "kernel/cache.h"
#include "kernel/tables.h"
#include "kernel/unpack.h"

#include <pthread.h>
#include <string.h>

#if defined __x86_64__
#include <cpuid.h>
#elif defined KERNEL_HAS_DOTPROD && defined __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static bool always(void)
{
    return true;
}

#ifdef __x86_64__
/* Both ask the processor and whether the operating system keeps the wide registers. */
static bool runs_avx2(void)
{
    unsigned a, b, c, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool runs_avx512(void)
{
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif

#ifdef KERNEL_HAS_DOTPROD
static bool runs_dotprod(void)
{
#ifdef __linux__
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
    return true; /* the whole program was compiled for it */
#endif
}
#endif

#ifdef KERNEL_HAS_I8MM
static bool runs_i8mm(void)
{
#ifdef __linux__
    return runs_dotprod() && getauxval(AT_HWCAP2) & HWCAP2_I8MM;
#else
    return true;
#endif
}
#endif

/* Best first. */
static const struct {
    const struct kernel_table *table;
    bool (*runs)(void);
} tables[] = {
#ifdef __x86_64__
    {&kernel_table_avx512, runs_avx512},   {&kernel_table_avx2, runs_avx2},
#endif
#ifdef KERNEL_HAS_I8MM
    {&kernel_table_i8mm, runs_i8mm},
#endif
#ifdef KERNEL_HAS_DOTPROD
    {&kernel_table_dotprod, runs_dotprod},
#endif
#ifdef __aarch64__
    {&kernel_table_neon, always},
#endif
    {&kernel_table_scalar, always},
};

enum { N_TABLES = sizeof tables / sizeof tables[0] };

const struct kernel_table *kernel_select(const char *isa)
{
    for (int i = 0; i < N_TABLES; i++) {
        if (isa && strcmp(isa, tables[i].table->isa) != 0) continue;
        if (tables[i].runs()) return tables[i].table;
    }
    return NULL;
}

static const char *names[N_TABLES + 1];

static void names_fill(void)
{
    for (int i = 0, n = 0; i < N_TABLES; i++) {
        if (tables[i].runs()) names[n++] = tables[i].table->isa;
    }
}

const char *const *kernel_names(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, names_fill);
    return names;
}

enum kernel_act kernel_act_of(enum format format)
{
    switch (unpack_table[format].class) {
    case UNPACK_B32:
    case UNPACK_NVFP4: return ACT_Q8_32;
    case UNPACK_S256: return ACT_Q8_256;
    case UNPACK_FLOAT:
    case UNPACK_NONE: break;
    }
    return ACT_F32;
}

size_t kernel_act_bytes(enum kernel_act act, size_t k)
{
    if (act == ACT_F32)
        return act_align((k + KERNEL_FLOAT_LANES - 1) / KERNEL_FLOAT_LANES * KERNEL_FLOAT_LANES * sizeof(float));
    if (act == ACT_Q8_32) return act_offset_residuals(k) + act_align(ACT_RESIDUALS * sizeof(struct act_residual));
    return act_offset_sums(act, k) + act_align(k / 16 * sizeof(int16_t));
}

size_t kernel_scratch_bytes(size_t k)
{
    return MATMUL_TILE_BYTES + act_align(k / 32 * MATMUL_BYTES_PER_32);
}

size_t kernel_kv_bytes(enum format format, size_t head_dim, size_t capacity)
{
    size_t width = cache_width(format, head_dim);
    return capacity * (width * cache_element_bytes(format) + (format == FORMAT_Q8_0 ? width / 32 * 2 : 0));
}

size_t kernel_part_floats(enum format format, size_t head_dim)
{
    return PART_VALUES + cache_width(format, head_dim);
}

/* Queries, weights, states and parts (attention_begin). */
size_t kernel_attention_scratch_bytes(size_t head_dim)
{
    size_t width = cache_width(FORMAT_Q8_0, head_dim);
    return KERNEL_ATTENTION_QUERIES * (width + KERNEL_KV_TILE + 2 * (PART_VALUES + width)) * sizeof(float) +
           CACHE_BLOCK_MAX * KERNEL_KV_TILE * sizeof(float);
}
