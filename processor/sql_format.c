/* How the records of an input are read. Own header: sql_format.h. */
#include "processor/sql_format.h"

#include "processor/avro_schema.h"
#include "processor/functions.h"

#include <string.h>

#define PPM_OF_PERCENT 10000

static const char *const option_names[SQL_FORMAT_OPTIONS] = {
    [SQL_FORMAT_FORMAT] = "format",
    [SQL_FORMAT_KEY] = "key",
    [SQL_FORMAT_PARTITIONER] = "partitioner",
    [SQL_FORMAT_TOMBSTONES] = "tombstones",
    [SQL_FORMAT_RENAME] = "rename",
    [SQL_FORMAT_DEAD_LIMIT] = "dead_limit",
    [SQL_FORMAT_DELIMITER] = "delimiter",
    [SQL_FORMAT_QUOTE] = "quote",
    [SQL_FORMAT_NULL] = "null",
    [SQL_FORMAT_FIELDS] = "fields",
    [SQL_FORMAT_AVRO_SCHEMA] = "avro_schema",
    [SQL_FORMAT_AVRO_SCHEMA_FILE] = "avro_schema_file",
    [SQL_FORMAT_REGISTRY] = "schema_registry",
};

void sql_format_options(struct sql_option *options)
{
    for (uint32_t i = 0; i < SQL_FORMAT_OPTIONS; i++) {
        options[i] = (struct sql_option){option_names[i], NULL, -1};
    }
}

/* ---- format */

static const char *const format_names[PLAN_FORMAT_COUNT] = {
    [PLAN_FORMAT_JSON] = "json", [PLAN_FORMAT_CSV] = "csv",           [PLAN_FORMAT_TSV] = "tsv",
    [PLAN_FORMAT_RAW] = "raw",   [PLAN_FORMAT_DEBEZIUM] = "debezium", [PLAN_FORMAT_AVRO] = "avro",
};

const char *plan_format_name(enum plan_format format)
{
    return format_names[format];
}

static int format_set(struct sql *sql, struct plan_input *input, const struct sql_option *option)
{
    input->format = PLAN_FORMAT_JSON;
    if (option->value == NULL) {
        return 0;
    }
    struct sql_guess guess = sql_guess_new(option->value);
    const char *names = "";
    for (uint32_t f = 0; f < PLAN_FORMAT_COUNT; f++) {
        if (strcmp(format_names[f], option->value) == 0) {
            input->format = (enum plan_format)f;
            return 0;
        }
        sql_guess_offer(&guess, format_names[f]);
        names = arena_printf(&sql->temp, "%s%s%s", names, f == 0 ? "" : ", ", format_names[f]);
    }
    int rc = sql_error(sql, option->place, "unknown format \"%.60s\"", option->value);
    sql_guess_hint(sql, &guess, arena_printf(&sql->temp, "formats: %s", names));
    return rc;
}

/* Refuses options that mean nothing in this format. */
static int options_fit(struct sql *sql, const struct plan_input *input,
                       const struct sql_option *options)
{
    static const struct {
        uint32_t option;
        uint32_t formats; /* bits */
        const char *where;
    } rows[] = {
        {SQL_FORMAT_DELIMITER, 1U << PLAN_FORMAT_CSV | 1U << PLAN_FORMAT_TSV, "csv and tsv"},
        {SQL_FORMAT_QUOTE, 1U << PLAN_FORMAT_CSV | 1U << PLAN_FORMAT_TSV, "csv and tsv"},
        {SQL_FORMAT_NULL, 1U << PLAN_FORMAT_CSV | 1U << PLAN_FORMAT_TSV, "csv and tsv"},
        {SQL_FORMAT_FIELDS, 1U << PLAN_FORMAT_CSV | 1U << PLAN_FORMAT_TSV, "csv and tsv"},
        {SQL_FORMAT_RENAME,
         1U << PLAN_FORMAT_JSON | 1U << PLAN_FORMAT_DEBEZIUM | 1U << PLAN_FORMAT_AVRO,
         "json, debezium and avro"},
        {SQL_FORMAT_TOMBSTONES,
         1U << PLAN_FORMAT_JSON | 1U << PLAN_FORMAT_CSV | 1U << PLAN_FORMAT_TSV |
             1U << PLAN_FORMAT_AVRO,
         "json, csv, tsv and avro"},
        {SQL_FORMAT_AVRO_SCHEMA, 1U << PLAN_FORMAT_AVRO, "avro"},
        {SQL_FORMAT_AVRO_SCHEMA_FILE, 1U << PLAN_FORMAT_AVRO, "avro"},
        {SQL_FORMAT_REGISTRY, 1U << PLAN_FORMAT_AVRO, "avro"},
    };

    for (size_t i = 0; i < array_len(rows); i++) {
        const struct sql_option *option = &options[rows[i].option];
        if (option->value != NULL && (rows[i].formats >> input->format & 1U) == 0) {
            int rc =
                sql_error(sql, option->place, "option \"%s\" is for the formats %s, not for %s",
                          option->name, rows[i].where, format_names[input->format]);
            err_hint(sql->err, "leave it out, or change format='%s'", format_names[input->format]);
            return rc;
        }
    }
    return 0;
}

