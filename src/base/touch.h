/* touch.h - takes memory from the system before it is used. */
#ifndef STILE_BASE_TOUCH_H
#define STILE_BASE_TOUCH_H

#include <stddef.h>

/* Writes to each page of n bytes what is there already, so that it is there for good. Nobody else uses them now. */
static inline void memory_touch(void *memory, size_t n_bytes)
{
    enum { PAGE_BYTES = 4096 };
    volatile char *bytes = memory;
    for (size_t i = 0; i < n_bytes; i += PAGE_BYTES)
        bytes[i] = bytes[i];
}

#endif
