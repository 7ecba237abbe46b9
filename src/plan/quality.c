#include "plan/quality.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Parameters, in billions, by the name: "Llama-2-70B" says 70. */
static double size_of(const char *model)
{
    for (const char *b = strchr(model, 'B'); b; b = strchr(b + 1, 'B')) {
        const char *digit = b;
        while (digit > model && digit[-1] >= '0' && digit[-1] <= '9')
            digit--;
        if (digit < b) return strtod(digit, NULL);
    }
    return 0;
}

/* How well a measurement tells about a model: less is better. */
static double distance(const struct quality *row, uint64_t n_parameters, bool imatrix)
{
    double size = size_of(row->model);
    double away = size > 0 && n_parameters > 0 ? fabs(log(size * 1e9 / (double)n_parameters)) : 10;
    if (strncmp(row->model, "Llama-2", 7) == 0) away += 20; /* trained on an eighth of the tokens: loses less */
    return away + (imatrix ? 40 : 0);
}

/* The row of a metric that tells most, or NULL. */
static const struct quality *nearest(const char *mix, const char *const *metrics, uint64_t n_parameters)
{
    const struct quality *best = NULL;
    double best_distance = 0;
    size_t n = strlen(mix);
    for (size_t i = 0; i < n_quality_table; i++) {
        const struct quality *row = &quality_table[i];
        bool wanted = false;
        for (size_t m = 0; metrics[m]; m++)
            wanted = wanted || strcmp(row->metric, metrics[m]) == 0;
        if (!wanted || strncasecmp(row->quant, mix, n) != 0) continue;
        bool imatrix = strcmp(row->quant + n, "+imatrix") == 0;
        if (row->quant[n] && !imatrix && strcmp(row->quant + n, "-W4A4") != 0) continue;
        double away = distance(row, n_parameters, imatrix);
        if (best && away >= best_distance) continue;
        best = row;
        best_distance = away;
    }
    return best;
}

void quality_expect(struct quality_expected *expected, const char *mix, uint64_t n_parameters)
{
    static const char *const perplexity[] = {"ppl_wikitext2", "ppl_wikitext2_slice", NULL};
    static const char *const divergence[] = {"kld_mean", NULL};
    *expected = (struct quality_expected){.ppl_loss = -1, .divergence = -1};
    bool whole = strcasecmp(mix, "f32") == 0 || strcasecmp(mix, "f16") == 0 || strcasecmp(mix, "bf16") == 0;
    if (whole) {
        *expected = (struct quality_expected){.model = "", .source = "as published models come"};
        return;
    }
    const struct quality *row = nearest(mix, perplexity, n_parameters);
    if (row) {
        expected->ppl_loss = fmax(0, row->value / row->baseline - 1);
        expected->imatrix = strstr(row->quant, "+imatrix") != NULL;
        expected->model = row->model;
        expected->source = row->source;
    }
    row = nearest(mix, divergence, n_parameters);
    /* of the same measurement, or none */
    if (row && expected->model && strcmp(row->model, expected->model) == 0) expected->divergence = row->value;
}