/* ---- csv, tsv */

/* One byte that is no letter of a number or a line break; \t may be written as two. */
static int separator_set(struct sql *sql, const struct sql_option *option, char *out)
{
    const char *value = option->value;
    if (value == NULL) {
        return 0;
    }
    char byte = value[0];
    if (strcmp(value, "\\t") == 0) {
        byte = '\t';
    }
    bool one = strlen(value) == 1 || byte == '\t';
    if (!one || byte == '\n' || byte == '\r' || (unsigned char)byte >= 0x80) {
        int rc =
            sql_error(sql, option->place, "option \"%s\" is one ASCII character, not \"%.20s\"",
                      option->name, value);
        err_hint(sql->err, "for example %s",
                 strcmp(option->name, "quote") == 0 ? "'\"', or '' for no quotes"
                                                    : "',', ';', '|', or '\\t' for a tab");
        return rc;
    }
    *out = byte;
    return 0;
}

static int csv_set(struct sql *sql, struct plan_input *input, const struct sql_option *options)
{
    bool tsv = input->format == PLAN_FORMAT_TSV;
    struct plan_csv *csv = &input->csv;
    const struct sql_option *quote = &options[SQL_FORMAT_QUOTE];
    const struct sql_option *null = &options[SQL_FORMAT_NULL];
    const struct sql_option *fields = &options[SQL_FORMAT_FIELDS];
    *csv = (struct plan_csv){.delimiter = tsv ? '\t' : ',', .quote = tsv ? '\0' : '"'};
    if (quote->value != NULL && quote->value[0] == '\0') {
        csv->quote = '\0';
    } else if (separator_set(sql, quote, &csv->quote) != 0) {
        return -KE_SQL;
    }
    if (separator_set(sql, &options[SQL_FORMAT_DELIMITER], &csv->delimiter) != 0) {
        return -KE_SQL;
    }
    if (csv->quote == csv->delimiter) {
        return sql_error(sql, options[SQL_FORMAT_DELIMITER].place,
                         "delimiter and quote are the same character");
    }
    const char *text = null->value == NULL ? "" : null->value;
    csv->null.bytes = arena_strdup(&sql->plan->memory, text);
    csv->null.len = u32_from(strlen(text));
    if (fields->value != NULL && strcmp(fields->value, "any") != 0 &&
        strcmp(fields->value, "exact") != 0) {
        return sql_error(sql, fields->place, "option \"fields\" is 'exact' or 'any', not \"%.20s\"",
                         fields->value);
    }
    csv->any_fields = fields->value != NULL && strcmp(fields->value, "any") == 0;
    return 0;
}

static int raw_check(struct sql *sql, const struct plan_input *input,
                     const struct sql_option *option)
{
    if (input->column_count == 1) {
        return 0;
    }
    int rc = sql_error(sql, option->place,
                       "format \"raw\" is the whole value in one column, and \"%s\" has %u",
                       input->name, input->column_count);
    err_hint(sql->err, "what a record is besides its value are functions: record_key(), "
                       "record_timestamp()...");
    return rc;
}

/* ---- avro */

