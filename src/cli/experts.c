/* experts.c - how the experts of a mixture were used: --expert-profile. */
#include "cli/reply.h"

#include <stdlib.h>

/* What a share of 0 bytes is, nobody knows: -1. */
static double hit_rate(const struct stile_expert_layer *layer)
{
    return layer->wanted_bytes > 0 ? (double)layer->hit_bytes / (double)layer->wanted_bytes : -1;
}

static struct stile_expert_layer *get_layers(const struct engine *engine, size_t *n)
{
    *n = stile_session_experts(engine->session, NULL, 0);
    struct stile_expert_layer *layers = calloc(*n + 1, sizeof *layers);
    if (layers) stile_session_experts(engine->session, layers, *n);
    return layers;
}

static void show_row(const char *name, const struct stile_expert_layer *layer)
{
    char hits[16] = "-";
    if (hit_rate(layer) >= 0) snprintf(hits, sizeof hits, "%.1f %%", 100 * hit_rate(layer));
    fprintf(stderr, "%5s %9llu %8s %6u %5u %5u\n", name, (unsigned long long)layer->n_uses, hits, layer->n_half,
            layer->n_80, layer->n_95);
}

void experts_show(const struct engine *engine)
{
    size_t n;
    struct stile_expert_layer sum = {0}, *layers = get_layers(engine, &n);
    if (n == 0 || !layers) {
        fputs(stile_model_info(engine->model)->n_experts > 0
                  ? "experts: all of them fit into memory, their use was not counted\n"
                  : "experts: the model is not a mixture\n",
              stderr);
        free(layers);
        return;
    }
    fprintf(stderr, "of %u experts in each layer, %u of them chosen by a token\n",
            stile_model_info(engine->model)->n_experts, stile_model_info(engine->model)->n_experts_used);
    fputs("                   found  experts that 50, 80, 95 %\n", stderr);
    fputs("layer   choices in memory  of all choices fall on\n", stderr);
    for (size_t i = 0; i < n; i++) {
        char name[24];
        snprintf(name, sizeof name, "%zu", i);
        show_row(name, &layers[i]);
        sum.n_uses += layers[i].n_uses;
        sum.wanted_bytes += layers[i].wanted_bytes;
        sum.hit_bytes += layers[i].hit_bytes;
        sum.n_half += layers[i].n_half;
        sum.n_80 += layers[i].n_80;
        sum.n_95 += layers[i].n_95;
    }
    show_row("all", &sum);
    free(layers);
}

json_t *experts_json(const struct engine *engine)
{
    size_t n;
    struct stile_expert_layer *layers = get_layers(engine, &n);
    json_t *array = json_array();
    for (size_t i = 0; layers && i < n; i++)
        json_array_append_new(array, json_pack("{s:I, s:I, s:I, s:I, s:o, s:i, s:i, s:i}", "layer", (json_int_t)i,
                                               "choices", (json_int_t)layers[i].n_uses, "wanted_bytes",
                                               (json_int_t)layers[i].wanted_bytes, "hit_bytes",
                                               (json_int_t)layers[i].hit_bytes, "hit_rate",
                                               hit_rate(&layers[i]) < 0 ? json_null() : json_real(hit_rate(&layers[i])),
                                               "experts_for_half", (int)layers[i].n_half, "experts_for_80_percent",
                                               (int)layers[i].n_80, "experts_for_95_percent", (int)layers[i].n_95));
    free(layers);
    return array;
}
