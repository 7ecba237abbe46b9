/* hardware.h - computers and their parts by name, from their data sheets.
 *
 * The data is data/hardware.csv, which names the source of each row; hardware_data.c is written from it by
 * tools/make-tables.py. A number that is not known is 0 and is never guessed. Rates are theoretical; what programs make
 * of them: efficiency.h.
 */
#ifndef STILE_PLAN_HARDWARE_H
#define STILE_PLAN_HARDWARE_H

#include <stddef.h>

enum { HARDWARE_SIZES_MAX = 4 };

struct hardware {
    const char *id;     /* "rtx5090" */
    const char *name;   /* "GeForce RTX 5090" */
    const char *vendor; /* "nvidia", "amd", "intel", "apple", ... */
    const char *kind; /* "discrete", "datacenter": a card in a host; "unified": processor and GPU share memory; "cpu" */
    double memory_gb[HARDWARE_SIZES_MAX]; /* as sold, GiB each, smallest first; 0 ends the list */
    double mem_bandwidth_gbs;             /* GB/s */
    double fp16_dense_tflops;             /* dense matrices, accumulated in 32 bit; a multiply-add is 2 */
    double int8_tops, fp8_tflops, fp4_tflops;
    double tdp_w;         /* of the part; Apple: the whole machine's maximum at the wall */
    double host_link_gbs; /* GB/s each way */
    double cores, base_ghz;
    const char *isa; /* of processors: which of stile's kernels they run; NULL: not known */
    double year;
    const char *source;
};

extern const struct hardware hardware_table[];
extern const size_t n_hardware_table;

/* By id, case ignored; NULL when there is none. */
const struct hardware *hardware_find(const char *id, size_t id_length);

#endif
