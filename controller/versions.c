/* The life cycle as a table. Own header: versions.h.
 *
 *     planned --> replaying --> catching_up --> ready --> serving --> standby --> retired
 *                   ^    ^---------'                         ^           |
 *                   |                                        '- rollback-'
 *                   v
 *                 paused      from replaying, catching_up, ready and standby, and back there
 *
 * All moves; a test reads this list and compares it with the table:
 *
 *     planned      -> replaying failed aborted
 *     replaying    -> catching_up paused failed aborted
 *     catching_up  -> replaying ready paused failed aborted
 *     ready        -> serving paused failed aborted
 *     serving      -> standby failed
 *     standby      -> serving retired paused failed
 *     retired      ->
 *     paused       -> replaying catching_up ready standby retired failed aborted
 *     failed       -> aborted
 *     aborted      ->
 *
 * Who makes a move: worker opened (planned to replaying), positions (replaying to catching_up, and
 * back when the machine died and took unsealed files with it), `sealed` (catching_up to ready),
 * COMMIT of a swap (ready or standby to serving, serving to standby, an older standby to retired;
 * serving to failed when its worker could not go on), the standby time (standby to retired), a
 * worker that says it cannot go on (to failed), a person (paused and back, aborted, and standby to
 * retired on the way to a drop).
 */
#include "controller/versions.h"

#define TO(state) STATE_BIT(VERSION_##state)

static const struct state_row rows[] = {
    [VERSION_PLANNED] = {"planned", TO(REPLAYING) | TO(FAILED) | TO(ABORTED), false},
    [VERSION_REPLAYING] = {"replaying", TO(CATCHING_UP) | TO(PAUSED) | TO(FAILED) | TO(ABORTED),
                           false},
    [VERSION_CATCHING_UP] = {"catching_up",
                             TO(REPLAYING) | TO(READY) | TO(PAUSED) | TO(FAILED) | TO(ABORTED),
                             false},
    [VERSION_READY] = {"ready", TO(SERVING) | TO(PAUSED) | TO(FAILED) | TO(ABORTED), false},
    [VERSION_SERVING] = {"serving", TO(STANDBY) | TO(FAILED), false},
    [VERSION_STANDBY] = {"standby", TO(SERVING) | TO(RETIRED) | TO(PAUSED) | TO(FAILED), false},
    [VERSION_RETIRED] = {"retired", 0, true},
    [VERSION_PAUSED] = {"paused",
                        TO(REPLAYING) | TO(CATCHING_UP) | TO(READY) | TO(STANDBY) | TO(RETIRED) |
                            TO(FAILED) | TO(ABORTED),
                        false},
    [VERSION_FAILED] = {"failed", TO(ABORTED), true},
    [VERSION_ABORTED] = {"aborted", 0, true},
};

_Static_assert(array_len(rows) == VERSION_STATE_COUNT, "a row for each state");

const struct state_table version_states = {"version", rows, VERSION_STATE_COUNT};

static bool one_of(enum version_state state, uint64_t set)
{
    ASSERT_CMP(state, <, VERSION_STATE_COUNT);
    return (set & STATE_BIT(state)) != 0;
}

bool version_wants_worker(enum version_state state)
{
    return one_of(state, TO(PLANNED) | TO(REPLAYING) | TO(CATCHING_UP) | TO(READY) | TO(SERVING) |
                             TO(STANDBY));
}

bool version_is_sealed(enum version_state state)
{
    return one_of(state, TO(READY) | TO(SERVING) | TO(STANDBY));
}

bool version_is_candidate(enum version_state state)
{
    return one_of(state, TO(PLANNED) | TO(REPLAYING) | TO(CATCHING_UP) | TO(READY));
}

bool version_may_serve(enum version_state state)
{
    return state_may_move(&version_states, state, VERSION_SERVING);
}

bool version_is_live(enum version_state state)
{
    return version_wants_worker(state) || state == VERSION_PAUSED;
}

bool version_has_served(enum version_state state)
{
    return one_of(state, TO(SERVING) | TO(STANDBY) | TO(RETIRED));
}
