/* Searching the history index of a window table: every window of a key, in the order of its end.
 * Private to table/; bytes: format.h.
 *
 * Key columns end themselves (include/kappa/row.h), so no key of an entry begins with another key's
 * columns, and the entries of one key lie side by side. */
#ifndef KAPPA_TABLE_HISTORY_H
#define KAPPA_TABLE_HISTORY_H

#include "table/format.h"

/* key: source and key columns. 0 and the first window end >= from, MDB_NOTFOUND, or another code of
 * LMDB. */
int history_from(MDB_txn *txn, MDB_dbi index, const uint8_t *key, size_t key_len, int64_t from,
                 int64_t *window_end);
/* The last window end < below. */
int history_below(MDB_txn *txn, MDB_dbi index, const uint8_t *key, size_t key_len, int64_t below,
                  int64_t *window_end);

#endif
