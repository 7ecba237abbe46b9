/* chat.h - chat templates: an interpreter of the Jinja subset that model authors use.
 *
 * A template is compiled once and rendered with variables given as JSON. The result is what Python's jinja2 prints
 * with the settings of transformers (trim_blocks, lstrip_blocks, loop controls, tojson without HTML escapes), as
 * segments: text of the template itself (trusted), and text that came from the variables.
 * Templates are hostile input: steps, depth and output are limited, nothing of the host is reachable.
 */
#ifndef STILE_TEXT_CHAT_H
#define STILE_TEXT_CHAT_H

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>

struct chat_template;

struct chat_limits {
    uint64_t steps_max;      /* nodes evaluated; 0: 10 million */
    uint32_t depth_max;      /* nesting of calls and expressions; 0: 200 */
    size_t output_bytes_max; /* 0: 16 MiB */
};

struct chat_segment {
    size_t begin, end;   /* bytes of the text */
    bool from_variables; /* came from the variables: must not be parsed for special tokens */
};

struct chat_text {
    char *text; /* NUL-terminated, n bytes */
    size_t n;
    struct chat_segment *segments; /* tile the text in order, neighbours differ in origin */
    size_t n_segments;
};
void chat_text_free(struct chat_text *text);

/* Errors (code TEMPLATE) name line and column and what was not understood. `name` appears in messages. */
int chat_template_compile(struct chat_template **tpl, const char *name, const char *source, size_t n,
                          struct stile_error *error);
void chat_template_free(struct chat_template *tpl);

/* Renders with `variables`, a JSON object. `limits` may be NULL. raise_exception(message) gives an error with that
 * message. Variables listed in `trusted` (NULL-terminated names such as "bos_token"; may be NULL) count as the
 * template's own text. */
int chat_template_render(const struct chat_template *tpl, const json_t *variables, const char *const *trusted,
                         const struct chat_limits *limits, struct chat_text *text, struct stile_error *error);

#endif
