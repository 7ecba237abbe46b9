/* The cache folder's path under every environment, and making folders. */
#include "base/paths.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static int set_up(void **state)
{
    (void)state;
    strcpy(root, "/tmp/stile-paths-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static const char *cache_path(const char *xdg, const char *home, const char *below)
{
    static char path[4096];
    struct stile_error error;
    xdg ? setenv("XDG_CACHE_HOME", xdg, 1) : unsetenv("XDG_CACHE_HOME");
    home ? setenv("HOME", home, 1) : unsetenv("HOME");
    assert_int_equal(path_cache(path, sizeof path, below, &error), STILE_OK);
    return path;
}

static void the_cache_folder_follows_the_environment(void **state)
{
    (void)state;
    assert_string_equal(cache_path("/x/cache", "/home/a", "machine.json"), "/x/cache/stile/machine.json");
    assert_string_equal(cache_path("/x/cache", NULL, ""), "/x/cache/stile");
    assert_string_equal(cache_path("", "/home/a", "models"), "/home/a/.cache/stile/models");
    assert_string_equal(cache_path("relative", "/home/a", "models"), "/home/a/.cache/stile/models");
    assert_string_equal(cache_path(NULL, "/home/a", ""), "/home/a/.cache/stile");
    assert_true(cache_path(NULL, "not absolute", "")[0] == '/'); /* from the user database */
    assert_true(cache_path(NULL, NULL, "")[0] == '/');
}

static void a_path_that_does_not_fit_is_an_error(void **state)
{
    (void)state;
    struct stile_error error;
    char path[32] = "as before";
    setenv("XDG_CACHE_HOME", "/x", 1);
    assert_int_equal(path_cache(path, sizeof "/x/stile/a", "a", &error), STILE_OK);
    assert_string_equal(path, "/x/stile/a");
    assert_int_equal(path_cache(path, sizeof "/x/stile/a" - 1, "b", &error), STILE_ERROR_ARGUMENT);
    assert_string_equal(path, "/x/stile/a");
    char *long_name = calloc(1, 10000);
    memset(long_name, 'a', 9999);
    assert_int_equal(path_cache(path, 20000, long_name, &error), STILE_ERROR_ARGUMENT);
    assert_string_equal(path, "/x/stile/a");
    assert_int_equal(path_make_folder(long_name, &error), STILE_ERROR_ARGUMENT);
    assert_int_equal(path_make_folder("", &error), STILE_ERROR_ARGUMENT);
    free(long_name);
}

static void folders_are_made_all_the_way_down(void **state)
{
    (void)state;
    struct stile_error error;
    struct stat status;
    char path[512], file[256];
    snprintf(path, sizeof path, "%s/a/b//c/", root);
    assert_int_equal(path_make_folder(path, &error), STILE_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISDIR(status.st_mode));
    assert_int_equal(status.st_mode & 0077, 0);
    assert_int_equal(path_make_folder(path, &error), STILE_OK);
    assert_int_equal(path_make_folder("/", &error), STILE_OK);

    snprintf(file, sizeof file, "%s/a/file", root);
    fclose(fopen(file, "w"));
    assert_int_equal(path_make_folder(file, &error), STILE_ERROR_IO);
    snprintf(path, sizeof path, "%s/below/it", file);
    assert_int_equal(path_make_folder(path, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, file));
    assert_int_equal(path_make_folder("/proc/stile/x", NULL), STILE_ERROR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cache_folder_follows_the_environment),
        cmocka_unit_test(a_path_that_does_not_fit_is_an_error),
        cmocka_unit_test(folders_are_made_all_the_way_down),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
