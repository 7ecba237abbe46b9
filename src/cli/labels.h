/* labels.h - where a picture's texts go: each to the place near by where it covers least of what is there already. */
#ifndef STILE_CLI_LABELS_H
#define STILE_CLI_LABELS_H

#include "base/buffer.h"

enum { LABELS_BOXES_MAX = 2048, LABEL_HEIGHT = 14 };

struct label_box {
    double x1, y1, x2, y2; /* x1 < x2, y1 < y2 */
};

/* What is drawn, roughly. */
struct labels {
    struct label_box frame; /* texts stay within */
    size_t n;
    struct label_box boxes[LABELS_BOXES_MAX];
};

void labels_keep(struct labels *labels, struct label_box box);
/* A line, as a row of small boxes. */
void labels_keep_line(struct labels *labels, double x1, double y1, double x2, double y2);
/* How much of it is covered already or out of the frame: 0 is nothing. */
double labels_covered(const struct labels *labels, struct label_box box);
double labels_covered_line(const struct labels *labels, double x1, double y1, double x2, double y2);

/* How wide a text is, hardly less in any of the fonts of svg.h. */
double label_width(const char *text);
/* Writes the name of the point at (x, y), and a line to it where there is no room beside it. */
void labels_add(struct labels *labels, struct buffer *out, double x, double y, const char *text);

#endif
