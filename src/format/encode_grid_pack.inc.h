/* encode_grid_pack.inc.h - the codes of formats with codebooks, and where their blocks keep them. */

struct grid_codes {
    uint16_t d;        /* half float */
    uint16_t rows[64]; /* row of the codebook of each group */
    uint8_t signs[32]; /* of 8 elements */
    uint8_t scales[16];
    uint8_t shifts[64]; /* IQ1: which of the two shifts each group has */
};

static void pack_iq2_xxs(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    for (int j = 0; j < 8; j++) {
        uint32_t word = (uint32_t)codes->scales[j] << 28;
        for (int g = 0; g < 4; g++) {
            block[2 + 8 * j + g] = (uint8_t)codes->rows[4 * j + g];
            word |= (codes->signs[4 * j + g] & 127u) << 7 * g;
        }
        memcpy(block + 2 + 8 * j + 4, &word, 4);
    }
}

static void pack_scale_nibbles(const uint8_t *scales, int n, uint8_t *out)
{
    for (int j = 0; j < n; j += 2)
        out[j / 2] = (uint8_t)(scales[j] | scales[j + 1] << 4);
}

static void pack_iq2_xs(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    for (int g = 0; g < 32; g++) {
        uint16_t q = (uint16_t)(codes->rows[g] | (codes->signs[g] & 127) << 9);
        memcpy(block + 2 + 2 * g, &q, 2);
    }
    pack_scale_nibbles(codes->scales, 16, block + 66);
}

static void pack_iq2_s(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    memcpy(block + 34, codes->signs, 32);
    memset(block + 66, 0, 8);
    for (int g = 0; g < 32; g++) {
        block[2 + g] = (uint8_t)codes->rows[g];
        block[66 + g / 4] |= (uint8_t)(codes->rows[g] >> 8 << 2 * (g % 4));
    }
    pack_scale_nibbles(codes->scales, 16, block + 74);
}

static void pack_iq3_xxs(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    for (int h = 0; h < 64; h++)
        block[2 + h] = (uint8_t)codes->rows[h];
    for (int j = 0; j < 8; j++) {
        uint32_t word = (uint32_t)codes->scales[j] << 28;
        for (int g = 0; g < 4; g++)
            word |= (codes->signs[4 * j + g] & 127u) << 7 * g;
        memcpy(block + 66 + 4 * j, &word, 4);
    }
}

static void pack_iq3_s(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    memset(block + 66, 0, 8);
    for (int h = 0; h < 64; h++) {
        block[2 + h] = (uint8_t)codes->rows[h];
        block[66 + h / 8] |= (uint8_t)(codes->rows[h] >> 8 << h % 8);
    }
    memcpy(block + 74, codes->signs, 32);
    pack_scale_nibbles(codes->scales, 8, block + 106);
}

static void pack_iq1_s(const struct grid_codes *codes, uint8_t *block)
{
    memcpy(block, &codes->d, 2);
    for (int j = 0; j < 8; j++) {
        uint16_t high = (uint16_t)(codes->scales[j] << 12 | codes->shifts[4 * j] << 15);
        for (int g = 0; g < 4; g++) {
            block[2 + 4 * j + g] = (uint8_t)codes->rows[4 * j + g];
            high |= (uint16_t)(codes->rows[4 * j + g] >> 8 << 3 * g);
        }
        memcpy(block + 34 + 2 * j, &high, 2);
    }
}

static void pack_iq1_m(const struct grid_codes *codes, uint8_t *block)
{
    memset(block + 32, 0, 16);
    for (int g = 0; g < 32; g++) {
        block[g] = (uint8_t)codes->rows[g];
        block[32 + g / 2] |= (uint8_t)((codes->rows[g] >> 8 | codes->shifts[g] << 3) << 4 * (g & 1));
    }
    for (int k = 0; k < 4; k++) { /* four scales of three bits, then four bits of d */
        uint16_t word = (uint16_t)((codes->d >> 4 * k & 15) << 12);
        for (int p = 0; p < 4; p++)
            word |= (uint16_t)(codes->scales[4 * k + p] << 3 * p);
        memcpy(block + 48 + 2 * k, &word, 2);
    }
}