/* Every column must be a field: with one schema for all records it would be null forever. */
static int avro_columns(struct sql *sql, const struct plan_input *input,
                        const struct sql_option *option, const struct avro_type *record)
{
    for (uint32_t c = 0; c < input->column_count; c++) {
        const char *name = input->columns[c].name;
        struct sql_guess guess = sql_guess_new(name);
        bool found = false;
        for (uint32_t f = 0; f < record->count; f++) {
            found = found || strcmp(record->fields[f].name, name) == 0;
            sql_guess_offer(&guess, record->fields[f].name);
        }
        for (uint32_t i = 0; i < input->rename_count; i++) {
            found = found || input->renames[i].column == c;
        }
        if (!found) {
            int rc = sql_error(sql, option->place, "the Avro schema has no field \"%s\"", name);
            sql_guess_hint(sql, &guess, NULL);
            return rc;
        }
    }
    return 0;
}

static int avro_registry_set(struct sql *sql, struct plan_input *input,
                             const struct sql_option *registry)
{
    if (strncmp(registry->value, "http://", 7) != 0 &&
        strncmp(registry->value, "https://", 8) != 0) {
        return sql_error(sql, registry->place, "option \"schema_registry\" is no http URL");
    }
    input->schema_registry = arena_strdup(&sql->plan->memory, registry->value);
    return 0;
}

/* text: of the schema, that the option holds or names. */
static int avro_schema_set(struct sql *sql, struct plan_input *input,
                           const struct sql_option *option, const char *text)
{
    struct err cause = {.code = 0};
    struct avro_schema *schema = NULL;
    if (avro_schema_parse(text, strlen(text), &schema, &cause) != 0) {
        return sql_error(sql, option->place, "option \"%s\": %s", option->name, cause.text);
    }
    int rc = avro_columns(sql, input, option, avro_schema_root(schema));
    avro_schema_free(schema);
    input->avro_schema = arena_strdup(&sql->plan->memory, text);
    if (text != option->value) {
        input->avro_file = arena_strdup(&sql->plan->memory, option->value);
    }
    return rc;
}

static int avro_set(struct sql *sql, struct plan_input *input, const struct sql_option *options)
{
    static const uint32_t ways[] = {SQL_FORMAT_AVRO_SCHEMA, SQL_FORMAT_AVRO_SCHEMA_FILE,
                                    SQL_FORMAT_REGISTRY};
    const struct sql_option *given = NULL;
    uint32_t count = 0;
    for (size_t i = 0; i < array_len(ways); i++) {
        if (options[ways[i]].value != NULL) {
            given = &options[ways[i]];
            count++;
        }
    }
    if (count != 1) {
        int rc = sql_error(sql, options[SQL_FORMAT_FORMAT].place,
                           "format \"avro\" needs %s avro_schema, avro_schema_file or "
                           "schema_registry",
                           count == 0 ? "one of" : "only one of");
        err_hint(sql->err,
                 "avro_schema='{\"type\":\"record\"...}' and avro_schema_file='name.avsc' "
                 "are for bare records, schema_registry='http://host:8081' for those "
                 "framed with a number");
        return rc;
    }
    if (given == &options[SQL_FORMAT_REGISTRY]) {
        return avro_registry_set(sql, input, given);
    }
    const char *text =
        given == &options[SQL_FORMAT_AVRO_SCHEMA] ? given->value : sql_file_json(sql, given);
    return text == NULL ? -KE_SQL : avro_schema_set(sql, input, given, text);
}

/* ---- Columns by name */

static uint32_t column_find(struct sql *sql, const struct plan_input *input,
                            const struct sql_option *option, const char *name)
{
    struct sql_guess guess = sql_guess_new(name);
    for (uint32_t c = 0; c < input->column_count; c++) {
        if (strcmp(input->columns[c].name, name) == 0) {
            return c;
        }
        sql_guess_offer(&guess, input->columns[c].name);
    }
    (void)sql_error(sql, option->place, "option \"%s\": column \"%.60s\" does not exist",
                    option->name, name);
    sql_guess_hint(sql, &guess, NULL);
    return PLAN_NONE;
}

