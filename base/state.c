/* Table-driven state machines. Own header: state.h. */
#include "base/state.h"

#include <stdio.h>
#include <string.h>

bool state_may_move(const struct state_table *table, uint32_t from, uint32_t to)
{
    ASSERT_CMP(table->count, <=, 64);
    ASSERT_CMP(from, <, table->count);
    ASSERT_CMP(to, <, table->count);
    return (table->rows[from].next & STATE_BIT(to)) != 0;
}

void state_move(const struct state_table *table, uint32_t *now, uint32_t to)
{
    if (!state_may_move(table, *now, to)) {
        (void)fprintf(stderr, "%s: illegal move from %s to %s\n", table->name,
                      table->rows[*now].name, table->rows[to].name);
    }
    ASSERT(state_may_move(table, *now, to));
    *now = to;
}

const char *state_name(const struct state_table *table, uint32_t state)
{
    ASSERT_CMP(state, <, table->count);
    return table->rows[state].name;
}

uint32_t state_find(const struct state_table *table, const char *name)
{
    for (uint32_t i = 0; i < table->count; i++) {
        if (strcmp(table->rows[i].name, name) == 0) {
            return i;
        }
    }
    return table->count;
}
