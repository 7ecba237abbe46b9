/* quality.h - how well a model predicts a text, and how far it is from a reference that predicts the same one.
 *
 * The text is evaluated window by window (windows.h); model and reference take turns, and their logits are compared a part
 * of a window at a time, so little memory is used beside the sessions.
 */
#ifndef STILE_LAB_QUALITY_H
#define STILE_LAB_QUALITY_H

#include "lab/logits_file.h"
#include "lab/score.h"
#include "lab/windows.h"

struct quality_plan {
    struct stile_model *model;
    /* With the same vocabulary, a model or what one left; both NULL: none. */
    struct stile_model *reference;
    struct logits_file *reference_file;
    struct logits_file *save; /* gets the model's logits; NULL: they are not kept */
    const struct windows *windows;
    struct stile_session_options session; /* n_ctx is the windows' */
    /* After each window, with all scores so far; may be NULL. */
    void (*on_window)(void *user, const struct score *scores, size_t n_windows);
    void *user;
};

struct quality {
    struct score *scores; /* of all scored tokens in order, (windows_scored) */
    size_t n_windows;     /* that are done */
    uint64_t eval_ns;     /* the model's part of the time */
    uint64_t n_evaluated; /* tokens, by the model */
};

bool quality_has_reference(const struct quality_plan *plan);
/* Do model and reference make the same tokens of the text? ARGUMENT when not. Without a reference
 * model: of course. */
int quality_check(const struct quality_plan *plan, const char *text, size_t n_bytes, struct stile_error *error);
/* Memory that it takes: sessions with their weights, rows of logits, scores. */
int quality_memory(const struct quality_plan *plan, uint64_t *size_bytes, struct stile_error *error);
/* Also when it fails (CANCELLED), *quality has the windows that were done; free it in any case. */
int quality_run(struct quality *quality, const struct quality_plan *plan, struct stile_error *error);
void quality_free(struct quality *quality);

#endif
