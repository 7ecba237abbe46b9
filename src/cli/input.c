/* input.c - text from a file or a pipe. */
#include "cli/input.h"
#include "cli/options.h"
#include "cli/output.h"

#include <errno.h>
#include <string.h>

enum { INPUT_MAX = 64 << 20 }; /* far more than any context holds */

int input_read(const char *path, struct buffer *text)
{
    bool standard = strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (!file) return cli_fail("%s: cannot open: %s", name, strerror(errno));
    char chunk[65536];
    size_t n;
    text->limit = INPUT_MAX;
    while (!text->failed && (n = fread(chunk, 1, sizeof chunk, file)) > 0)
        buffer_add(text, chunk, n);
    int why = ferror(file) ? errno : 0;
    if (!standard) fclose(file);
    if (why) return cli_fail("%s: cannot read: %s", name, strerror(why));
    if (text->failed) return cli_fail("%s: more than %d MiB of text", name, INPUT_MAX >> 20);
    if (text->n > 0 && text->data[text->n - 1] == '\n') text->data[--text->n] = '\0';
    return EXIT_OK;
}
