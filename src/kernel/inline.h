/* inline.h - what the loops ask of the compiler: to inline whatever gets a function or a size as a constant, and to
 * unroll where an array must become registers. Both gcc and clang leave such arrays in memory otherwise. */
#ifndef STILE_KERNEL_INLINE_H
#define STILE_KERNEL_INLINE_H

#define I8_INLINE static inline __attribute__((always_inline))

/* What p points to is in memory and may be anything: the compiler, knowing that it was a vector, would take numbers out
 * of that one by one instead of loading them. */
#define I8_IN_MEMORY(p) __asm__ volatile("" : : "r"(p) : "memory")

#define UNROLL(n)           UNROLL_PRAGMA(GCC unroll n)
#define UNROLL_PRAGMA(text) _Pragma(#text)

#endif
