/* kernel_check.h - what the pieces of kernel_check share: counters, random numbers, comparison of bits.
 *
 * kernel_check compares every slot of every kernel table that this processor can run with the scalar table, bit for
 * bit, and times them (--bench).
 */
#ifndef STILE_TESTS_KERNEL_CHECK_H
#define STILE_TESTS_KERNEL_CHECK_H

#include "kernel/kernel.h"

/* Fewer cases, for runs under emulation. */
extern bool check_quick;

/* Counts a comparison; a failed one is printed (the first few of a run). */
void check_result(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
size_t check_failures(void);
size_t check_passes(void);

/* xorshift64*: the same numbers in every run. */
uint64_t check_random(void);
size_t check_below(size_t n); /* [0, n) */
float check_uniform(float low, float high);
float check_normal(void); /* about normal: mean 0, variance 1, |x| <= 3 */

/* Equal bits, or both NaN. */
bool check_same(const float *a, const float *b, size_t n);

/* Memory that ends at a page no one may touch, so that reading past the end is seen. Never returns NULL. */
void *check_guarded(size_t size_bytes);
void check_guarded_free(void *p, size_t size_bytes);

/* kv_store and attention (kernel_check_attention.c). */
void check_attentions(const struct kernel_table *truth, const struct kernel_table *table);

/* The small vector operations (kernel_check_ops.c). Returns the number of failures; reports through
 * check_result. */
int kernel_check_ops(const struct kernel_table *truth, const struct kernel_table *table);

/* quantize and matmul (kernel_check_matmul.c). */
void check_quantize(const struct kernel_table *truth, const struct kernel_table *table);
void check_matmul(const struct kernel_table *truth, const struct kernel_table *table);
/* The truth itself, against a product in double precision of what format_decode gives. */
void check_truth(const struct kernel_table *truth);

/* Adversarial and random contents (kernel_check_data.c); kinds count from 0. */
enum { CHECK_WEIGHT_KINDS = 9, CHECK_ACT_KINDS = 9, CHECK_SANE_WEIGHTS = 5, CHECK_SANE_ACTS = 6 };
const char *check_weight_name(int kind);
const char *check_act_name(int kind);
void check_fill_weights(enum format format, int kind, uint8_t *blocks, size_t n_blocks);
void check_fill_acts(int kind, float *x, size_t n);

/* kernel_check_bench.c */
struct check_bench {
    const char *const *formats; /* NULL-terminated; none: all */
    size_t k;
    int n_threads;
    bool json;
};
int check_bench_run(const struct check_bench *options);
/* All but quantize and matmul (kernel_check_bench_ops.c). */
void check_bench_ops(const struct check_bench *options);

#endif
