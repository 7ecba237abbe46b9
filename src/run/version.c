/* What this library is. The only file that is compiled again for a new commit. */
#include "stile.h"

const char *stile_version(void)
{
    return STILE_VERSION;
}

const char *stile_commit(void)
{
    return STILE_COMMIT;
}
