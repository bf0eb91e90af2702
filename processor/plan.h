/* A compiled definition: read-only, shared by all threads; state lives apart (processor.c).
 *
 * For each view a record passes: decode (only columns the plan reads) -> row program, in phases ->
 * sink: group and aggregate states, or a row of its own, or a message to a topic. When a row is
 * read, the states of all sources are merged, finished to values, and the final program makes
 * HAVING and the output columns.
 *
 * A phase of the row program: some steps, WHERE, then an operator that keeps state between records
 * and fills registers from it. Most views have none: their whole program is what stands behind the
 * phases.
 */
#ifndef KAPPA_PROCESSOR_PLAN_H
#define KAPPA_PROCESSOR_PLAN_H

#include "base/digest.h"
#include "base/err.h"
#include "base/partitioner.h"
#include "processor/expr.h"

#define PLAN_NONE UINT32_MAX

struct plan_column {
    const char *name;
    enum kappa_type type;
    bool used;        /* read by some view, or the event time: only these are decoded */
    bool hidden;      /* no part of SELECT * */
    int64_t modifier; /* of numeric(p, s): p << 8 | s; else 0 */
};

enum plan_format {
    PLAN_FORMAT_JSON,
    PLAN_FORMAT_CSV,
    PLAN_FORMAT_TSV,
    PLAN_FORMAT_RAW,
    PLAN_FORMAT_DEBEZIUM,
    PLAN_FORMAT_AVRO,
    PLAN_FORMAT_COUNT
};

/* What a record is besides its value. */
enum plan_meta_kind {
    PLAN_META_KEY,       /* record_key(): text */
    PLAN_META_OFFSET,    /* record_offset(): bigint */
    PLAN_META_PARTITION, /* record_partition(): integer */
    PLAN_META_TIMESTAMP, /* record_timestamp(): timestamptz */
    PLAN_META_HEADER     /* record_header('name'): text */
};

/* A hidden column of an input, behind those that are declared. */
struct plan_meta {
    enum plan_meta_kind kind;
    uint32_t column;
    const char *header; /* PLAN_META_HEADER */
};

struct plan_csv {
    char delimiter;
    char quote;             /* '\0': there are no quotes */
    bool any_fields;        /* missing fields are null, surplus ones ignored */
    struct kappa_text null; /* what an unquoted field is for null */
};

#define PLAN_PATH_MAX    8
#define PLAN_DEAD_SAMPLE 1000

/* A column that is also read from another field: rename='old=column, outer.inner=column'. */
struct plan_rename {
    uint32_t column;
    uint32_t depth; /* names in path */
    const char *path[PLAN_PATH_MAX];
};

/* A topic to read: CREATE TABLE ... WITH (topic=...). */
struct plan_input {
    const char *name;
    const char *topic;
    enum plan_format format;
    const struct plan_column *columns; /* those declared, then one per meta */
    uint32_t column_count;
    const struct plan_meta *metas;
    uint32_t meta_count;
    struct plan_csv csv;         /* csv, tsv */
    const char *avro_schema;     /* avro: of every record, or NULL: then */
    const char *avro_file;       /* whose text it is, or NULL: it stands in the definition */
    const char *schema_registry; /* the URL where schemas are asked for by number */
    bool keyed;                  /* the record's key is the text of key_column */
    uint32_t key_column;
    enum partitioner partitioner; /* with keyed: a record's partition is this function of its key */
    bool
        tombstones; /* with keyed: a record without value deletes the row of its key on the right side
                        of joins, and is no row anywhere else */
    const uint32_t *primary; /* PRIMARY KEY: columns; records are upserts and deletes of rows */
    uint32_t primary_count;
    const struct plan_rename *renames;
    uint32_t rename_count;
    /* The version fails at the record of a partition with which more than this are dead there. */
    bool dead_limited;
    bool dead_share; /* more than dead_ppm of 10^6 of the records taken, these counted as
                         PLAN_DEAD_SAMPLE at least; else more than dead_max */
    int64_t dead_max;
    uint32_t dead_ppm;
    uint32_t event_time;  /* column, or PLAN_NONE */
    int64_t watermark_us; /* bound on disorder, >= 0 */
    bool marked; /* the watermark is the largest mark less the bound; events do not move it */
    int64_t lateness_us;           /* windows stay open for this long behind the watermark, >= 0 */
    int64_t history_us;            /* of joins by time; INT64_MAX: for ever */
    bool late_kept;                /* rows that are late go to the late table, else only counted */
    int64_t timestamp_unit_us_num; /* a JSON number n in a timestamptz column is n * num / den us */
    int64_t timestamp_unit_us_den;
    bool one_partition; /* only right when the topic has one: sequence logic by another key */
};

