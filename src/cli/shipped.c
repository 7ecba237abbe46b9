#include "cli/shipped.h"
#include "cli/options.h"
#include "cli/output.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int shipped_find(const char *name, char *path, size_t capacity)
{
    static const char *const folders[] = {"../share/stile", "../data"}; /* from where the program is */
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash) *slash = '\0';
    for (size_t i = 0; slash && i < sizeof folders / sizeof *folders; i++) {
        char joined[2 * PATH_MAX], real[PATH_MAX];
        snprintf(joined, sizeof joined, "%s/%s/%s", program, folders[i], name);
        if (!realpath(joined, real) || strlen(real) >= capacity) continue;
        memcpy(path, real, strlen(real) + 1);
        return EXIT_OK;
    }
    return cli_fail("%s, which comes with stile, is not where it should be (%s/%s): give a file of your own with -f",
                    name, program, folders[0]);
}
