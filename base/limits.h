/* Every bound of the system, with its reason. Reaching one is an error that names it. */
#ifndef KAPPA_BASE_LIMITS_H
#define KAPPA_BASE_LIMITS_H

#include <stdint.h>

#define LIMIT_NAME_LEN      128 /* processors, tables, topics: fits a path component and an LMDB key */
#define LIMIT_PATH_LEN      4000 /* of a data directory given to the library */
#define LIMIT_TABLE_KEY_LEN 511  /* LMDB's own bound on a key (compiled into Debian's library) */
#define LIMIT_GROUP_KEY_LEN 480  /* encoded group key: leaves room for source and window end */
#define LIMIT_SQL_LEN       (64 * 1024)  /* a definition; a person wrote it */
#define LIMIT_FILE_LEN      (256 * 1024) /* a file that a definition names, such as a schema */
#define LIMIT_SQL_DEPTH     200  /* nesting of expressions: recursion over the tree is bounded */
#define LIMIT_COLUMNS       256  /* of a table */
#define LIMIT_VIEWS         32   /* tables of one processor */
#define LIMIT_INPUTS        16   /* input topics of one processor */
#define LIMIT_SOURCES       4096 /* input partitions of one version; fits the u16 in a key */
#define LIMIT_SHARDS        64   /* threads and environments of one version */
#define LIMIT_BATCH_RECORDS 4096 /* one reader batch: decoded columns stay in the L2 cache */
#define LIMIT_BATCH_BYTES   (4 << 20)  /* unless one record is larger */
#define LIMIT_RECORD_BYTES  (16 << 20) /* key + value + headers of one record */
#define LIMIT_ROW_BYTES     (16 << 20) /* encoded row */
#define LIMIT_JOIN_KEYS     16         /* conditions of one join */
#define LIMIT_OVER_VALUES   64         /* values that OVER keeps of a row */
#define LIMIT_HISTORY_ROWS  4096       /* versions of a key that a join by time keeps ... */
#define LIMIT_HISTORY_BYTES (1 << 20)  /* ... and their bytes: all are written when one changes */
#define LIMIT_DISTINCT_BYTES                                                                       \
    (4 << 20) /* the values of one exact aggregate in one group and source; less beside others */
#define LIMIT_KEPT_TEXT_BYTES  (1 << 20) /* a text that min, max, first... keep */
#define LIMIT_KEPT_TEXTS_BYTES (4 << 20) /* all of them in one row */
#define LIMIT_MESSAGE_BYTES    (1 << 20) /* one line between controller and worker */
#define LIMIT_JSON_DEPTH       64        /* nesting of records and API bodies */
#define LIMIT_HTTP_BODY_BYTES  (8 << 20) /* one request; larger loads go in several */
#define LIMIT_PARTITIONS       1024      /* of a topic of the embedded log */

_Static_assert(LIMIT_GROUP_KEY_LEN + 2 + 8 <= LIMIT_TABLE_KEY_LEN, "a row key fits LMDB");
_Static_assert(LIMIT_SOURCES <= UINT16_MAX, "a source fits its two bytes");

#endif
