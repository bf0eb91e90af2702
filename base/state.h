/* Table-driven state machines: a row per state with its name and the states it may move to. A move
 * that the table does not allow ends the process, since it is a bug. (After dqlite's sm.h.) */
#ifndef KAPPA_BASE_STATE_H
#define KAPPA_BASE_STATE_H

#include "base/base.h"

struct state_row {
    const char *name;
    uint64_t next; /* bit i: may move to state i */
    bool final;    /* nothing moves on by itself from here */
};

struct state_table {
    const char *name;
    const struct state_row *rows;
    uint32_t count; /* <= 64 */
};

#define STATE_BIT(state) (UINT64_C(1) << (state))

bool state_may_move(const struct state_table *table, uint32_t from, uint32_t to);
/* Asserts that the move is allowed, then makes it. */
void state_move(const struct state_table *table, uint32_t *now, uint32_t to);
const char *state_name(const struct state_table *table, uint32_t state);
/* Index of a name, or table->count when there is none. */
uint32_t state_find(const struct state_table *table, const char *name);

#endif
