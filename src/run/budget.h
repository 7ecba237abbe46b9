/* budget.h - how much memory weights may take, and what follows from it.
 *
 * What this process may use is what is free (limits of control groups respected, the page cache counting as free) less a
 * margin for others, or less where the user says so. The KV cache, activations and what else a session needs come first;
 * where the model's file fits into the rest it is used as it is mapped, otherwise its weights are placed in tiers.
 */
#ifndef STILE_RUN_BUDGET_H
#define STILE_RUN_BUDGET_H

#include "plan/machine.h"
#include "plan/placement.h"
#include "run/loaded.h"
#include "run/tiers.h"

/* Places the weights for a session with these options (resolved) while this much memory is free. *placement is NULL
 * where all of it fits. MEMORY where the model cannot run at all, saying what it would need; ARGUMENT for options->place.
 */
int budget_place(struct placement **placement, const struct stile_model *model,
                 const struct stile_session_options *options, const struct machine_memory *memory,
                 struct stile_error *error);

/* What a session may use of the memory that is free. */
uint64_t budget_usable_bytes(const struct stile_session_options *options, const struct machine_memory *memory);

/* Left free for others of so much that is free. */
uint64_t budget_margin_bytes(uint64_t available_bytes);
/* To be called some times a second. Where less is free than should be, gives memory of weights back until a margin is free
 * again. As long as there is much more, takes some of what was given back again, if `again`. */
void budget_keep(struct tiers *tiers, const struct machine_memory *memory, bool again);

#endif
