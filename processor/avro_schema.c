/* Avro schemas. Own header: avro_schema.h. */
#include "processor/avro_schema.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

#define FIXED_SIZE_MAX LIMIT_RECORD_BYTES

static const char *const kind_names[] = {
    [AVRO_NULL] = "null",   [AVRO_BOOLEAN] = "boolean", [AVRO_INT] = "int",
    [AVRO_LONG] = "long",   [AVRO_FLOAT] = "float",     [AVRO_DOUBLE] = "double",
    [AVRO_BYTES] = "bytes", [AVRO_STRING] = "string",   [AVRO_RECORD] = "record",
    [AVRO_ENUM] = "enum",   [AVRO_ARRAY] = "array",     [AVRO_MAP] = "map",
    [AVRO_UNION] = "union", [AVRO_FIXED] = "fixed",
};

struct named {
    struct named *next;
    const char *name; /* with its namespace */
    const struct avro_type *type;
};

struct avro_schema {
    struct arena memory;
    const struct avro_type *root;
    struct named *names;
};

struct reading {
    struct avro_schema *schema;
    struct err *err;
    uint32_t depth;
};

const char *avro_kind_name(enum avro_kind kind)
{
    return kind_names[kind];
}

static struct avro_type *type_new(struct reading *r, enum avro_kind kind)
{
    struct avro_type *type = arena_calloc(&r->schema->memory, sizeof *type);
    type->kind = kind;
    type->empty = kind == AVRO_NULL;
    return type;
}

static void *refuse(struct reading *r, const char *format, ...) printf_like(2, 3);

static void *refuse(struct reading *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct buf text = {0};
    buf_vprintf(&text, format, args);
    va_end(args);
    (void)err_set(r->err, KE_INVALID, "no Avro schema: %s", buf_text(&text));
    buf_free(&text);
    return NULL;
}

static const struct avro_type *read_type(struct reading *r, const json_t *node, const char *space);

/* ---- Names */

/* A name with its namespace; a dotted one has its own. */
static const char *full_name(struct reading *r, const char *name, const char *space)
{
    if (strchr(name, '.') != NULL || space[0] == '\0') {
        return arena_strdup(&r->schema->memory, name);
    }
    return arena_printf(&r->schema->memory, "%s.%s", space, name);
}

static const struct avro_type *find_name(const struct reading *r, const char *name)
{
    for (const struct named *named = r->schema->names; named != NULL; named = named->next) {
        if (strcmp(named->name, name) == 0) {
            return named->type;
        }
    }
    return NULL;
}

static const struct avro_type *read_reference(struct reading *r, const char *name,
                                              const char *space)
{
    for (size_t k = 0; k <= AVRO_STRING; k++) {
        if (strcmp(kind_names[k], name) == 0) {
            return type_new(r, (enum avro_kind)k);
        }
    }
    const struct avro_type *type = find_name(r, full_name(r, name, space));
    if (type == NULL) {
        type = find_name(r, name);
    }
    return type != NULL ? type : refuse(r, "there is no type \"%.80s\"", name);
}

/* Gives a named type its name. *space: becomes the namespace of what is inside. */
static bool name_type(struct reading *r, const json_t *node, const struct avro_type *type,
                      const char **space)
{
    const char *name = json_text(node, "name", "");
    if (name[0] == '\0') {
        (void)refuse(r, "a %s without a name", kind_names[type->kind]);
        return false;
    }
    const char *full = full_name(r, name, json_text(node, "namespace", *space));
    if (find_name(r, full) != NULL) {
        (void)refuse(r, "the type \"%.80s\" is there twice", full);
        return false;
    }
    struct named *named = arena_calloc(&r->schema->memory, sizeof *named);
    *named = (struct named){.next = r->schema->names, .name = full, .type = type};
    r->schema->names = named;
    const char *dot = strrchr(full, '.');
    *space = dot == NULL ? "" : arena_strndup(&r->schema->memory, full, (size_t)(dot - full));
    return true;
}

