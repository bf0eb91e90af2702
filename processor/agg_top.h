/* Reading the first rows of a group: agg_top.c. */
#ifndef KAPPA_PROCESSOR_AGG_TOP_H
#define KAPPA_PROCESSOR_AGG_TOP_H

#include "processor/agg_operator.h"

/* state: of the aggregate's slot. */
uint32_t agg_top_count(const uint8_t *state);
/* The encoded columns of row i; borrowed from the state. */
struct kappa_text agg_top_columns(const uint8_t *state, uint32_t i);

#endif
