/* svg.h - pieces of pictures, readable on light and dark ground.
 *
 * Classes: h (heading), b (bold), s (subdued); g (grid), r (a strong line), p (a point), e (a bar of error), f (a thin
 * connecting line), l (a line to a name), n (a name, which covers lines), and c0 to c5, the colours of series.
 */
#ifndef STILE_CLI_SVG_H
#define STILE_CLI_SVG_H

#include "base/buffer.h"

#include <stddef.h>

/* The head of a picture with its ground. Texts may be a stranger's, here and below. */
void svg_begin(struct buffer *out, int width, int height, const char *title);
/* The picture; free it with free. NULL when memory is out. */
char *svg_end(struct buffer *out);

/* Only the text, without an element around it. */
void svg_add_text(struct buffer *out, const char *text);
void svg_text(struct buffer *out, double x, double y, const char *attributes, const char *text);
void svg_line(struct buffer *out, const char *class, double x1, double y1, double x2, double y2);
/* Around (x, y). */
void svg_circle(struct buffer *out, size_t colour, double x, double y);
void svg_square(struct buffer *out, size_t colour, double x, double y);

#endif
