#include "cli/svg.h"

#include <jansson.h>
#include <stdio.h>

/* Text may be a stranger's. */
void svg_add_text(struct buffer *out, const char *text)
{
    json_t *valid = json_string(text); /* NULL when it is not UTF-8 */
    for (const char *c = text; *c; c++)
        switch (*c) {
        case '<': buffer_string(out, "&lt;"); break;
        case '>': buffer_string(out, "&gt;"); break;
        case '&': buffer_string(out, "&amp;"); break;
        default: buffer_char(out, (unsigned char)*c < ' ' || *c == 0x7f || (!valid && (*c & 0x80)) ? '?' : *c);
        }
    json_decref(valid);
}

void svg_text(struct buffer *out, double x, double y, const char *attributes, const char *text)
{
    buffer_printf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    svg_add_text(out, text);
    buffer_string(out, "</text>\n");
}

void svg_line(struct buffer *out, const char *class, double x1, double y1, double x2, double y2)
{
    buffer_printf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2);
}

void svg_circle(struct buffer *out, size_t colour, double x, double y)
{
    buffer_printf(out, "<circle class=\"p c%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"6\"/>\n", colour, x, y);
}

void svg_square(struct buffer *out, size_t colour, double x, double y)
{
    buffer_printf(out, "<rect class=\"p c%zu\" x=\"%.1f\" y=\"%.1f\" width=\"11\" height=\"11\"/>\n", colour, x - 5.5,
                  y - 5.5);
}

void svg_begin(struct buffer *out, int width, int height, const char *title)
{
    buffer_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                  "role=\"img\">\n<title>",
                  width, height, width, height);
    svg_add_text(out, title);
    buffer_string(out, "</title>\n<style>\n"
                       "text { font: 13px system-ui, -apple-system, 'DejaVu Sans', sans-serif; fill: #24292f }\n"
                       ".h { font-size: 18px; font-weight: 600 } .b { font-weight: 600 } .s { fill: #57606a }\n"
                       ".ground { fill: #ffffff } .g { stroke: #d8dee4 } .r { stroke: #57606a; stroke-width: 2 }\n"
                       ".f { fill: none; stroke: #8c959f; stroke-dasharray: 4 4 } .l { stroke: #8c959f }\n"
                       ".n { paint-order: stroke; stroke: #ffffff; stroke-width: 3 }\n"
                       ".p { stroke: #ffffff; stroke-width: 1.5 } .e { stroke-width: 3; stroke-opacity: .45 }\n"
                       ".c0 { fill: #0969da } .c1 { fill: #c4560b } .c2 { fill: #1a7f37 } .c3 { fill: #8250df }\n"
                       ".c4 { fill: #a40e6b } .c5 { fill: #6e7781 }\n"
                       ".e.c0 { stroke: #0969da } .e.c1 { stroke: #c4560b } .e.c2 { stroke: #1a7f37 }\n"
                       ".e.c3 { stroke: #8250df } .e.c4 { stroke: #a40e6b } .e.c5 { stroke: #6e7781 }\n"
                       "@media (prefers-color-scheme: dark) {\n"
                       "  text { fill: #e6edf3 } .s { fill: #9198a1 } .ground { fill: #0d1117 }\n"
                       "  .g { stroke: #2a313a } .r { stroke: #9198a1 } .p, .n { stroke: #0d1117 }\n"
                       "  .c0 { fill: #58a6ff } .c1 { fill: #f0883e } .c2 { fill: #3fb950 } .c3 { fill: #bc8cff }\n"
                       "  .c4 { fill: #f778ba } .c5 { fill: #b1bac4 }\n"
                       "  .e.c0 { stroke: #58a6ff } .e.c1 { stroke: #f0883e } .e.c2 { stroke: #3fb950 }\n"
                       "  .e.c3 { stroke: #bc8cff } .e.c4 { stroke: #f778ba } .e.c5 { stroke: #b1bac4 }\n"
                       "}\n</style>\n");
    buffer_printf(out, "<rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n", width, height);
}

char *svg_end(struct buffer *out)
{
    buffer_string(out, "</svg>\n");
    return buffer_take(out);
}