enum plan_aggregate_kind {
    PLAN_COUNT_ROWS,     /* count(*) -> bigint */
    PLAN_COUNT,          /* count(x): x not null -> bigint */
    PLAN_COUNT_DISTINCT, /* -> bigint; exact */
    PLAN_SUM, /* integer, bigint -> bigint (error state when out of range); double -> double */
    PLAN_AVG, /* -> double */
    PLAN_MIN, /* type of the argument */
    PLAN_MAX,
    PLAN_VAR_POP, /* of whole numbers and doubles -> double */
    PLAN_VAR_SAMP,
    PLAN_STDDEV_POP,
    PLAN_STDDEV_SAMP,
    PLAN_COUNT_IF, /* of booleans -> bigint */
    PLAN_BOOL_AND, /* -> boolean */
    PLAN_BOOL_OR,
    PLAN_FIRST, /* type of the argument; by event time, then source and offset */
    PLAN_LAST,
    PLAN_MIN_BY, /* type of the argument, of the row where `by` is smallest */
    PLAN_MAX_BY,
    PLAN_PERCENTILE_CONT, /* double; the parameter is the fraction */
    PLAN_PERCENTILE_DISC, /* type of the argument; likewise */
    PLAN_MEDIAN,          /* percentile_cont of 0.5 */
    PLAN_MODE,
    PLAN_APPROX_PERCENTILE, /* double; the parameter is the fraction */
    PLAN_APPROX_DISTINCT,   /* -> bigint */
    PLAN_SUM_DISTINCT,      /* as sum and avg */
    PLAN_AVG_DISTINCT,
    PLAN_STRING_AGG,          /* text; the parameter is the delimiter; by source and offset */
    PLAN_ARRAY_AGG,           /* array of the argument, with nulls; by source and offset */
    PLAN_JSONB_AGG,           /* jsonb array, with nulls; by source and offset */
    PLAN_TOPK,                /* array of the argument; the parameter is how many */
    PLAN_STRING_AGG_DISTINCT, /* sorted */
    PLAN_TOP_ROWS,            /* the first rows by an order: no value, but rows of the view */
    PLAN_AGGREGATE_COUNT
};

struct plan_order {
    uint32_t reg; /* of the row program */
    bool descending;
};

/* WHERE row_number() OVER (PARTITION BY keys ORDER BY order) <= limit, as a group view: one group per
 * key, whose only aggregate keeps `limit` rows. */
struct plan_top {
    uint32_t limit;
    const struct plan_order *order;
    uint32_t order_count;
    const uint32_t *columns; /* registers of the row program, kept per row */
    uint32_t column_count;
    bool newest; /* of rows that are equal in the order the newest comes first, not the oldest */
};

struct plan_aggregate {
    enum plan_aggregate_kind kind;
    enum kappa_type argument_type; /* KAPPA_TYPE_NULL for count(*) */
    enum kappa_type result_type;
    uint32_t argument;       /* register of the row program, or PLAN_NONE */
    uint32_t filter;         /* boolean register of the row program, or PLAN_NONE */
    enum kappa_type by_type; /* of a second argument that varies by row; KAPPA_TYPE_NULL: none */
    uint32_t by;             /* its register; meaningless without by_type */
    struct kappa_value parameter; /* constant argument; type KAPPA_TYPE_NULL: none */
    const struct plan_top *top;   /* PLAN_TOP_ROWS */
};

#define PLAN_LABEL_AROUND 3 /* of a label, beside the name */

struct plan_output {
    const char *name;
    enum kappa_type type;
    uint32_t reg; /* register of the final program */
    /* "name": as JSON has it, where the name needs no escape; else NULL. What readers write for each
     * row. */
    const char *label;
    uint32_t label_len;
};

