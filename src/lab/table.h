/* table.h - records as rows: for people, for Markdown, for spreadsheets.
 *
 * Records may come from files: texts are shown without control characters.
 */
#ifndef STILE_LAB_TABLE_H
#define STILE_LAB_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum table_style { TABLE_PLAIN, TABLE_MARKDOWN, TABLE_CSV };

void table_head(FILE *stream, enum table_style style);
void table_row(FILE *stream, enum table_style style, const json_t *record);
/* What the rows do not say, for PLAIN and MARKDOWN: the profile, kinds of operations or layers; a line for the ratio to
 * the first model, and one for what disturbed. Nothing where there is nothing to say. */
void table_profile(FILE *stream, enum table_style style, const json_t *record, bool layers);
void table_notes(FILE *stream, const json_t *record);

/* UTF-8 text cut or filled with spaces to `width` characters (0: as long as it is); control characters become '?'. */
void table_text(char *out, size_t capacity, const char *text, size_t width);

#endif
