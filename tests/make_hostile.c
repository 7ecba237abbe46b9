/* make_hostile FOLDER - writes the corpus of tests/hostile.c into a folder, for tests of the command line and as seeds
 * for fuzzing.
 *
 * FOLDER/cases.tsv has one line per case: LEVEL, file to open, part of the message it must give ("" when valid).
 */
#include "hostile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 2) {
        fprintf(stderr, "usage: make_hostile FOLDER\n");
        return 1;
    }
    snprintf(path, sizeof path, "%s/cases.tsv", argv[1]);
    FILE *list = fopen(path, "w");
    if (!list) {
        perror(path);
        return 1;
    }
    for (size_t i = 0; i < hostile_count(); i++) {
        struct hostile_set set;
        hostile_build(i, &set);
        hostile_write(&set, argv[1], path, sizeof path);
        fprintf(list, "%s\t%s\t%s\n", hostile_level_name(set.level), strrchr(path, '/') + 1,
                set.expected ? set.expected : "");
        hostile_free(&set);
    }
    if (fclose(list) != 0) {
        perror(argv[1]);
        return 1;
    }
    printf("%zu cases\n", hostile_count());
    return 0;
}
