#include "text/utf8.h"

#include <stdbool.h>

/* What the lead byte promises: how long the character is and which second bytes are valid after it (Unicode 15,
 * table 3-7). False for bytes that begin no character. */
static bool lead_read(unsigned char lead, size_t *length, unsigned char *second_min, unsigned char *second_max)
{
    *second_min = 0x80;
    *second_max = 0xBF;
    if (lead < 0x80) {
        *length = 1;
    } else if (lead >= 0xC2 && lead <= 0xDF) {
        *length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        *length = 3;
        if (lead == 0xE0) *second_min = 0xA0; /* overlong */
        if (lead == 0xED) *second_max = 0x9F; /* surrogates */
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        *length = 4;
        if (lead == 0xF0) *second_min = 0x90; /* overlong */
        if (lead == 0xF4) *second_max = 0x8F; /* past U+10FFFF */
    } else {
        return false;
    }
    return true;
}

/* How many of the n bytes at s are the beginning of one valid character; *length: how long that character is. */
static size_t valid_prefix(const char *s, size_t n, size_t *length)
{
    const unsigned char *u = (const unsigned char *)s;
    unsigned char low, high;
    if (n == 0 || !lead_read(u[0], length, &low, &high)) return 0;
    size_t i = 1;
    for (; i < n && i < *length; i++) {
        if (u[i] < low || u[i] > high) break;
        low = 0x80;
        high = 0xBF;
    }
    return i;
}

size_t utf8_decode(const char *s, size_t n, uint32_t *code_point)
{
    static const unsigned char lead_bits[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    if (n > 0 && (unsigned char)s[0] < 0x80) {
        *code_point = (unsigned char)s[0];
        return 1;
    }
    size_t length = 1;
    if (valid_prefix(s, n, &length) < length) {
        *code_point = 0xFFFD;
        return 1;
    }
    uint32_t c = (unsigned char)s[0] & lead_bits[length];
    for (size_t i = 1; i < length; i++)
        c = c << 6 | ((unsigned char)s[i] & 0x3Fu);
    *code_point = c;
    return length;
}

size_t utf8_encode(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) c = 0xFFFD;
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

size_t utf8_complete(const char *s, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        size_t length;
        size_t got = valid_prefix(s + n - back, back, &length);
        if (got == back && got < length) return n - back;
        if (((unsigned char)s[n - back] & 0xC0) != 0x80) break; /* a lead byte: nothing before it is open */
    }
    return n;
}