static int key_set(struct sql *sql, struct plan_input *input, const struct sql_option *option)
{
    if (option->value == NULL) {
        return 0;
    }
    uint32_t column = column_find(sql, input, option, option->value);
    if (column == PLAN_NONE) {
        return -KE_SQL;
    }
    enum kappa_type type = input->columns[column].type;
    if (type != KAPPA_TYPE_TEXT && !(type >= KAPPA_TYPE_SMALLINT && type <= KAPPA_TYPE_BIGINT)) {
        int rc = sql_error(sql, option->place, "option \"key\": column \"%s\" is of type %s",
                           option->value, function_type_name(type));
        err_hint(sql->err, "a key is a text or a whole number");
        return rc;
    }
    input->keyed = true;
    input->key_column = column;
    return 0;
}

/* Behind key_set. */
static int partitioner_set(struct sql *sql, struct plan_input *input,
                           const struct sql_option *option)
{
    if (option->value == NULL) {
        return 0;
    }
    for (int i = PARTITIONER_NONE + 1; i < PARTITIONER_COUNT; i++) {
        if (strcmp(option->value, partitioner_name((enum partitioner)i)) == 0) {
            input->partitioner = (enum partitioner)i;
        }
    }
    int rc = 0;
    if (input->partitioner == PARTITIONER_NONE) {
        rc = sql_error(sql, option->place,
                       "option \"partitioner\" is 'murmur2' or 'crc32', not \"%.40s\"",
                       option->value);
        err_hint(sql->err, "murmur2: Kafka's Java client and `kappa produce`; crc32: librdkafka's "
                           "consistent and consistent_random (its default)");
    } else if (!input->keyed) {
        rc = sql_error(sql, option->place,
                       "option \"partitioner\" says what the message key does, "
                       "and no column is it");
        err_hint(sql->err, "add key='column'");
    }
    return rc;
}

/* Behind key_set. */
static int tombstones_set(struct sql *sql, struct plan_input *input,
                          const struct sql_option *option)
{
    if (option->value == NULL) {
        return 0;
    }
    input->tombstones = strcmp(option->value, "delete") == 0;
    int rc = 0;
    if (!input->tombstones && strcmp(option->value, "dead") != 0) {
        rc = sql_error(sql, option->place,
                       "option \"tombstones\" is 'delete' or 'dead', not \"%.40s\"", option->value);
        err_hint(sql->err, "delete: a record without value deletes the row of its key on the right "
                           "side of joins; dead (the default): it is listed by `kappa dead`");
    } else if (input->primary_count > 0) {
        rc = sql_error(sql, option->place,
                       "option \"tombstones\": with a PRIMARY KEY they delete "
                       "rows as they are");
        err_hint(sql->err, "leave the option out");
    } else if (input->tombstones && !input->keyed) {
        rc = sql_error(sql, option->place,
                       "option \"tombstones\": a record without value has only its key, and no "
                       "column is it");
        err_hint(sql->err, "add key='column'");
    }
    return rc;
}

/* "old" or "outer.inner" into its names. */
static int path_read(struct sql *sql, const struct sql_option *option, const char *text, size_t len,
                     struct plan_rename *rename)
{
    for (size_t at = 0; at <= len;) {
        const char *dot = memchr(text + at, '.', len - at);
        size_t end = dot == NULL ? len : (size_t)(dot - text);
        if (end == at || rename->depth == PLAN_PATH_MAX) {
            int rc = sql_error(sql, option->place, "option \"rename\": \"%.*s\" names no field",
                               len > 60 ? 60 : (int)len, text);
            err_hint(sql->err,
                     "write field=column, or outer.inner=column for a field inside of an "
                     "object, at most %d levels",
                     PLAN_PATH_MAX);
            return rc;
        }
        rename->path[rename->depth++] = arena_strndup(&sql->plan->memory, text + at, end - at);
        at = end + 1;
    }
    return 0;
}

static const char *trimmed(const char *text, size_t *len)
{
    while (*len > 0 && strchr(" \t\n", text[0]) != NULL) {
        text++;
        *len -= 1;
    }
    while (*len > 0 && strchr(" \t\n", text[*len - 1]) != NULL) {
        *len -= 1;
    }
    return text;
}

