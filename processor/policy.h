/* The policy of a version: when may it be swapped in without being asked? Settings as a definition gives
 * them, `SET swap.max_dead = 10;`, and as flags of a deploy override them. They are no part of the
 * definition's hash: rows do not depend on them. Pure; who checks them is controller/policy.c.
 *
 *     swap.mode        auto | manual      manual: only a person swaps it in
 *     swap.max_lag     100 | '2 s'        records, or age of the oldest record not applied yet
 *     swap.max_dead    10 | '0.1 %'       dead records of the version
 *     swap.max_changed 100 | '0.5 %'      rows of each table that differ from the serving version's
 *     swap.columns     score, rank        columns that may differ; a row that only one has differs in all
 *     swap.caught_up   '5 min'            so long it must have been caught up
 *     swap.standby     '1 h'              so long the version that it replaces stands by
 *     swap.verify      on | off           it must first be replayed once more, with the same digest
 *     swap.accept_gap  on | off           it may have started later than the serving version
 *     swap.in_group    shop               it is swapped in only together with the others that say so
 *     swap.who         'alice, ops'       of persons, only these swap it; they are known by kappa up --access
 *     swap.rollback    listed | anyone    who may roll it back: those of swap.who, or everybody
 *
 * and what is kept of it while it serves (controller/snapshot.c):
 *
 *     snapshot.every     '10 min' | off   a snapshot is made so often
 *     snapshot.keep      3                the newest so many of those without a name stay
 *     snapshot.max_bytes '20 GB'          all snapshots of the processor take no more than this */
#ifndef KAPPA_PROCESSOR_POLICY_H
#define KAPPA_PROCESSOR_POLICY_H

#include "base/err.h"

enum policy_setting {
    POLICY_MODE,
    POLICY_MAX_LAG,
    POLICY_MAX_DEAD,
    POLICY_MAX_CHANGED,
    POLICY_COLUMNS,
    POLICY_CAUGHT_UP,
    POLICY_STANDBY,
    POLICY_VERIFY,
    POLICY_ACCEPT_GAP,
    POLICY_GROUP,
    POLICY_WHO,
    POLICY_ROLLBACK,
    POLICY_SNAPSHOT_EVERY,
    POLICY_SNAPSHOT_KEEP,
    POLICY_SNAPSHOT_MAX_BYTES,
    POLICY_SETTINGS
};

#define POLICY_VALUE_LEN             1000 /* text of a value */
#define POLICY_SNAPSHOT_KEEP_DEFAULT 3

enum policy_unit {
    POLICY_NO_LIMIT,
    POLICY_COUNT, /* of records or rows */
    POLICY_SHARE, /* parts per million */
    POLICY_TIME   /* us */
};

struct policy_limit {
    enum policy_unit unit;
    int64_t value; /* >= 0 */
};

struct policy {
    bool manual;
    struct policy_limit max_lag; /* POLICY_COUNT or POLICY_TIME */
    struct policy_limit max_dead;
    struct policy_limit max_changed;
    const char *columns; /* as written, with commas; borrowed; NULL: any may differ */
    int64_t caught_up_us;
    int64_t standby_us; /* -1: as is usual */
    bool verify;
    bool accept_gap;
    const char *group;          /* borrowed; NULL: none */
    const char *who;            /* names, as written, with commas; borrowed; NULL: everybody */
    bool rollback_anyone;       /* not only they may roll it back */
    int64_t snapshot_every_us;  /* 0: never */
    int64_t snapshot_keep;      /* >= 1 */
    int64_t snapshot_max_bytes; /* 0: no limit */
};

/* "swap.mode"... */
const char *policy_name(enum policy_setting setting);
/* Which one it is, or POLICY_SETTINGS. */
enum policy_setting policy_find(const char *name);

/* Nothing is asked for. */
void policy_init(struct policy *policy);
/* INVALID: no such setting, or not a value for it. value is borrowed. */
int policy_set(struct policy *policy, const char *name, const char *value,
               struct err *err) must_check;

/* At most so many of all? A share of nothing is 0. */
bool policy_within(const struct policy_limit *limit, uint64_t count, uint64_t all);
/* May the column differ? */
bool policy_allows_column(const struct policy *policy, const char *column);
/* Does a list of swap.who name the person? */
bool policy_names(const char *list, const char *person);
/* Is a comparison with the serving version asked for? */
bool policy_compares(const struct policy *policy);

#endif
