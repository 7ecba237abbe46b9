/* terminal.h - may this be in colour? */
#ifndef STILE_BASE_TERMINAL_H
#define STILE_BASE_TERMINAL_H

#include <stdbool.h>
#include <unistd.h>

/* Colours are for terminals that have them, unless NO_COLOR is set (https://no-color.org). */
bool terminal_colour(int fd);

#endif
