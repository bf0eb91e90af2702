/* kappa export: labels in, the same labels with the values of tables as of their times out.
 *
 *     export_labels_open (header)  -> export_tables_find (versions, plans, columns, cuts)
 *     -> export_pass_run for each version of a processor: labels are read, the log is replayed, rows are
 *        kept in a file (export_pass.c)
 *     -> export_write: the labels are read again, and joined with the rows of all passes
 *     -> export_free
 *
 * Everything temporary lies in a scratch folder below DATA/exports. */
#ifndef KAPPA_CLI_EXPORT_H
#define KAPPA_CLI_EXPORT_H

#include "base/json.h"
#include "base/limits.h"
#include "base/scratch.h"
#include "cli/cmd.h"
#include "cli/csv.h"
#include "replayer/tap_replay.h"

#define EXPORT_TABLES_MAX 64
#define EXPORT_NONE       UINT64_MAX

struct export_column {
    char *name;      /* in the file; owned */
    uint32_t output; /* of the view */
};

struct export_table {
    const char *asked; /* TABLE or TABLE@N; borrowed from the command line */
    char *prefix;      /* in front of names that are not the only ones; owned */
    uint32_t pass;
    uint32_t view;
    const struct plan_view *plan;
    uint32_t fields[LIMIT_COLUMNS]; /* per key column: the labels' column */
    uint32_t field_count;
    struct export_column columns[LIMIT_COLUMNS];
    uint32_t column_count;
    uint64_t rows;    /* labels that have one */
    uint64_t refused; /* whose values cannot be read */
    struct err why;   /* the first of these */
};

/* A version that is replayed. */
struct export_pass {
    char processor[LIMIT_NAME_LEN + 1];
    uint32_t version;
    json_t *object;    /* of the catalog */
    json_t *committed; /* cut and digests when it began: reader_version_digest */
    struct plan *plan;
    uint32_t tables[EXPORT_TABLES_MAX]; /* of the export, in their order */
    uint32_t table_count;
    struct tap_done done;
    /* Rows that labels have, in a file that is mapped: per label u8 table + 1, its columns (u8 null, value),
     * ..., u8 0. */
    uint64_t *at; /* per label, in the order of the file; EXPORT_NONE: no row */
    const uint8_t *rows;
    size_t rows_len;
};

struct export_job {
    const struct cli *cli;
    const char *labels; /* path */
    const char *time_column;
    const char *out; /* path */
    bool sqlite;     /* else CSV */
    bool newest;     /* windows: the newest of the key */
    char **names;    /* columns of the labels; owned */
    uint32_t name_count;
    uint32_t time_field;
    uint64_t count; /* of labels, from the first pass on */
    struct export_table *tables;
    uint32_t table_count;
    struct export_pass *passes;
    uint32_t pass_count;
    struct scratch *scratch;
    _Atomic bool *stop;
};

/* Reads the header of the labels. */
int export_labels_open(struct export_job *export, struct err *err) must_check;

/* The labels of a pass, sorted; rows[label]: its number in the file, from 0. */
struct export_labels {
    struct tap_labels tap;
    uint32_t *rows;
    int64_t *times;
    uint64_t *keys;
    struct buf bytes;
};

int export_labels_load(const struct export_job *export, const struct export_pass *pass,
                       struct export_labels *out, struct err *err) must_check;
void export_labels_free(struct export_labels *labels);
/* Which column of the labels; UINT32_MAX: none. */
uint32_t export_label_column(const struct export_job *export, const char *name);

/* One name in the file? SQLite does not tell letters of the two cases apart. */
bool export_name_same(const struct export_job *export, const char *a, const char *b);

int export_tables_find(struct export_job *export, struct err *err) must_check;

int export_pass_run(struct export_job *export, struct export_pass *pass,
                    struct err *err) must_check;
/* Decodes the rows of label `row`: values[] of all columns of all tables of the pass, in their order; null
 * where there is no row. Texts are borrowed from the pass. */
int export_pass_values(const struct export_job *export, const struct export_pass *pass,
                       uint64_t row, struct kappa_value *values, struct err *err) must_check;

/* {"rows", "tables", "processors"...}: what the values are. A new reference. */
json_t *export_metadata(const struct export_job *export);
/* Calls row for each label in the order of the file; values of all columns of all tables, in their order. */
int export_join(const struct export_job *export,
                int (*row)(void *ctx, const struct csv_field *label,
                           const struct kappa_value *values, struct err *err),
                void *ctx, struct err *err) must_check;
/* Makes the file, and what stands beside it; or nothing. */
int export_write(const struct export_job *export, struct err *err) must_check;
/* The file alone, under this name. */
int export_csv_make(const struct export_job *export, const char *path, struct err *err) must_check;
int export_sqlite_make(const struct export_job *export, const char *path,
                       struct err *err) must_check;

void export_free(struct export_job *export);

#endif
