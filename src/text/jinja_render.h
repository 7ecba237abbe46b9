/* jinja_render.h - rendering with a given time: what chat.h does, for tests that need the same date every day. */
#ifndef STILE_TEXT_JINJA_RENDER_H
#define STILE_TEXT_JINJA_RENDER_H

#include "text/chat.h"

/* As chat_template_render; strftime_now takes `now` (seconds since 1970) for the time. */
int jinja_render(const struct chat_template *tpl, const json_t *variables, const char *const *trusted,
                 const struct chat_limits *limits, int64_t now, struct chat_text *text, struct stile_error *error);

#endif
