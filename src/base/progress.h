/* progress.h - a line on a terminal for work that takes longer than a second: "reading the prompt, 3 s".
 *
 * Nothing is shown when stderr is no terminal, or when the work is done within the second. The line is erased by
 * progress_stop. One at a time.
 */
#ifndef STILE_BASE_PROGRESS_H
#define STILE_BASE_PROGRESS_H

#include <stddef.h>

/* `what` must live until progress_stop. `detail`, which may be NULL, is asked each time for what to add, "" for nothing: on
 * a thread of its own. */
void progress_start(const char *what, void (*detail)(void *user, char *text, size_t capacity), void *user);
/* Does nothing when nothing was started, so it may be called at every first sign of the result. */
void progress_stop(void);

#endif
