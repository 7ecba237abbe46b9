/* sweep_picture.c - what formats cost, as a picture: divergence, on a logarithmic scale, over bits per weight. */
#include "cli/labels.h"
#include "cli/quality_sweep.h"
#include "cli/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 1000, HEIGHT = 640, LEFT = 84, RIGHT = 960, TOP = 104, BOTTOM = 570 };

struct axes {
    double x_low, x_high; /* bits per weight, whole numbers */
    double y_low, y_high; /* decimal logarithms of the divergence, whole numbers */
};

static bool is_drawn(const struct sweep_row *row)
{
    return row->done && row->estimates.divergence.value > 0;
}

static struct axes axes_of(const struct sweep *sweep)
{
    struct axes axes = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (size_t i = 0; i < sweep->n_rows; i++) {
        const struct sweep_row *row = &sweep->rows[i];
        if (!is_drawn(row)) continue;
        axes.x_low = fmin(axes.x_low, floor(row->bits_per_weight));
        axes.x_high = fmax(axes.x_high, ceil(row->bits_per_weight + 0.2));
        axes.y_low = fmin(axes.y_low, floor(log10(row->estimates.divergence.value)));
        axes.y_high = fmax(axes.y_high, ceil(log10(row->estimates.divergence.value)));
    }
    if (axes.x_low > axes.x_high) axes = (struct axes){2, 9, -4, 0};
    if (axes.x_high - axes.x_low < 2) axes.x_high = axes.x_low + 2;
    if (axes.y_high - axes.y_low < 1) axes.y_low = axes.y_high - 1;
    return axes;
}

static double at_x(const struct axes *axes, double bits)
{
    return LEFT + (RIGHT - LEFT) * (bits - axes->x_low) / (axes->x_high - axes->x_low);
}

static double at_y(const struct axes *axes, double divergence)
{
    double y = BOTTOM - (BOTTOM - TOP) * (log10(divergence) - axes->y_low) / (axes->y_high - axes->y_low);
    return fmin(fmax(y, TOP), BOTTOM);
}

static void add_axes(struct buffer *out, const struct axes *axes)
{
    char label[32];
    const int step = axes->x_high - axes->x_low > 12 ? 2 : 1;
    for (int bits = (int)axes->x_low; bits <= (int)axes->x_high; bits += step) {
        double x = at_x(axes, bits);
        svg_line(out, "g", x, TOP, x, BOTTOM);
        snprintf(label, sizeof label, "%d", bits);
        svg_text(out, x, BOTTOM + 18, "text-anchor=\"middle\"", label);
    }
    for (int power = (int)axes->y_low; power <= (int)axes->y_high; power++) {
        double y = at_y(axes, pow(10, power));
        svg_line(out, "g", LEFT, y, RIGHT, y);
        snprintf(label, sizeof label, "%.*f", power < 0 ? -power : 0, pow(10, power));
        svg_text(out, LEFT - 8, y + 4, "text-anchor=\"end\"", label);
    }
    svg_text(out, (LEFT + RIGHT) / 2.0, BOTTOM + 42, "text-anchor=\"middle\"", "bits per weight");
    buffer_printf(out,
                  "<text transform=\"translate(20 %.1f) rotate(-90)\" text-anchor=\"middle\">divergence from the "
                  "model, nats per token</text>\n",
                  (TOP + BOTTOM) / 2.0);
}

/* Colours: made here, made with an importance matrix, ready files. */
static size_t colour_of(const struct sweep_row *row)
{
    return !row->entry || row->entry->file ? 2 : row->entry->with_imatrix ? 1 : 0;
}

static void add_legend(struct buffer *out, const struct sweep *sweep)
{
    static const char *const names[] = {"made by stile", "with an importance matrix", "ready files"};
    double x = LEFT + 6;
    for (size_t c = 0; c < sizeof names / sizeof *names; c++) {
        bool any = false;
        for (size_t i = 0; i < sweep->n_rows; i++)
            any = any || (is_drawn(&sweep->rows[i]) && colour_of(&sweep->rows[i]) == c);
        if (!any) continue;
        (c == 2 ? svg_square : svg_circle)(out, c, x, 82);
        svg_text(out, x + 12, 86, "", names[c]);
        x += 40 + label_width(names[c]);
    }
    svg_line(out, "f", x, 82, x + 30, 82);
    svg_text(out, x + 36, 86, "", "nothing that is not larger loses less");
}

static void add_front(struct buffer *out, const struct sweep *sweep, const struct axes *axes)
{
    buffer_string(out, "<polyline class=\"f\" points=\"");
    for (size_t i = 0; i < sweep->n_rows; i++) {
        const struct sweep_row *row = &sweep->rows[i];
        if (is_drawn(row) && row->is_front)
            buffer_printf(out, "%.1f,%.1f ", at_x(axes, row->bits_per_weight),
                          at_y(axes, row->estimates.divergence.value));
    }
    buffer_string(out, "\"/>\n");
}

static void add_points(struct buffer *out, const struct sweep *sweep, const struct axes *axes, struct labels *labels)
{
    for (size_t i = 0; i < sweep->n_rows; i++) {
        const struct sweep_row *row = &sweep->rows[i];
        const struct estimate d = row->estimates.divergence;
        char class[8];
        if (!is_drawn(row)) continue;
        double x = at_x(axes, row->bits_per_weight), y = at_y(axes, d.value);
        snprintf(class, sizeof class, "e c%zu", colour_of(row));
        if (d.error > 0 && d.error < d.value) {
            double low = at_y(axes, d.value - d.error), high = at_y(axes, d.value + d.error);
            svg_line(out, class, x, low, x, high);
            labels_keep_line(labels, x, low, x, high);
        }
        (colour_of(row) == 2 ? svg_square : svg_circle)(out, colour_of(row), x, y);
        labels_keep(labels, (struct label_box){x - 6, y - 6, x + 6, y + 6});
    }
}

char *sweep_svg(const struct sweep *sweep, const char *title, const char *subtitle)
{
    struct buffer out = {0};
    struct labels labels = {.frame = {LEFT, TOP - 12, WIDTH, BOTTOM}};
    const struct axes axes = axes_of(sweep);
    svg_begin(&out, WIDTH, HEIGHT, title);
    svg_text(&out, LEFT, 36, "class=\"h\"", title);
    svg_text(&out, LEFT, 58, "class=\"s\"", subtitle);
    add_axes(&out, &axes);
    add_legend(&out, sweep);
    add_front(&out, sweep, &axes);
    add_points(&out, sweep, &axes, &labels);
    for (size_t i = 0; i < sweep->n_rows; i++) {
        const struct sweep_row *row = &sweep->rows[i];
        if (!is_drawn(row)) continue;
        /* the colour says that it was with a matrix */
        const char *name = !row->entry ? "the model" : row->entry->file ? row->entry->name : row->entry->format;
        labels_add(&labels, &out, at_x(&axes, row->bits_per_weight), at_y(&axes, row->estimates.divergence.value),
                   name);
    }
    return svg_end(&out);
}
