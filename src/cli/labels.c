#include "cli/labels.h"

#include "cli/svg.h"

#include <math.h>

enum { POINT = 8 /* of a point and what is free around it, half */, DESCENT = 3 };
static const double letter = 8.3, step = 16, grain = 5;

void labels_keep(struct labels *labels, struct label_box box)
{
    if (labels->n < LABELS_BOXES_MAX) labels->boxes[labels->n++] = box;
}

static double area(struct label_box box)
{
    return fmax(0, box.x2 - box.x1) * fmax(0, box.y2 - box.y1);
}

static struct label_box shared(const struct label_box *a, const struct label_box *b)
{
    return (struct label_box){fmax(a->x1, b->x1), fmax(a->y1, b->y1), fmin(a->x2, b->x2), fmin(a->y2, b->y2)};
}

double labels_covered(const struct labels *labels, struct label_box box)
{
    double covered = 10 * (area(box) - area(shared(&box, &labels->frame)));
    for (size_t i = 0; i < labels->n; i++)
        covered += area(shared(&box, &labels->boxes[i]));
    return covered;
}

/* The i-th box of a line; false past its end. */
static bool line_box(double x1, double y1, double x2, double y2, int i, struct label_box *box)
{
    double length = hypot(x2 - x1, y2 - y1), share = length > 0 ? i * grain / length : 0;
    double x = x1 + share * (x2 - x1), y = y1 + share * (y2 - y1), half = grain / 2;
    *box = (struct label_box){x - half, y - half, x + half, y + half};
    return i * grain <= length;
}

void labels_keep_line(struct labels *labels, double x1, double y1, double x2, double y2)
{
    struct label_box box;
    for (int i = 0; line_box(x1, y1, x2, y2, i, &box); i++)
        labels_keep(labels, box);
}

double labels_covered_line(const struct labels *labels, double x1, double y1, double x2, double y2)
{
    struct label_box box;
    double covered = 0;
    for (int i = 0; line_box(x1, y1, x2, y2, i, &box); i++)
        covered += labels_covered(labels, box);
    return covered;
}

double label_width(const char *text)
{
    double width = 0;
    for (const char *c = text; *c; c++)
        width += (*c & 0xc0) == 0x80 ? 0 : letter; /* characters, not bytes */
    return width;
}

/* The text's box in direction (dx, dy), each -1, 0 or 1, so far from the point. */
static struct label_box box_beside(double x, double y, int dx, int dy, double far, double width)
{
    double diagonal = dx && dy ? 0.7 : 1, reach = POINT + far;
    double left = x + dx * reach * diagonal - (dx < 0 ? width : dx == 0 ? width / 2 : 0);
    double top = y + dy * reach * diagonal - (dy < 0 ? LABEL_HEIGHT : dy == 0 ? LABEL_HEIGHT / 2.0 : 0);
    return (struct label_box){left, top, left + width, top + LABEL_HEIGHT};
}

/* Where a line from the point to the box begins and ends. */
struct leader {
    double x1, y1, x2, y2;
};

static struct leader leader_to(double x, double y, const struct label_box *box)
{
    double x2 = fmin(fmax(x, box->x1 - 1), box->x2 + 1), y2 = fmin(fmax(y, box->y1 - 1), box->y2 + 1);
    double length = hypot(x2 - x, y2 - y), share = length > POINT ? POINT / length : 1;
    return (struct leader){x + share * (x2 - x), y + share * (y2 - y), x2, y2};
}

void labels_add(struct labels *labels, struct buffer *out, double x, double y, const char *text)
{
    enum { DISTANCES = 8, DIRECTIONS = 8 };
    static const int directions[DIRECTIONS][2] = {{1, 0}, {-1, 0}, {0, -1}, {0, 1}, {1, -1}, {1, 1}, {-1, -1}, {-1, 1}};
    const double width = label_width(text);
    struct label_box best = {0};
    struct leader leader = {0};
    double least = INFINITY;
    bool apart = false;
    for (int distance = 0; distance < DISTANCES && least > 0; distance++)
        for (int d = 0; d < DIRECTIONS && least > 0; d++) {
            struct label_box box = box_beside(x, y, directions[d][0], directions[d][1], distance * step, width);
            struct leader line = leader_to(x, y, &box);
            double covered = labels_covered(labels, box);
            if (distance > 0) covered += labels_covered_line(labels, line.x1, line.y1, line.x2, line.y2);
            if (covered >= least) continue;
            least = covered;
            best = box;
            leader = line;
            apart = distance > 0;
        }
    if (apart) {
        svg_line(out, "l", leader.x1, leader.y1, leader.x2, leader.y2);
        labels_keep_line(labels, leader.x1, leader.y1, leader.x2, leader.y2);
    }
    labels_keep(labels, best);
    svg_text(out, (best.x1 + best.x2) / 2, best.y2 - DESCENT, "class=\"n\" text-anchor=\"middle\"", text);
}