enum plan_view_kind {
    PLAN_APPEND, /* no GROUP BY: a row per record, keyed by (source, offset) */
    PLAN_GROUP,  /* GROUP BY, perhaps with a window; a query with aggregates and no GROUP BY has no
                    keys */
    PLAN_TOPIC   /* INSERT INTO without groups: a message per record; makes no table */
};

/* An operator between two phases. It sees the selected rows of one source in offset order, once
 * each, and fills registers that no step writes. */
enum plan_operator_kind {
    PLAN_OVER, /* functions over the rows of a key: PARTITION BY key ORDER BY event time */
    PLAN_LOOKUP /* a join within the topic: the newest row of the right side with this key, or (as_of)
                   the one that is valid at the row's time */
};

enum plan_over_kind { PLAN_OVER_LAG, PLAN_OVER_ROW_NUMBER, PLAN_OVER_AGGREGATE };

#define PLAN_UNBOUNDED INT64_MAX

/* Which rows of the key, counted back from the current one: in rows, or in us of event time. */
struct plan_frame {
    bool rows;
    int64_t start; /* >= end, or PLAN_UNBOUNDED */
    int64_t end;   /* >= 0; 0: the current row (and in time all rows at the same) */
    bool without_current;
};

/* One function of an operator: fills one register. What it is for a row is what SQL's function is over
 * the rows of its key that came up to this one, ordered by (time, offset). */
struct plan_over {
    enum plan_over_kind kind;
    uint32_t out;
    uint32_t value;                  /* LAG: index into the operator's values */
    uint32_t otherwise;              /* LAG: register of the default, or PLAN_NONE: null */
    int64_t n;                       /* LAG: rows back, >= 0 */
    struct plan_frame frame;         /* AGGREGATE */
    struct plan_aggregate aggregate; /* AGGREGATE: its registers are indexes into the values */
};

struct plan_operator {
    enum plan_operator_kind kind;
    uint32_t table;       /* its state: index of plan.tables */
    const uint32_t *keys; /* registers */
    uint32_t key_count;
    const uint32_t *values; /* registers that are kept: with each row, or of the right side */
    uint32_t value_count;
    /* PLAN_LOOKUP */
    uint32_t right_where;       /* which records are of the right side; PLAN_NONE: all */
    const uint32_t *right_keys; /* key_count */
    const uint32_t *outs;       /* registers written, per value */
    bool inner;                 /* rows without a match leave */
    bool as_of;                 /* the right side keeps the versions of a key by right_time */
    bool before;                /* ... of which one below left_time is looked for, else not above */
    uint32_t left_time;         /* registers of one type, a time */
    uint32_t right_time;
    int64_t history_us; /* versions that were replaced so long before the watermark go; INT64_MAX */
    /* PLAN_OVER */
    bool by_time; /* rows are ordered by event time; else by offset */
    const struct plan_over *overs;
    uint32_t over_count;
    int64_t keep_us;    /* rows at most so long before a later one matter to it, ... */
    uint32_t keep_rows; /* ... and so many */
};

struct plan_phase {
    uint32_t step_end; /* steps of the row program up to here, from where the last phase ended */
    uint32_t where;    /* boolean register: other rows leave; or PLAN_NONE */
    const struct plan_operator *op;
};

/* A topic to write: CREATE TABLE ... WITH (topic=...) that INSERT INTO names. */
struct plan_topic {
    const char *name;
    const char *topic;
    const char *format; /* "json", or "raw": the value is one column's text, or its bytes */
    const struct plan_column *columns;
    const bool *not_null; /* per column: rows with null there are dead */
    uint32_t column_count;
    uint32_t key;            /* column whose text is the message key, or PLAN_NONE: no key */
    uint32_t value;          /* raw: the column; json: PLAN_NONE */
    const uint32_t *headers; /* columns that become headers, not part of the value */
    uint32_t header_count;
    bool keep_headers; /* those of the record go before them */
    uint32_t time;     /* column that is the message's time, no part of the value; or PLAN_NONE */
    bool marks;        /* the sender writes marks into it (replayer/sender_marks.c) */
    int64_t idle_us;   /* that pass by partitions which are silent for so long; -1: by none */
};

