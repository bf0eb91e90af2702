/* The format debezium: change events of a database, as JSON. Own header: decode_inside.h.
 *
 *     {"before": {...}, "after": {...}, "op": "c", ...}      or that as "payload" beside a "schema"
 *
 *  1. op c (created), r (read by a snapshot), u (updated): the row `after`, read as format json reads
 *     an object. op d: the row with the key of `before`, or of the record's key, is gone. op m is no
 *     change of a row and ignored, as are tombstones, which follow an op d.
 *  2. An input without PRIMARY KEY takes rows that only ever come new: c and r. There u and d are
 *     refused, because counting them as rows of their own would be wrong without a word. */
#include "processor/decode_json.h"

#include <string.h>

/* Tokens of the envelope's members; 0: it is not there (token 0 is the record's brace). */
struct envelope {
    uint32_t payload;
    uint32_t before;
    uint32_t after;
    uint32_t op;
};

static void note_member(const struct json_walk *walk, struct envelope *envelope, uint32_t name,
                        uint32_t value)
{
    struct kappa_text text = json_string(walk, name);
    uint32_t *members[] = {&envelope->payload, &envelope->before, &envelope->after, &envelope->op};
    static const char *const names[] = {"payload", "before", "after", "op"};
    for (size_t i = 0; i < array_len(names); i++) {
        if (text.len == strlen(names[i]) && memcmp(text.bytes, names[i], text.len) == 0) {
            *members[i] = value;
        }
    }
}

/* Checks the object at *k, which becomes the token behind it, and notes its members. */
static bool find_members(struct json_walk *walk, uint32_t *at, uint32_t depth,
                         struct envelope *envelope)
{
    uint32_t k = *at + 1;
    *envelope = (struct envelope){.op = 0};
    if (json_token(walk, k) == '}') {
        *at = k + 1;
        return true;
    }
    for (;;) {
        uint32_t name = k;
        if (json_token(walk, k) != '"') {
            return json_fail(walk, k, "expected a name in quotes");
        }
        if (json_token(walk, k + 1) != ':') {
            return json_fail(walk, k + 1, "expected ':' behind a name");
        }
        if (k + 3 >= walk->count) {
            return json_fail(walk, walk->count, "the object has no end");
        }
        k += 2;
        note_member(walk, envelope, name, k);
        uint8_t first = json_token(walk, k);
        if (first == '{' || first == '[' ? !json_check_nested(walk, &k, depth + 1)
                                         : !json_check_scalar(walk, k++)) {
            return false;
        }
        uint8_t end = json_token(walk, k++);
        if (end == '}') {
            *at = k;
            return true;
        }
        if (end != ',') {
            return json_fail(walk, k - 1, "expected ',' or '}'");
        }
    }
}

static bool is_null(const struct json_walk *walk, uint32_t token)
{
    return token == 0 || json_is_null(walk->text + walk->at[token]);
}

/* The columns of `before` or `after`. */
static bool take_row(struct json_decoder *d, uint32_t token, const char *name, uint32_t depth,
                     uint32_t row)
{
    if (token == 0 || json_token(&d->walk, token) != '{') {
        buf_printf(&d->base.reason, "the Debezium envelope has no object \"%s\"", name);
        return false;
    }
    return decode_json_columns(d, &token, row, depth);
}

/* Only the key columns of a deleted row matter. */
static void keep_key(struct decoder *d, uint32_t row)
{
    for (uint32_t c = 0; c < d->column_count; c++) {
        bool primary = false;
        for (uint32_t i = 0; i < d->input->primary_count; i++) {
            primary = primary || d->input->primary[i] == d->columns[c].index;
        }
        if (!primary) {
            d->columns[c].vec.state[row] = EXPR_NULL;
        }
    }
}

static enum decode_taken take_delete(struct json_decoder *d, const struct kappa_record *record,
                                     const struct envelope *envelope, uint32_t depth, uint32_t row)
{
    bool good = is_null(&d->walk, envelope->before)
                    ? decode_key_take(&d->base, record, row)
                    : take_row(d, envelope->before, "before", depth, row);
    if (!good) {
        return DECODE_REFUSED;
    }
    keep_key(&d->base, row);
    return DECODE_DELETE;
}

static enum decode_taken take_change(struct json_decoder *d, const struct kappa_record *record,
                                     const struct envelope *envelope, uint32_t depth, uint32_t row)
{
    struct kappa_text op = {"", 0};
    if (json_token(&d->walk, envelope->op) == '"') {
        op = json_string(&d->walk, envelope->op);
    }
    char letter = '\0';
    if (op.len == 1) {
        letter = op.bytes[0];
    }
    if (envelope->op == 0 || letter == '\0' || strchr("crudm", letter) == NULL) {
        buf_printf(&d->base.reason, envelope->op == 0
                                        ? "no Debezium envelope: it has no \"op\""
                                        : "the Debezium envelope's \"op\" is none of c, r, u, d");
        return DECODE_REFUSED;
    }
    if (letter == 'm') {
        return DECODE_IGNORED;
    }
    if (d->base.input->primary_count == 0 && (letter == 'u' || letter == 'd')) {
        buf_printf(&d->base.reason, "op \"%c\" changes a row, and table \"%s\" has no PRIMARY KEY",
                   letter, d->base.input->name);
        return DECODE_REFUSED;
    }
    if (letter == 'd') {
        return take_delete(d, record, envelope, depth, row);
    }
    return take_row(d, envelope->after, "after", depth, row) ? DECODE_ROW : DECODE_REFUSED;
}

static enum decode_taken take_debezium(struct decoder *base, const struct kappa_record *record,
                                       uint32_t row)
{
    struct json_decoder *d = (struct json_decoder *)base;
    struct json_walk *walk = &d->walk;
    struct envelope envelope;
    uint32_t k = 0;
    uint32_t depth = 1;
    if (!decode_json_begin(d, record)) {
        return DECODE_REFUSED;
    }
    if (!find_members(walk, &k, 0, &envelope) ||
        (k != walk->count && !json_fail(walk, k, "something follows the object"))) {
        (void)decode_json_fault(d);
        return DECODE_REFUSED;
    }
    if (envelope.op == 0 && envelope.payload != 0) {
        uint32_t payload = envelope.payload;
        if (is_null(walk, payload)) {
            return DECODE_IGNORED;
        }
        if (json_token(walk, payload) == '{' && !find_members(walk, &payload, 1, &envelope)) {
            (void)decode_json_fault(d);
            return DECODE_REFUSED;
        }
        depth = 2;
    }
    return take_change(d, record, &envelope, depth, row);
}

const struct decode_ops decode_debezium_ops = {
    .size = sizeof(struct json_decoder),
    .open = decode_json_open,
    .take = take_debezium,
    .close = decode_json_close,
};
