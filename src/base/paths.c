#include "base/paths.h"

#include "base/beside.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The user's home folder, absolute, or NULL. `buffer` backs the answer of the user database. */
static const char *home_folder(char *buffer, size_t capacity)
{
    const char *home = getenv("HOME");
    if (home && home[0] == '/') return home;
    struct passwd entry, *found = NULL;
    if (getpwuid_r(getuid(), &entry, buffer, capacity, &found) != 0 || !found) return NULL;
    return found->pw_dir && found->pw_dir[0] == '/' ? found->pw_dir : NULL;
}

int path_cache(char *path, size_t capacity, const char *below, struct stile_error *error)
{
    char buffer[4096], found[PATH_MAX];
    const char *root = getenv("XDG_CACHE_HOME"), *between = "";
    if (!root || root[0] != '/') {
        root = home_folder(buffer, sizeof buffer);
        between = "/.cache";
    }
    if (!root)
        return error_set(error, STILE_ERROR_ARGUMENT,
                         "no cache folder: neither XDG_CACHE_HOME nor HOME is set; set one");
    int n = snprintf(found, sizeof found, "%s%s/stile%s%s", root, between, below[0] ? "/" : "", below);
    if (n < 0 || (size_t)n >= sizeof found || (size_t)n >= capacity)
        return error_set(error, STILE_ERROR_ARGUMENT, "the path of the cache folder is too long (%d bytes): %s", n,
                         root);
    memcpy(path, found, (size_t)n + 1);
    return STILE_OK;
}

static int make_one(const char *path, struct stile_error *error)
{
    struct stat status;
    if (mkdir(path, 0700) == 0) return STILE_OK;
    int why = errno; /* EEXIST, or EROFS and the like above an existing folder */
    if (stat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode)) return STILE_OK;
        why = ENOTDIR;
    }
    return error_set(error, STILE_ERROR_IO, "%s: cannot make this folder: %s", path, strerror(why));
}

int path_make_folder(const char *path, struct stile_error *error)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return error_set(error, STILE_ERROR_ARGUMENT, "cannot make a folder with a name of %zu bytes", n);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i < n; i++) {
        if (part[i] != '/') continue;
        part[i] = '\0';
        int code = make_one(part, error);
        if (code != STILE_OK) return code;
        part[i] = '/';
    }
    return make_one(part, error);
}

int path_replace_file(const char *path, const char *text, struct stile_error *error)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path || (size_t)(slash - path) >= sizeof folder)
        return error_set(error, STILE_ERROR_ARGUMENT, "%s: not the path of a file in a folder", path);
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
    int failed = path_make_folder(folder, error);
    return failed ? failed : beside_replace(path, text, strlen(text), error);
}
