/* terminal.c - may this be in colour? */
#include "base/terminal.h"

#include <stdlib.h>
#include <string.h>

bool terminal_colour(int fd)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0;
}
