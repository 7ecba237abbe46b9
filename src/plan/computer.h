/* computer.h - a computer that one may not own, put together by name, as a machine that predictions can be made for.
 *
 *     rtx5090+ddr5-6000x2+nvme4      a card, the memory of its host (type, speed, channels), a disk
 *     m4-max-40:128                  a computer sold with several memory sizes: this one
 *     epyc-9554:384+nvme4            a processor with its memory
 *     rtx4090+epyc-9554              a card in it
 *     rtx3090+ddr4-3200x2:128        128 GB of host memory
 *
 * Devices come from hardware.h. What is not said is assumed, and said (assumed): a card's host has two channels of
 * DDR5-5600 with 64 GB, a disk is nvme4; of several memory sizes the smallest that the model fits in, see
 * computer_next_size. Rates are the data sheets', times the shares of efficiency.h.
 *
 * A card with host memory has two ways to use what lies there: the host computes in place, or it crosses the link to
 * the card. A prediction takes the faster, for each result.
 */
#ifndef STILE_PLAN_COMPUTER_H
#define STILE_PLAN_COMPUTER_H

#include "base/error.h"
#include "plan/efficiency.h"
#include "plan/hardware.h"

struct computer {
    char name[96];     /* with what was assumed */
    char assumed[64];  /* "+ddr5-5600x2:64+nvme4", or "" */
    bool size_assumed; /* of the memory: there are others */
    bool memory_given; /* of a processor, by size or by type */
    const struct hardware *device;
    double memory_gb;            /* of the device, GiB */
    double memory_bytes_per_s;   /* theoretical */
    const struct hardware *host; /* a card's host where it is one of the table, or NULL */
    double host_gb;              /* a card's host memory, GiB; 0: it is no card */
    double host_bytes_per_s;     /* theoretical */
    double disk_bytes_per_s;
};

/* Fails with ARGUMENT, naming the part that is not understood and the nearest that is. */
int computer_parse(struct computer *computer, const char *name, struct stile_error *error);
/* The same of a device of the table with all else assumed. */
void computer_of(struct computer *computer, const struct hardware *device);
/* The next larger memory that it is sold with; false when that was said, or there is none. */
bool computer_next_size(struct computer *computer);

/* How to predict. over_link: what lies in host memory crosses the link. The model decides what an operation costs. */
void computer_machine(const struct computer *computer, const struct hparams *hparams, bool over_link,
                      struct plan_machine *machine);

struct computer_plan {
    struct plan_machine machine; /* that the plan's tiers are of */
    struct plan plan;
    bool decode_over_link, prefill_over_link;
    const char *decode_bound, *prefill_bound; /* what they are bound by, in words */
    double rated_w;                           /* of the whole computer; 0: not known */
    struct plan_range power_w;                /* while decoding, modelled */
    struct plan_range token_j;                /* energy of a decoded token, modelled; 0: not known */
};
/* Takes a larger memory where the model does not fit and the size was assumed. */
void computer_predict(struct computer *computer, const struct plan_request *request, struct computer_plan *result);

#endif
