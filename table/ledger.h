/* A temporary store of what was found in topics under the names of messages, in the order of these names:
 * on disk, since there may be more of it than memory holds.
 *
 *     ledger_open -> ledger_put... -> ledger_flush -> cursors -> ledger_close
 *
 * One thread. Nothing is synced: it is thrown away with the folder it lies in. */
#ifndef KAPPA_TABLE_LEDGER_H
#define KAPPA_TABLE_LEDGER_H

#include "base/digest.h"
#include "base/err.h"

struct ledger;

/* A name, and what the newest message with it and this key is. */
struct ledger_entry {
    uint32_t input;  /* number of the input partition, the caller's */
    int64_t offset;  /* of the record that caused it, >= 0 */
    uint32_t output; /* of the definition */
    uint32_t seq;
    uint32_t topic; /* where it was found, the caller's number */
    const uint8_t *key;
    uint32_t key_len; /* or KAPPA_NULL_LEN */

    uint32_t partition; /* of the topic */
    bool retracted;     /* it says that there is no such message */
    int64_t time_ms;
    struct digest content;
};

/* The folder is made. */
int ledger_open(const char *dir, struct ledger **out, struct err *err) must_check;
void ledger_close(struct ledger *ledger);
/* Takes the place of the one before with the same input, offset, output, seq, topic and key. */
int ledger_put(struct ledger *ledger, const struct ledger_entry *entry, struct err *err) must_check;
/* Everything put can be read. */
int ledger_flush(struct ledger *ledger, struct err *err) must_check;

/* The entries of one input, by offset, output, seq and topic; those of several keys in some order that is
 * always the same. Both return 1 with an entry, whose key is valid until the next call with this cursor, or
 * 0: there is none, or no more; *out is NULL when there is none at all. No puts meanwhile. */
struct ledger_cursor;
int ledger_cursor_open(struct ledger *ledger, uint32_t input, struct ledger_cursor **out,
                       struct ledger_entry *entry, struct err *err) must_check;
int ledger_cursor_next(struct ledger_cursor *cursor, struct ledger_entry *entry,
                       struct err *err) must_check;
void ledger_cursor_close(struct ledger_cursor *cursor);

#endif