/* Windows are [start, end). Tumble and hop windows start at k * slide + offset. */
enum plan_window_kind {
    PLAN_WINDOW_NONE,
    PLAN_WINDOW_TUMBLE,
    PLAN_WINDOW_HOP, /* overlap: rows are kept once, in panes; reading merges those of a window */
    PLAN_WINDOW_SESSION /* from the first event to the last one + gap */
};

enum plan_key_role {
    PLAN_KEY_COLUMN,       /* a group expression: encoded in the key */
    PLAN_KEY_WINDOW_START, /* derived from the window end in the key */
    PLAN_KEY_WINDOW_END
};

/* One expression of GROUP BY, in the order written. */
struct plan_key {
    enum plan_key_role role;
    const char *name; /* output name if it is selected plainly, else its text */
    enum kappa_type type;
    uint32_t reg;     /* register of the row program; PLAN_NONE for the window roles */
    int64_t modifier; /* of numeric(p, s), as in struct plan_column: keys do not keep the scale */
};

/* A table to make: CREATE MATERIALIZED VIEW. Or rows for a topic: INSERT INTO ... SELECT. */
struct plan_view {
    struct kappa_table_shape
        shape; /* name; windowed when GROUP BY holds window_start or window_end */
    enum plan_view_kind kind;
    uint32_t input;
    uint32_t rows; /* whose columns the row program reads: inputs[rows]; the input, or what a plugin
                        makes of it */
    bool numbered; /* a record may give several rows: keys of append rows end with their number */
    uint32_t topic; /* PLAN_TOPIC: index of plan.topics; then append_regs holds one register per
                       column of the topic, PLAN_NONE for those that stay null */
    /* PLAN_GROUP of windows behind INSERT INTO: its table is hidden, and a row becomes a message to
     * `topic` when its window is closed; then it goes. topic_outputs: per column of the topic the
     * output that it is, or PLAN_NONE. */
    bool emits;
    uint32_t table; /* emits: index of plan.tables; the others' is their own */
    const uint32_t *topic_outputs;
    enum plan_window_kind window;
    int64_t window_us; /* size of tumble and hop, gap of session; 0 when FROM is the plain input */
    int64_t slide_us;  /* from one window to the next; tumble: window_us, session: 0 */
    int64_t pane_us;   /* what is stored: gcd(slide, size); tumble: window_us, session: 0 */
    int64_t window_offset_us; /* windows start at k * slide + offset */
    int64_t retain_us;        /* rows go when watermark >= window end + retain; INT64_MAX: never */
    int64_t ttl_us;  /* plain groups go when watermark >= last event time + ttl; 0: never */
    bool final_only; /* readers see a window when it is closed in every source */

    /* Row program. Inputs: register c = column c of the input (unused ones stay unset), then
     * window_start, window_end (timestamptz; unset when window_us is 0), then what the operators
     * write. */
    struct expr_program row;
    const struct plan_phase *phases;
    uint32_t phase_count;
    uint32_t where; /* boolean register, behind all phases; or PLAN_NONE */
    const struct plan_key *keys;
    uint32_t key_count;
    const struct plan_aggregate *aggregates;
    uint32_t aggregate_count;

    const struct plan_top *top; /* PLAN_GROUP: rows are the first ones of each group; or NULL */
    bool
        upsert; /* over an input with a primary key: one row a key, the newest; a record that deletes
                    it, or does not pass WHERE, takes it away */

    /* Final program. Inputs for PLAN_GROUP: one register per key, in order, then one per aggregate;
     * with `top` instead of these one per column of it, and the row's number in its group.
     * For PLAN_APPEND: the row program computes the output columns (append_regs), which are stored,
     * and the inputs are those columns. */
    struct expr_program final;
    uint32_t having; /* boolean register of the final program, or PLAN_NONE */
    const struct plan_output *outputs;
    uint32_t output_count;
    const uint32_t *append_regs; /* PLAN_APPEND: register of the row program per stored column */
    uint32_t append_count;
};

/* CREATE VIEW over tables of this definition: computed when it is read, by serve/. */
struct plan_read_view {
    const char *name;
    const char *query; /* SELECT ..., as written */
    uint32_t place;    /* of the query: byte in plan.text */
};

