#include "cli/roofline.h"

#include "cli/labels.h"
#include "cli/svg.h"

#include <math.h>
#include <stdio.h>

enum { WIDTH = 1000, HEIGHT = 600, LEFT = 84, RIGHT = 700, TOP = 84, BOTTOM = 530, LEGEND = 724, LINE = 19 };

/* ---- the two axes, both logarithmic --------------------------------------------------------- */

struct axes {
    double x_low, x_high, y_low, y_high; /* decimal logarithms; whole numbers but the last */
};

static void include(double value, double *low, double *high)
{
    if (!(value > 0) || !isfinite(value)) return;
    if (floor(log10(value)) < *low) *low = floor(log10(value));
    if (log10(value) > *high) *high = log10(value);
}

static struct axes axes_of(const struct roofline *r)
{
    struct axes axes = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (size_t i = 0; i < r->n_series; i++) {
        const struct roofline_point *points[] = {&r->series[i].decode, &r->series[i].prefill};
        for (int p = 0; p < 2; p++) {
            if (!(points[p]->tokens_per_s > 0)) continue;
            include(points[p]->macs_per_byte, &axes.x_low, &axes.x_high);
            include(points[p]->macs_per_s, &axes.y_low, &axes.y_high);
        }
    }
    axes.x_high = ceil(axes.x_high);
    if (axes.x_low > axes.x_high) axes.x_low = -1, axes.x_high = 3;
    if (axes.x_high - axes.x_low < 2) axes.x_high = axes.x_low + 2;
    for (size_t i = 0; i < r->n_levels; i++)
        include(r->levels[i].macs_per_s * 2.5, &axes.y_low, &axes.y_high);
    for (size_t i = 0; i < r->n_slopes; i++)
        include(r->slopes[i].bytes_per_s * pow(10, axes.x_low + 0.5), &axes.y_low, &axes.y_high);
    if (axes.y_low > axes.y_high) axes.y_low = 9, axes.y_high = 12;
    if (axes.y_high - axes.y_low < 2) axes.y_low = axes.y_high - 2;
    return axes;
}

static double at_x(const struct axes *axes, double value)
{
    return LEFT + (RIGHT - LEFT) * (log10(value) - axes->x_low) / (axes->x_high - axes->x_low);
}

static double at_y(const struct axes *axes, double value)
{
    return BOTTOM - (BOTTOM - TOP) * (log10(value) - axes->y_low) / (axes->y_high - axes->y_low);
}

/* ---- pieces --------------------------------------------------------------------------------- */

/* Three digits, or all before the point. */
static const char *number(char out[32], double value)
{
    snprintf(out, 32, "%.*f", value >= 100 ? 0 : value >= 10 ? 1 : value >= 0.1 ? 2 : 4, value);
    return out;
}

/* "1", "0.1", "100", "10 k", as powers of ten of a unit. */
static void power_text(char out[16], int power)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P", " E"};
    int unit = power >= 0 ? power / 3 : 0;
    if (unit > 6) unit = 6;
    if (power < 0)
        snprintf(out, 16, "%.*f", -power, pow(10, power));
    else
        snprintf(out, 16, "%.0f%s", pow(10, power - 3 * unit), units[unit]);
}

static void add_axes(struct buffer *out, const struct axes *axes)
{
    char label[16];
    for (int p = (int)axes->x_low; p <= (int)axes->x_high; p++) {
        double x = at_x(axes, pow(10, p));
        svg_line(out, "g", x, TOP, x, BOTTOM);
        power_text(label, p);
        svg_text(out, x, BOTTOM + 18, "text-anchor=\"middle\"", label);
    }
    for (int p = (int)axes->y_low; p <= (int)axes->y_high; p++) {
        double y = at_y(axes, pow(10, p));
        svg_line(out, "g", LEFT, y, RIGHT, y);
        power_text(label, p);
        svg_text(out, LEFT - 8, y + 4, "text-anchor=\"end\"", label);
    }
    svg_text(out, (LEFT + RIGHT) / 2.0, BOTTOM + 42, "text-anchor=\"middle\"", "multiply-adds for each byte read");
    buffer_printf(out,
                  "<text transform=\"translate(24 %.1f) rotate(-90)\" text-anchor=\"middle\">multiply-adds per "
                  "second</text>\n",
                  (TOP + BOTTOM) / 2.0);
}

