/* Files that get their name when they are whole. */
#include "base/beside.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 1 << 20, THREADS = 4, ROUNDS = 8 };

static char folder[] = "/tmp/stile-beside-XXXXXX", path[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path) || rmdir(folder); /* there is nothing else */
}

static int files_in_folder(void)
{
    int n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* What the file is full of; fails the test where it is not whole. */
static char content(void)
{
    static char bytes[SIZE + 1];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, sizeof bytes, file), SIZE);
    fclose(file);
    for (size_t i = 1; i < SIZE; i++)
        if (bytes[i] != bytes[0]) fail_msg("byte %zu is %c, not %c", i, bytes[i], bytes[0]);
    return bytes[0];
}

static void *replace_often(void *argument)
{
    char *bytes = malloc(SIZE);
    memset(bytes, *(char *)argument, SIZE);
    intptr_t failed = 0;
    for (int i = 0; i < ROUNDS && !failed; i++) {
        struct beside file;
        failed = beside_open(&file, path, NULL);
        if (failed) break;
        file.unforced = true;
        for (size_t at = 0; at < SIZE && !failed; at += SIZE / 16)
            failed = beside_write(&file, bytes + at, SIZE / 16, NULL);
        failed = beside_finish(&file, NULL) || failed;
    }
    free(bytes);
    return (void *)failed;
}

static void threads_that_write_the_same_file_leave_one_whole(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    char names[] = "abcd";
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, replace_often, &names[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_non_null(strchr(names, content()));
    assert_int_equal(files_in_folder(), 1);
}

static void the_old_file_stays_until_the_new_one_is_whole(void **state)
{
    (void)state;
    struct beside file;
    struct stat status;
    char *bytes = malloc(SIZE);
    memset(bytes, 'x', SIZE);
    assert_int_equal(beside_replace(path, bytes, SIZE, NULL), 0);
    umask(022);
    assert_int_equal(beside_open(&file, path, NULL), 0);
    memset(bytes, 'y', SIZE);
    assert_int_equal(beside_write(&file, bytes, SIZE, NULL), 0);
    assert_int_equal(content(), 'x');
    beside_abandon(&file);
    assert_int_equal(content(), 'x');
    assert_int_equal(beside_replace(path, bytes, SIZE, NULL), 0);
    assert_int_equal(content(), 'y');
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0644);
    assert_int_equal(files_in_folder(), 1);
    free(bytes);
}

/* What a killed process left may have the name that would be the next. */
static void what_was_left_behind_is_in_nobodys_way(void **state)
{
    (void)state;
    struct beside file, next;
    char left[128];
    unsigned n;
    assert_int_equal(beside_open(&file, path, NULL), 0);
    assert_int_equal(sscanf(strrchr(file.part, '-'), "-%u.part", &n), 1);
    snprintf(left, sizeof left, "%s.%ld-%u.part", path, (long)getpid(), n + 1);
    beside_abandon(&file);
    close(open(left, O_WRONLY | O_CREAT, 0600));
    assert_int_equal(beside_open(&next, path, NULL), 0);
    assert_string_not_equal(next.part, left);
    beside_abandon(&next);
    assert_int_equal(unlink(left), 0);
}

static void failures_are_told(void **state)
{
    (void)state;
    struct stile_error error = {0};
    assert_int_equal(beside_replace("/nonexistent/file", "", 0, &error), STILE_ERROR_IO);
    assert_non_null(strstr(error.message, "/nonexistent/file: cannot create"));
    assert_int_equal(beside_replace(folder, "", 0, &error), STILE_ERROR_IO); /* not over a folder */
    assert_non_null(strstr(error.message, "not the name of a file"));
    assert_int_equal(beside_replace("", "", 0, &error), STILE_ERROR_IO);
    char pipe[64];
    snprintf(pipe, sizeof pipe, "%s/pipe", folder);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(beside_replace(pipe, "", 0, &error), STILE_ERROR_IO);
    assert_int_equal(unlink(pipe), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_that_write_the_same_file_leave_one_whole),
        cmocka_unit_test(the_old_file_stays_until_the_new_one_is_whole),
        cmocka_unit_test(what_was_left_behind_is_in_nobodys_way),
        cmocka_unit_test(failures_are_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