/* One "old=new". */
static int rename_read(struct sql *sql, struct plan_input *input, const struct sql_option *option,
                       const char *text, size_t len, struct plan_rename *rename)
{
    const char *equals = memchr(text, '=', len);
    if (equals == NULL) {
        int rc = sql_error(sql, option->place, "option \"rename\": \"%.*s\" has no \"=\"",
                           len > 60 ? 60 : (int)len, text);
        err_hint(sql->err, "write rename='field=column, other=column2'");
        return rc;
    }
    size_t old_len = (size_t)(equals - text);
    size_t new_len = len - old_len - 1;
    const char *old = trimmed(text, &old_len);
    const char *new = trimmed(equals + 1, &new_len);
    rename->column = column_find(sql, input, option, arena_strndup(&sql->temp, new, new_len));
    return rename->column == PLAN_NONE ? -KE_SQL : path_read(sql, option, old, old_len, rename);
}

static int rename_set(struct sql *sql, struct plan_input *input, const struct sql_option *option)
{
    if (option->value == NULL) {
        return 0;
    }
    const char *text = option->value;
    size_t count = 1;
    for (const char *c = text; *c != '\0'; c++) {
        count += *c == ',';
    }
    if (count > LIMIT_COLUMNS) {
        return sql_error(sql, option->place, "option \"rename\": more than %d", LIMIT_COLUMNS);
    }
    struct plan_rename *renames = arena_calloc(&sql->plan->memory, count * sizeof *renames);
    for (size_t i = 0; i < count; i++) {
        size_t len = strcspn(text, ",");
        if (rename_read(sql, input, option, text, len, &renames[i]) != 0) {
            return -KE_SQL;
        }
        text += len + 1;
    }
    input->renames = renames;
    input->rename_count = (uint32_t)count;
    return 0;
}

/* ---- dead_limit: '100' or '1 %' */

static int dead_limit_set(struct sql *sql, struct plan_input *input,
                          const struct sql_option *option)
{
    if (option->value == NULL) {
        return 0;
    }
    size_t len = strlen(option->value);
    const char *text = trimmed(option->value, &len);
    bool share = len > 0 && text[len - 1] == '%';
    len -= share;
    double percent = 0;
    int64_t count = 0;
    struct kappa_text number = {text, (uint32_t)len};
    bool good =
        share ? expr_parse_double(number, &percent) == EXPR_OK && percent >= 0 && percent <= 100
              : expr_parse_bigint(number, &count) == EXPR_OK && count >= 0;
    if (!good) {
        int rc = sql_error(sql, option->place, "option \"dead_limit\": \"%.40s\" is no limit",
                           option->value);
        err_hint(sql->err, "write a number of records, '100', or a share of them, '1 %%'; both are "
                           "per partition");
        return rc;
    }
    if (share) {
        input->dead_ppm = (uint32_t)(percent * PPM_OF_PERCENT + 0.5);
    }
    input->dead_limited = true;
    input->dead_share = share;
    input->dead_max = count;
    return 0;
}

int sql_format(struct sql *sql, struct plan_input *input, const struct sql_option *options)
{
    if (format_set(sql, input, &options[SQL_FORMAT_FORMAT]) != 0 ||
        options_fit(sql, input, options) != 0 ||
        key_set(sql, input, &options[SQL_FORMAT_KEY]) != 0 ||
        partitioner_set(sql, input, &options[SQL_FORMAT_PARTITIONER]) != 0 ||
        tombstones_set(sql, input, &options[SQL_FORMAT_TOMBSTONES]) != 0 ||
        rename_set(sql, input, &options[SQL_FORMAT_RENAME]) != 0 ||
        dead_limit_set(sql, input, &options[SQL_FORMAT_DEAD_LIMIT]) != 0) {
        return -KE_SQL;
    }
    switch (input->format) {
    case PLAN_FORMAT_CSV:
    case PLAN_FORMAT_TSV:
        return csv_set(sql, input, options);
    case PLAN_FORMAT_RAW:
        return raw_check(sql, input, &options[SQL_FORMAT_FORMAT]);
    case PLAN_FORMAT_AVRO:
        return avro_set(sql, input, options);
    case PLAN_FORMAT_JSON:
    case PLAN_FORMAT_DEBEZIUM:
    case PLAN_FORMAT_COUNT:
        break;
    }
    return 0;
}
