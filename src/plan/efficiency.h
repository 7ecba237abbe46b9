/* efficiency.h - what programs make of the rates on a data sheet, by family of device.
 *
 * One table, with its sources: fitted to published measurements (data/published.csv, tools/fit-efficiency.py) where there
 * are any, and wide where there are few. GPUs and Apple's chips are those engines' figures, not stile's.
 */
#ifndef STILE_PLAN_EFFICIENCY_H
#define STILE_PLAN_EFFICIENCY_H

#include "plan/predict.h"

enum format_class {
    CLASS_FLOAT, /* F32, F16, BF16 */
    CLASS_BITS,  /* 4 to 8 bits */
    CLASS_FEW,   /* less than 4 */
    CLASS_FP4,   /* NVFP4 */
    CLASS_COUNT,
};
enum format_class format_class_of(enum format format);

struct efficiency {
    const char *family;
    struct plan_range read_share[CLASS_COUNT]; /* of the memory bandwidth, one token */
    struct plan_range macs_share[CLASS_COUNT]; /* of the dense 16-bit float rate, many tokens; 0: not known */
    struct plan_range op_s, mixture_op_s;      /* for each product and attention; of mixtures of experts */
    double decode_error, prefill_error;        /* what the formula leaves out, as a share */
    /* Power while decoding, as a share of the rated maximum. */
    struct plan_range power_share;
    double usable_share; /* of the memory, less ... */
    double kept_bytes;   /* ... what the system and others have */
    const char *source;
};

/* What is made of a processor's cycles: multiply-adds per core and cycle, many tokens. */
struct cycle_efficiency {
    const char *isa;
    struct plan_range integer_macs, float_macs;
    const char *source;
};

/* Of stile on a machine that was probed: what a probe does not measure. */
struct unmeasured {
    double pass_s;                           /* waking the threads */
    double logit_s;                          /* hashing a logit */
    double open_s, open_token_s, map_byte_s; /* as in struct plan_machine */
    /* A product of one token whose weights come from memory takes (memory^n + arithmetic^n)^(1/n), of what each takes
     * alone: they overlap, not quite. Memory, alone, gives at most memory_share of what plain reading makes of it. */
    double overlap, memory_share;
    double stream_share;                                 /* of a disk's pace that streaming weights makes of it */
    double alone_memory, alone_arithmetic;               /* as in struct plan_machine */
    double experts_missed, experts_vain, experts_late_s; /* the same */
    /* Of what is measured just now, against the probe (the exponent of their quotient): others who slow the memory down
     * mostly go on, that it is faster is mostly luck. */
    double slow_read_weight, fast_read_weight, work_weight;
    /* Rates are sure to twice their spread in the probe, and to: */
    double kind_spread;                              /* those that are not measured, where others like them are */
    double probe_spread;                             /* all, on another day; or ... */
    double pace_spread;                              /* ... where the pace is known, in the minute that follows */
    double disk_spread;                              /* the same of disks */
    double decode_error, prefill_error, first_error; /* as in struct plan_machine */
    const char *source;
};
extern const struct unmeasured unmeasured;

/* kind and vendor as in struct hardware; never NULL. */
const struct efficiency *efficiency_of(const char *kind, const char *vendor);
/* NULL when nobody measured it. */
const struct cycle_efficiency *cycle_efficiency_of(const char *isa);

#endif
