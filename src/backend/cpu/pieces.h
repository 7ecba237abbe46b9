/* pieces.h - products whose weights come piece by piece (cpu.h, struct cpu_weights). Private to the CPU backend. */
#ifndef STILE_BACKEND_CPU_PIECES_H
#define STILE_BACKEND_CPU_PIECES_H

#include "backend/cpu/cpu_private.h"

/* This thread's rows of each of the operation's pieces; where one never comes, the run has failed. `job` is that of the
 * whole matrix, but for its weights. */
void pieces_matmul(const struct context *context, const struct step *step, const struct kernel_matmul *job);
/* This thread's rows of one piece; false: without `wait`, it is not there yet; with it, the run has failed. */
bool pieces_run(const struct context *context, const struct kernel_matmul *job, size_t piece, bool wait);

#endif
