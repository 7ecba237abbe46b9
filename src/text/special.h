/* special.h - cuts text at the special tokens spelled out in it.
 *
 * User-defined tokens are always cut out, control and unknown ones only where the text is trusted. The longest
 * spellings are looked for first, all through the text; each match becomes its token, the rest stays text.
 * Immutable once created.
 */
#ifndef STILE_TEXT_SPECIAL_H
#define STILE_TEXT_SPECIAL_H

#include "text/vocab.h"

/* Which pairs of bytes may begin a special token: what lets most text through unread. */
struct special_filter {
    uint64_t pairs[65536 / 64];
};

struct special {
    const struct vocab *vocab;
    struct vocab_table table;
    size_t n;
    uint32_t *lengths; /* the different lengths of spellings, longest first */
    size_t n_lengths;
    struct special_filter *trusted; /* all special tokens */
    struct special_filter *user;    /* user-defined ones only */
};

struct special_fragment {
    size_t begin, end;
    int32_t id; /* -1: text */
};

struct special_fragments {
    struct special_fragment *items; /* in order, tiling the text; free with special_fragments_free */
    size_t n;
};

/* Memory comes from the vocabulary's arena; `vocab` must stay. `path` is for errors. */
int special_create(struct special *special, struct vocab *vocab, const char *path, struct stile_error *error);
/* `trusted`: control tokens count too, except where they touch a byte that `doubtful` (n flags, or NULL) marks. */
int special_split(const struct special *special, const char *text, size_t n, bool trusted, const bool *doubtful,
                  struct special_fragments *fragments, struct stile_error *error);
void special_fragments_free(struct special_fragments *fragments);

#endif