/* ---- roofs ---------------------------------------------------------------------------------- */

/* Its name, along the line and above it, where that covers least; from the lower end on. */
static void add_slope_name(struct buffer *out, struct labels *labels, const char *text, double x1, double y1, double x2,
                           double y2)
{
    const double length = hypot(x2 - x1, y2 - y1), width = label_width(text), gap = 6, margin = 14;
    if (length < 1) return;
    const double dx = (x2 - x1) / length, dy = (y2 - y1) / length;
    double best = fmin(margin, length / 4), least = INFINITY;
    for (double at = best; at + width < length && least > 0; at += 6) {
        double x = x1 + at * dx + (gap + 4) * dy, y = y1 + at * dy - (gap + 4) * dx; /* the middle of its letters */
        double covered = 0;
        for (int side = -1; side <= 1; side++)
            covered += labels_covered_line(labels, x - 4 * side * dy, y + 4 * side * dx, x - 4 * side * dy + width * dx,
                                           y + 4 * side * dx + width * dy);
        if (covered < least) least = covered, best = at;
    }
    buffer_printf(out, "<text class=\"n\" transform=\"translate(%.1f %.1f) rotate(%.1f) translate(0 -%.0f)\">",
                  x1 + best * dx, y1 + best * dy, atan2(dy, dx) * 180 / 3.14159265, gap);
    svg_add_text(out, text);
    buffer_string(out, "</text>\n");
}

/* A slope, from the left edge up to the highest level. */
static void add_slope(struct buffer *out, struct labels *labels, const struct axes *axes, const char *name,
                      double bytes_per_s, double top, bool named)
{
    char label[96], rate[32];
    double x1 = pow(10, axes->x_low), x2 = fmin(top / bytes_per_s, pow(10, axes->x_high));
    double least = pow(10, axes->y_low);
    if (x1 * bytes_per_s < least) x1 = least / bytes_per_s;
    if (!(x2 > x1)) return;
    double px1 = at_x(axes, x1), py1 = at_y(axes, x1 * bytes_per_s);
    double px2 = at_x(axes, x2), py2 = at_y(axes, x2 * bytes_per_s);
    snprintf(label, sizeof label, "%s %s GB/s", name, number(rate, bytes_per_s / 1e9));
    if (named)
        add_slope_name(out, labels, label, px1, py1, px2, py2);
    else
        svg_line(out, "r", px1, py1, px2, py2);
}

/* Its name, above it: as far down, and then to the right, as nothing is covered. */
static void add_level_name(struct buffer *out, struct labels *labels, const char *text, double x, double y)
{
    const double width = label_width(text);
    struct label_box best = {0};
    double least = INFINITY;
    for (double gap = 4; gap <= 28 && least > 0; gap += 8)
        for (double right = RIGHT - 4; right - width > x && least > 0; right -= 6) {
            struct label_box box = {right - width, y - gap - LABEL_HEIGHT, right, y - gap};
            double covered = labels_covered(labels, box);
            if (covered < least) least = covered, best = box;
        }
    if (least == INFINITY) return;
    labels_keep(labels, best);
    svg_text(out, best.x2, best.y2 - 3, "class=\"n\" text-anchor=\"end\"", text);
}

/* A level, from the steepest slope on. */
static void add_level(struct buffer *out, struct labels *labels, const char *name, double macs_per_s, double x,
                      double y, bool named)
{
    char label[96], rate[32];
    const bool tera = macs_per_s >= 1e12;
    snprintf(label, sizeof label, "%s %s %s/s", name, number(rate, macs_per_s / (tera ? 1e12 : 1e9)), tera ? "T" : "G");
    if (named)
        add_level_name(out, labels, label, fmin(x, RIGHT - 4 - label_width(label) - 1), y);
    else if (x < RIGHT)
        svg_line(out, "r", x, y, RIGHT, y);
}

