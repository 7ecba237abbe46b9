#include "model/shapes.h"

#include <strings.h>

const struct shape *shape_find(const char *id)
{
    for (size_t i = 0; i < n_shapes; i++)
        if (strcasecmp(shapes[i].id, id) == 0) return &shapes[i];
    return NULL;
}