/* ---- Types */

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static const struct avro_type *read_union(struct reading *r, const json_t *node, const char *space)
{
    struct avro_type *type = type_new(r, AVRO_UNION);
    type->count = u32_from(json_array_size(node));
    type->types = arena_calloc(&r->schema->memory, (type->count + 1) * sizeof(void *));
    for (uint32_t i = 0; i < type->count; i++) {
        type->types[i] = read_type(r, json_array_get(node, i), space);
        if (type->types[i] == NULL) {
            return NULL;
        }
        if (type->types[i]->kind == AVRO_UNION) {
            return refuse(r, "a union directly in a union");
        }
    }
    return type->count > 0 ? type : refuse(r, "a union of nothing");
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static const struct avro_type *read_record(struct reading *r, const json_t *node, const char *space)
{
    struct avro_type *type = type_new(r, AVRO_RECORD);
    const json_t *fields = json_object_get(node, "fields");
    if (!name_type(r, node, type, &space)) {
        return NULL;
    }
    if (!json_is_array(fields)) {
        return refuse(r, "the record \"%.80s\" has no fields", json_text(node, "name", ""));
    }
    uint32_t count = u32_from(json_array_size(fields));
    bool empty = true;
    type->fields = arena_calloc(&r->schema->memory, (count + 1) * sizeof *type->fields);
    for (uint32_t i = 0; i < count; i++) {
        const json_t *field = json_array_get(fields, i);
        const char *name = json_text(field, "name", "");
        if (name[0] == '\0') {
            return refuse(r, "a field without a name in the record \"%.80s\"",
                          json_text(node, "name", ""));
        }
        type->fields[i].name = arena_strdup(&r->schema->memory, name);
        type->fields[i].type = read_type(r, json_object_get(field, "type"), space);
        if (type->fields[i].type == NULL) {
            return NULL;
        }
        empty = empty && type->fields[i].type->empty;
    }
    type->count = count;
    type->empty = empty;
    return type;
}

static const struct avro_type *read_enum(struct reading *r, const json_t *node, const char *space)
{
    struct avro_type *type = type_new(r, AVRO_ENUM);
    const json_t *symbols = json_object_get(node, "symbols");
    type->count = u32_from(json_array_size(symbols));
    type->symbols = arena_calloc(&r->schema->memory, (type->count + 1) * sizeof(char *));
    for (uint32_t i = 0; i < type->count; i++) {
        const char *symbol = json_string_value(json_array_get(symbols, i));
        if (symbol == NULL) {
            return refuse(r, "a symbol of an enum that is no text");
        }
        type->symbols[i] = arena_strdup(&r->schema->memory, symbol);
    }
    return name_type(r, node, type, &space) ? type : NULL;
}

static const struct avro_type *read_fixed(struct reading *r, const json_t *node, const char *space)
{
    struct avro_type *type = type_new(r, AVRO_FIXED);
    int64_t size = json_int(node, "size", -1);
    if (size < 0 || size > FIXED_SIZE_MAX) {
        return refuse(r, "a fixed of no sensible size");
    }
    type->size = (uint32_t)size;
    type->empty = size == 0;
    return name_type(r, node, type, &space) ? type : NULL;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static const struct avro_type *read_list(struct reading *r, const json_t *node, enum avro_kind kind,
                                         const char *space)
{
    struct avro_type *type = type_new(r, kind);
    const char *member = kind == AVRO_ARRAY ? "items" : "values";
    type->types = arena_calloc(&r->schema->memory, sizeof(void *));
    type->types[0] = read_type(r, json_object_get(node, member), space);
    return type->types[0] == NULL ? NULL : type;
}

static enum avro_logical logical_of(const json_t *node, const struct avro_type *type)
{
    static const struct {
        const char *name;
        enum avro_kind kind;
        enum avro_logical logical;
    } rows[] = {
        {"date", AVRO_INT, AVRO_DATE},
        {"timestamp-millis", AVRO_LONG, AVRO_TIMESTAMP_MILLIS},
        {"timestamp-micros", AVRO_LONG, AVRO_TIMESTAMP_MICROS},
        {"local-timestamp-millis", AVRO_LONG, AVRO_TIMESTAMP_MILLIS},
        {"local-timestamp-micros", AVRO_LONG, AVRO_TIMESTAMP_MICROS},
        {"uuid", AVRO_STRING, AVRO_UUID},
        {"decimal", AVRO_BYTES, AVRO_DECIMAL},
        {"decimal", AVRO_FIXED, AVRO_DECIMAL},
    };

    const char *name = json_text(node, "logicalType", "");
    for (size_t i = 0; i < array_len(rows); i++) {
        if (rows[i].kind == type->kind && strcmp(rows[i].name, name) == 0) {
            return rows[i].logical;
        }
    }
    return AVRO_PLAIN;
}

/* {"type": "long", "logicalType": ...}. */
static const struct avro_type *read_logical(struct reading *r, const json_t *node,
                                            const struct avro_type *plain)
{
    int64_t scale = json_int(node, "scale", 0);
    enum avro_logical logical = logical_of(node, plain);
    if (logical == AVRO_PLAIN || (logical == AVRO_DECIMAL && (scale < 0 || scale > 38))) {
        return plain;
    }
    struct avro_type *type = type_new(r, plain->kind);
    *type = *plain;
    type->logical = logical;
    type->scale = (uint32_t)scale;
    return type;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static const struct avro_type *read_object(struct reading *r, const json_t *node, const char *space)
{
    const json_t *inner = json_object_get(node, "type");
    const char *name = json_string_value(inner);
    if (name == NULL) { /* {"type": {...}} is what is inside */
        return inner == NULL ? refuse(r, "a type without \"type\"") : read_type(r, inner, space);
    }
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0) {
        return read_record(r, node, space);
    }
    if (strcmp(name, "enum") == 0) {
        return read_enum(r, node, space);
    }
    if (strcmp(name, "array") == 0) {
        return read_list(r, node, AVRO_ARRAY, space);
    }
    if (strcmp(name, "map") == 0) {
        return read_list(r, node, AVRO_MAP, space);
    }
    const struct avro_type *plain =
        strcmp(name, "fixed") == 0 ? read_fixed(r, node, space) : read_reference(r, name, space);
    return plain == NULL ? NULL : read_logical(r, node, plain);
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by LIMIT_JSON_DEPTH
static const struct avro_type *read_type(struct reading *r, const json_t *node, const char *space)
{
    if (r->depth == LIMIT_JSON_DEPTH) {
        return refuse(r, "nested more than %d levels deep", LIMIT_JSON_DEPTH);
    }
    r->depth++;
    const struct avro_type *type = NULL;
    if (json_is_string(node)) {
        type = read_reference(r, json_string_value(node), space);
    } else if (json_is_array(node)) {
        type = read_union(r, node, space);
    } else if (json_is_object(node)) {
        type = read_object(r, node, space);
    } else {
        type = refuse(r, "a type that is neither a name, an object nor a list");
    }
    r->depth--;
    return type;
}

/* The types that stand in other schemas first, so that their names are known. */
static const struct avro_type *read_document(struct reading *r, const json_t *tree)
{
    const json_t *schema = json_object_get(tree, "schema");
    const json_t *references = json_object_get(tree, "references");
    if (!json_is_array(references) || schema == NULL || json_object_get(tree, "type") != NULL) {
        return read_type(r, tree, "");
    }
    for (size_t i = 0; i < json_array_size(references); i++) {
        if (read_type(r, json_array_get(references, i), "") == NULL) {
            return NULL;
        }
    }
    return read_type(r, schema, "");
}

int avro_schema_parse(const char *text, size_t len, struct avro_schema **out, struct err *err)
{
    struct err cause = {.code = 0};
    json_t *tree = json_parse(text, len, &cause);
    if (tree == NULL) {
        return err_set(err, KE_INVALID, "no Avro schema: %s", cause.text);
    }
    struct avro_schema *schema = xcalloc(1, sizeof *schema);
    arena_init(&schema->memory);
    struct reading reading = {.schema = schema, .err = err};
    schema->root = read_document(&reading, tree);
    json_decref(tree);
    if (schema->root == NULL) {
        avro_schema_free(schema);
        return -KE_INVALID;
    }
    if (schema->root->kind != AVRO_RECORD) {
        const char *kind = kind_names[schema->root->kind];
        avro_schema_free(schema);
        return err_set(err, KE_INVALID, "the Avro schema is a %s, not a record", kind);
    }
    *out = schema;
    return 0;
}

const struct avro_type *avro_schema_root(const struct avro_schema *schema)
{
    return schema->root;
}

void avro_schema_free(struct avro_schema *schema)
{
    if (schema != NULL) {
        arena_free(&schema->memory);
        free(schema);
    }
}