/* The lines, or their names. */
static void add_roofs(struct buffer *out, struct labels *labels, const struct roofline *r, const struct axes *axes,
                      bool named)
{
    double top = 0, fastest = 0;
    for (size_t i = 0; i < r->n_levels; i++)
        top = fmax(top, r->levels[i].macs_per_s);
    for (size_t i = 0; i < r->n_slopes; i++)
        fastest = fmax(fastest, r->slopes[i].bytes_per_s);
    if (!(top > 0)) top = pow(10, axes->y_high);
    for (size_t i = 0; i < r->n_levels; i++) {
        double macs_per_s = r->levels[i].macs_per_s;
        double x = fastest > 0 ? fmax(at_x(axes, macs_per_s / fastest), LEFT) : LEFT;
        add_level(out, labels, r->levels[i].name, macs_per_s, x, at_y(axes, macs_per_s), named);
    }
    for (size_t i = 0; i < r->n_slopes; i++)
        add_slope(out, labels, axes, r->slopes[i].name, r->slopes[i].bytes_per_s, top, named);
}

/* ---- points --------------------------------------------------------------------------------- */

static bool is_known(const struct roofline_point *point)
{
    return point->tokens_per_s > 0 && point->macs_per_byte > 0 && point->macs_per_s > 0;
}

/* A circle for decode, a square for prefill, and a bar from low to high. */
static void add_point(struct buffer *out, struct labels *labels, const struct axes *axes,
                      const struct roofline_point *p, size_t i, bool square)
{
    if (!is_known(p)) return;
    double x = at_x(axes, p->macs_per_byte), y = at_y(axes, p->macs_per_s);
    double low = at_y(axes, p->macs_per_s * p->tokens_low_per_s / p->tokens_per_s);
    double high = at_y(axes, p->macs_per_s * p->tokens_high_per_s / p->tokens_per_s);
    if (isfinite(low) && isfinite(high)) {
        char class[16];
        snprintf(class, sizeof class, "e c%zu", i);
        svg_line(out, class, x, fmin(low, BOTTOM), x, fmax(high, TOP));
        labels_keep_line(labels, x, fmin(low, BOTTOM), x, fmax(high, TOP));
    }
    labels_keep(labels, (struct label_box){x - 7, y - 7, x + 7, y + 7});
    (square ? svg_square : svg_circle)(out, i, x, y);
}

static void add_legend_line(struct buffer *out, double y, const struct roofline_point *p, size_t i, bool square)
{
    char label[128] = "not known", value[32], low[32], high[32];
    (square ? svg_square : svg_circle)(out, i, LEGEND + 5.5, y - 4.5);
    if (p->tokens_per_s > 0)
        snprintf(label, sizeof label, "%s %s (%s\xe2\x80\x93%s)", square ? "prefill" : "decode",
                 number(value, p->tokens_per_s), number(low, p->tokens_low_per_s), number(high, p->tokens_high_per_s));
    svg_text(out, LEGEND + 18, y, "", label);
}

static void add_legend(struct buffer *out, const struct roofline *r)
{
    double y = TOP + 10 + 1.5 * LINE;
    svg_text(out, LEGEND, TOP + 10, "class=\"s\"", "tokens per second, and the range");
    for (size_t i = 0; i < r->n_series; i++, y += LINE * 3.5) {
        svg_text(out, LEGEND, y, "class=\"b\"", r->series[i].name);
        add_legend_line(out, y + LINE, &r->series[i].decode, i, false);
        add_legend_line(out, y + 2 * LINE, &r->series[i].prefill, i, true);
    }
}

char *roofline_svg(const struct roofline *roofline)
{
    struct buffer out = {0};
    struct axes axes = axes_of(roofline);
    struct labels labels = {.frame = {LEFT, TOP - 12, RIGHT, BOTTOM}};
    svg_begin(&out, WIDTH, HEIGHT, roofline->title);
    svg_text(&out, LEFT, 36, "class=\"h\"", roofline->title);
    svg_text(&out, LEFT, 58, "class=\"s\"", roofline->subtitle);
    add_axes(&out, &axes);
    add_roofs(&out, &labels, roofline, &axes, false);
    for (size_t i = 0; i < roofline->n_series; i++) {
        add_point(&out, &labels, &axes, &roofline->series[i].decode, i, false);
        add_point(&out, &labels, &axes, &roofline->series[i].prefill, i, true);
    }
    add_roofs(&out, &labels, roofline, &axes, true);
    add_legend(&out, roofline);
    return svg_end(&out);
}
