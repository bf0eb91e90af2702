/* The life cycle of a version: its states, the moves between them, and what each state asks for.
 *
 * Pure: a table and questions about it. The diagram is at the head of versions.c. */
#ifndef KAPPA_CONTROLLER_VERSIONS_H
#define KAPPA_CONTROLLER_VERSIONS_H

#include "base/state.h"

enum version_state {
    VERSION_PLANNED,     /* in the catalog, its worker has not opened yet */
    VERSION_REPLAYING,   /* behind the target frozen at the deploy */
    VERSION_CATCHING_UP, /* past the target, behind the live end */
    VERSION_READY,       /* caught up and sealed: may be swapped in */
    VERSION_SERVING,     /* the pointer names it */
    VERSION_STANDBY,     /* was serving, goes on consuming: may be swapped back in */
    VERSION_RETIRED,     /* its standby time is over; only its files are left */
    VERSION_PAUSED,      /* a person stopped it; goes back where it was */
    VERSION_FAILED,      /* cannot go on, with the reason */
    VERSION_ABORTED,     /* a person gave it up; its files are gone */
    VERSION_STATE_COUNT
};

/* Rows in the order of the enum. */
extern const struct state_table version_states;

/* A process consumes the log for it. */
bool version_wants_worker(enum version_state state);
/* Its environments are synced: they survive a crash of the machine. */
bool version_is_sealed(enum version_state state);
/* On its way to its first swap. */
bool version_is_candidate(enum version_state state);
/* May a swap make it the serving one? */
bool version_may_serve(enum version_state state);
/* Still in play: the same definition need not be deployed again. */
bool version_is_live(enum version_state state);
/* Did it ever serve? */
bool version_has_served(enum version_state state);

#endif
