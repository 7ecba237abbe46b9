/* Short names of models: what lies in the cache folder, and where the known ones come from. */
#include "base/error.h"
#include "base/paths.h"
#include "file/hub.h"
#include "model/folder.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name, *file, *command;
} known[] = {
    {"smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "tools/fetch-model"},
};

static bool looks_like_path(const char *name)
{
    size_t n = strlen(name), suffix = strlen(".gguf");
    return strchr(name, '/') || (n > suffix && strcmp(name + n - suffix, ".gguf") == 0);
}

/* A folder that is no model may share the name of one. */
static bool is_model(const char *name)
{
    struct stat status;
    return stat(name, &status) == 0 && (!S_ISDIR(status.st_mode) || folder_is_model(name));
}

/* Without the slashes that a folder's path may end with. */
static int copy_path(const char *found, char *path, size_t capacity, struct stile_error *error)
{
    size_t n = strlen(found);
    while (n > 1 && found[n - 1] == '/')
        n--;
    if (n >= capacity) return error_set(error, STILE_ERROR_ARGUMENT, "path too long: %s", found);
    memcpy(path, found, n);
    path[n] = '\0';
    return 0;
}

int stile_model_find(const char *name, char *path, size_t capacity, struct stile_error *error)
{
    char below[512], found[4096];
    const char *command = NULL;
    bool is_here = is_model(name);
    if (!is_here && (remote_is_url(name) || hub_is_name(name)))
        return error_set(
            error, STILE_ERROR_IO,
            "no file \"%s\": weights are read from files only, so download it first (`stile info` needs no "
            "download)",
            name);
    if (is_here || looks_like_path(name)) return copy_path(name, path, capacity, error);
    snprintf(below, sizeof below, "models/%s.gguf", name);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) != 0) continue;
        snprintf(below, sizeof below, "models/%s", known[i].file);
        command = known[i].command;
    }
    int failed = path_cache(found, sizeof found, below, error);
    if (failed) return failed;
    if (access(found, F_OK) == 0) return copy_path(found, path, capacity, error);
    if (command)
        return error_set(error, STILE_ERROR_IO, "model \"%s\" is not here yet (get it with `%s`; it goes to %s)", name,
                         command, found);
    return error_set(
        error, STILE_ERROR_IO,
        "no model \"%s\": neither a file, nor a folder with config.json, nor %s (`smollm2` is known by name, "
        "and `stile bench --shapes` lists shapes to plan with)",
        name, found);
}
