/* The definition that `kappa rekey` deploys. */
#ifndef KAPPA_CLI_REKEY_H
#define KAPPA_CLI_REKEY_H

#include "base/buf.h"
#include "base/err.h"

/* The header of each message that says which topic its record came from. */
#define REKEY_FROM "kappa-from"

struct rekey {
    const char *const *topics;
    int topic_count;
    const char
        *key; /* "user_id", or "user.id": id inside of the object user; NULL: the record's key */
    const char *into;
    const char *time;      /* likewise: whose time the messages get; NULL: the record's */
    const char *time_unit; /* what its numbers count: s, ms, us, ns; NULL: ms */
    bool marks;
    const char *idle; /* a duration as SQL takes it; NULL: none */
};

/* Appends SQL. INVALID when it cannot be. Pure. */
int rekey_definition(const struct rekey *rekey, struct buf *out, struct err *err) must_check;

#endif
