/* Options of CREATE TABLE that say how its records are read: format, and what belongs to each one,
 * key, rename, dead_limit. For sql_table.c. */
#ifndef KAPPA_PROCESSOR_SQL_FORMAT_H
#define KAPPA_PROCESSOR_SQL_FORMAT_H

#include "processor/sql.h"

enum {
    SQL_FORMAT_FORMAT,
    SQL_FORMAT_KEY,
    SQL_FORMAT_PARTITIONER,
    SQL_FORMAT_TOMBSTONES,
    SQL_FORMAT_RENAME,
    SQL_FORMAT_DEAD_LIMIT,
    SQL_FORMAT_DELIMITER,
    SQL_FORMAT_QUOTE,
    SQL_FORMAT_NULL,
    SQL_FORMAT_FIELDS,
    SQL_FORMAT_AVRO_SCHEMA,
    SQL_FORMAT_AVRO_SCHEMA_FILE,
    SQL_FORMAT_REGISTRY,
    SQL_FORMAT_OPTIONS
};

/* Names the options, none of them given. */
void sql_format_options(struct sql_option *options);
/* The declared columns are known. */
int sql_format(struct sql *sql, struct plan_input *input, const struct sql_option *options);

/* ---- sql_file.c */

/* The text of the JSON document that the option names as a file, in sql->temp; notes it in the plan. */
const char *sql_file_json(struct sql *sql, const struct sql_option *option);
/* Makes the hash of the plan cover the files that it names. */
void sql_file_hash(struct plan *plan);

/* ---- sql_primary.c */

#define SQL_PRIMARY_MAX 16

struct sql_primary {
    const char *names[SQL_PRIMARY_MAX];
    uint32_t count;
    int place;
};

/* The elements of CREATE TABLE without PRIMARY KEY, which goes into *primary. A new reference. */
json_t *sql_primary_split(struct sql *sql, const json_t *elements, struct sql_primary *primary);
int sql_primary_set(struct sql *sql, struct plan_input *input, const struct sql_primary *primary);

/* ---- sql_meta.c: record_key() and its like are hidden columns of the input */

/* Adds those that the definition names somewhere, behind the declared columns. */
int sql_metas(struct sql *sql, uint32_t input, const char *event_time);

#endif