/* Rows that code outside of SQL makes of an input's rows: FROM plugin('file.so', table) AS f(...). */
struct plan_plugin {
    const char *file; /* as written */
    uint32_t input;   /* whose rows it takes; all of its columns are decoded */
    uint32_t rows;    /* what it makes: inputs[rows], behind those that are topics */
    uint32_t table;   /* its state */
};

/* A text that lies beside the definition and is deployed with it: avro_schema_file. */
struct plan_file {
    const char *name;   /* as written: a path inside of the definition's folder */
    struct digest hash; /* of the content without blanks; part of plan.hash */
};

/* What the store keeps: the tables of the views, in their order, then the state of operators and the
 * windows that become messages. */
struct plan_table {
    struct kappa_table_shape shape;
    bool hidden; /* not read */
};

/* SET name = value: of the policy (policy.h). */
struct plan_setting {
    const char *name;
    const char *value; /* checked */
};

struct plan {
    struct arena memory; /* everything below */
    const char *text;    /* the definition as given */
    struct digest
        hash; /* of the parse tree without places and settings: blanks, comments and SET do
                            not change it; and of the files it names */
    const struct plan_setting *settings;
    uint32_t setting_count;
    const struct plan_input *inputs; /* topics; behind LIMIT_INPUTS: rows made by plugins */
    uint32_t input_count;
    const struct plan_view *views; /* those that make tables first */
    uint32_t view_count;           /* that make a table: table i is view i's */
    uint32_t pipeline_count;       /* all */
    const struct plan_topic *topics;
    uint32_t topic_count;
    const struct plan_plugin *plugins;
    uint32_t plugin_count;
    const struct plan_file *files; /* each name once */
    uint32_t file_count;
    const struct plan_table *tables;
    uint32_t table_count;
    const struct plan_read_view *read_views;
    uint32_t read_view_count;
};

/* "json", "csv"... */
const char *plan_format_name(enum plan_format format);

/* Compiles a definition. file: for messages. SQL errors come as
 *     features.sql:3:17: column "user_idd" does not exist
 *       SELECT user_idd, count(*)
 *              ^
 * with did-you-mean as the hint. */
int plan_compile(const char *file, const char *text, size_t len, struct plan **out,
                 struct err *err) must_check;

/* Where the compiler asks for the files that a definition names. */
struct plan_files {
    /* Text that stays until the compilation is over; NULL: *cause says why there is none. */
    const char *(*text)(void *ctx, const char *name, struct err *cause);
    void *ctx;
};

/* The same for a definition that may name files. Who has it as it was deployed: plan_object.h. */
int plan_compile_files(const char *file, const char *text, size_t len,
                       const struct plan_files *files, struct plan **out,
                       struct err *err) must_check;
void plan_free(struct plan *plan);

/* Which of the view's key columns, those of the window not counted, is the message key: then all that a
 * source has of a row is in one partition of the input. PLAN_NONE: none is. */
uint32_t plan_view_keyed(const struct plan *plan, const struct plan_view *view);

/* Of everything that decides what is stored at a cut: two plans with the same one make the same bytes of
 * the same records. Expressions over finished rows, HAVING, read-time views and settings are no part of
 * it, but for rows that leave as messages. In doubt it differs. Valid in this process only: evaluators
 * are known by their place (plan_state.c). */
struct digest plan_state_hash(const struct plan *plan);
/* Does some pipeline keep more of the records than rows and messages of their own: groups, windows,
 * joins, upserts, plugins? Then what it makes of a record depends on those before it. */
bool plan_is_stateful(const struct plan *plan);

/* May a version of `to` take windows over from one of `from`? REFUSED, with what is in the way: all tables
 * of both are groups of tumbling or hop windows by event time, under the same names, which keep the same
 * states, from inputs that are read alike; no hidden state, no marks; hops are not retained longer. What is
 * counted, and of which records, may differ, and so may messages of single records. */
int plan_windows_check(const struct plan *from, const struct plan *to, struct err *err) must_check;
/* The window end of table `view` that is the first to be recomputed when those touched from t on are, and
 * where that window starts. us. */
int64_t plan_first_window(const struct plan_view *view, int64_t t, int64_t *start);

/* Are equal stored bytes of two views equal rows? False when that is not certain (plan_alike.c). */
bool plan_view_alike(const struct plan_view *a, const struct plan_view *b);

#endif
