/* terminal.h - may this be in colour, and how wide is it? */
#ifndef STILE_BASE_TERMINAL_H
#define STILE_BASE_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

/* Colours are for terminals that have them, unless NO_COLOR is set (https://no-color.org). */
bool terminal_colour(int fd);
/* Characters in a line; 80 where it is no terminal, or does not say. */
size_t terminal_columns(int fd);

#endif
