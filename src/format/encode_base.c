/* encode_base.c - the quantizers for any processor of this kind. */
#include "format/encode_blocks.inc.h"

const struct encode_table encode_table_base = {"base", encode};
