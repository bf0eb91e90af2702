/* The catalog: processors, versions, the serving pointer and receipts, in DATA/catalog (LMDB).
 *
 * One process writes (the controller); any process reads. Objects are JSON texts, so that they grow
 * fields without a change of format; the serving pointer is a small fixed record, since every read
 * asks for it.
 *
 * Keys: "p/<processor>" object; "v/<processor>/<%010u version>" object; "r/<processor>/<%010llu
 * epoch>" receipt; "s/<table>" struct catalog_pointer; "x/<name>" setting.
 */
#ifndef KAPPA_TABLE_CATALOG_H
#define KAPPA_TABLE_CATALOG_H

#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"

struct catalog;

#define CATALOG_SHARE_ALL 10000

/* A share of keys is read from a candidate (serve/reader_canary.c). */
struct catalog_canary {
    uint32_t version; /* 0: there is none; the other members are 0 then */
    uint16_t share;   /* 1 to CATALOG_SHARE_ALL */
    bool shadow;      /* both are read, and the serving version answers */
};

/* Which version a table is read from. */
struct catalog_pointer {
    char processor[LIMIT_NAME_LEN + 1];
    uint32_t version; /* >= 1 */
    uint64_t epoch;   /* of the processor: +1 at every swap, first swap 1 */
    struct catalog_canary canary;
};

bool catalog_canary_same(const struct catalog_canary *a, const struct catalog_canary *b);
/* Do both name one version, as of one swap, with the same canary? */
bool catalog_pointer_same(const struct catalog_pointer *a, const struct catalog_pointer *b);

/* dir: DATA/catalog. writable: made when missing. A read-only open of a missing catalog is
 * NOT_FOUND. */
int catalog_open(const char *dir, bool writable, struct catalog **out, struct err *err) must_check;
void catalog_close(struct catalog *catalog);

/* Reading: each call is one snapshot. JSON results are new references. Thread-safe. */
int catalog_pointer_get(struct catalog *catalog, const char *table, struct catalog_pointer *out,
                        struct err *err) must_check;
/* The same, where it is no error that there is none: 1, 0 (then err stays as it is, and *out is zeros),
 * negative. */
int catalog_pointer_find(struct catalog *catalog, const char *table, struct catalog_pointer *out,
                         struct err *err) must_check;
/* All objects whose key starts with the prefix, as an array of {"key","value"} in key order. */
int catalog_list(struct catalog *catalog, const char *prefix, json_t **out,
                 struct err *err) must_check;
int catalog_get(struct catalog *catalog, const char *key, json_t **out, struct err *err) must_check;

/* Writing: one transaction at a time, synced at commit. */
int catalog_begin(struct catalog *catalog, struct err *err) must_check;
int catalog_put(struct catalog *catalog, const char *key, const json_t *value,
                struct err *err) must_check;
int catalog_delete(struct catalog *catalog, const char *key, struct err *err) must_check;
int catalog_pointer_put(struct catalog *catalog, const char *table,
                        const struct catalog_pointer *pointer, struct err *err) must_check;
int catalog_pointer_delete(struct catalog *catalog, const char *table, struct err *err) must_check;
int catalog_commit(struct catalog *catalog, struct err *err) must_check;
void catalog_abort(struct catalog *catalog);

/* Keys, so that no caller spells them. text has LIMIT_NAME_LEN + 32 bytes. */
#define CATALOG_KEY_LEN (2 * LIMIT_NAME_LEN + 32)
void catalog_key_processor(char *text, const char *processor);
void catalog_key_version(char *text, const char *processor, uint32_t version);
void catalog_key_receipt(char *text, const char *processor, uint64_t epoch);

#endif
