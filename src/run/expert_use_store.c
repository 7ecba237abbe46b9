/* expert_use_store.c - what was used in the long run, as a file:
 *
 *   {"version": 1, "model": NAME, "experts_used": 8, "tokens": 1000, "uses": [[12, 0, ...], ...]}
 *
 * with a row for each layer and a number for each expert. It may be damaged or made up: then it is as good as not there.
 */
#include "base/json_file.h"
#include "base/paths.h"
#include "run/expert_use.h"

#include <math.h>
#include <stdlib.h>

enum {
    STORE_VERSION = 1,
    STORE_BYTES_MAX = 16 << 20,
    STORE_TOKENS = 1 << 16, /* older uses count less once there are more: favourites change */
};

/* A number of uses or tokens; false where there is none. */
static bool get_count(const json_t *value, double *count)
{
    *count = json_number_value(value);
    return json_is_number(value) && *count >= 0 && *count <= 1e15;
}

/* Checks all of it, and writes it where `total` is not NULL. */
static bool read_uses(const struct expert_use *use, const json_t *rows, double *total)
{
    if (json_array_size(rows) != use->n_layers) return false;
    for (size_t layer = 0; layer < use->n_layers; layer++) {
        const json_t *row = json_array_get(rows, layer);
        if (json_array_size(row) != use->n_experts) return false;
        for (size_t e = 0; e < use->n_experts; e++) {
            double n;
            if (!get_count(json_array_get(row, e), &n)) return false;
            if (total) total[layer * use->n_experts + e] = n;
        }
    }
    return true;
}

bool expert_use_load(struct expert_use *use, const char *path)
{
    json_t *root = json_file_read(path, STORE_BYTES_MAX, NULL);
    const json_t *rows = json_object_get(root, "uses");
    double n_tokens;
    bool good = json_integer_value(json_object_get(root, "version")) == STORE_VERSION &&
                json_integer_value(json_object_get(root, "experts_used")) == use->n_used &&
                get_count(json_object_get(root, "tokens"), &n_tokens) && n_tokens > 0 && read_uses(use, rows, NULL);
    if (good) {
        read_uses(use, rows, use->total);
        double kept = n_tokens > STORE_TOKENS ? STORE_TOKENS / n_tokens : 1;
        use->n_tokens = n_tokens * kept;
        use->lived = EXPERT_LIFE; /* as if it had always been used like that */
        for (size_t i = 0; i < (size_t)use->n_layers * use->n_experts; i++) {
            use->total[i] *= kept;
            use->recent[i] = (float)(use->total[i] / use->n_tokens * EXPERT_LIFE);
        }
    }
    json_decref(root);
    return good;
}

int expert_use_store(const struct expert_use *use, const char *path, const char *model, struct stile_error *error)
{
    json_t *rows = json_array();
    for (size_t layer = 0; layer < use->n_layers; layer++) {
        json_t *row = json_array();
        for (size_t e = 0; e < use->n_experts; e++)
            json_array_append_new(row, json_integer(llround(use->total[layer * use->n_experts + e])));
        json_array_append_new(rows, row);
    }
    json_t *name = json_string(model); /* NULL when it is not UTF-8 */
    json_t *root =
        json_pack("{s:i, s:o, s:i, s:I, s:o}", "version", (int)STORE_VERSION, "model", name ? name : json_null(),
                  "experts_used", (int)use->n_used, "tokens", (json_int_t)llround(use->n_tokens), "uses", rows);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!text) return error_memory(error, STORE_BYTES_MAX, "statistics of experts");
    int code = path_replace_file(path, text, error);
    free(text);
    return code;
}
