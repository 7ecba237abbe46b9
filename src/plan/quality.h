/* quality.h - what a number format is expected to cost in quality: published measurements of other models.
 *
 * The data is data/quality.csv, which names the source of each row; quality_data.c is written from it by
 * tools/make-tables.py.
 */
#ifndef STILE_PLAN_QUALITY_H
#define STILE_PLAN_QUALITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct quality {
    const char *model, *quant; /* as published: "Llama-3-8B", "q4_K_M", with "+imatrix" where one was used */
    const char *metric;        /* "ppl_wikitext2", "kld_mean", ... */
    double bits_per_weight, value;
    double baseline; /* the same without quantization */
    const char *source;
};

extern const struct quality quality_table[];
extern const size_t n_quality_table;

struct quality_expected {
    double ppl_loss;   /* the share that perplexity rises by: 0.03; negative: not known */
    double divergence; /* mean Kullback-Leibler divergence, nats per token; negative: not known */
    bool imatrix;      /* the published file was made with an importance matrix */
    const char *model; /* that it was measured on, NULL: nothing is known */
    const char *source;
};

/* For a mix ("q4_k_m") and a model of n_parameters. Of the models it was measured on, the latest generation's (they lose
 * more) that is nearest in size. */
void quality_expect(struct quality_expected *expected, const char *mix, uint64_t n_parameters);

#endif
