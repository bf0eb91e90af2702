/* Bounds of a range, as the bytes that keys are sorted by. Own header: reader_inner.h. A bound is the
 * equal columns, then what the next column begins with. */
#include "processor/key_codec.h"
#include "serve/reader_inner.h"

#include <string.h>

#define TAG_VALUE 1 /* in front of every value that is not null */
#define TAG_NULL  2 /* behind them */

void reader_bounds_init(struct reader_bounds *bounds)
{
    arena_init(&bounds->memory);
    bounds->range = (struct reader_range){.window_least = INT64_MIN,
                                          .window_most = INT64_MAX,
                                          .keys = bounds->keys,
                                          .low = bounds->low,
                                          .high = bounds->high};
}

void reader_bounds_free(struct reader_bounds *bounds)
{
    arena_free(&bounds->memory);
}

const struct plan_key *reader_key_column(const struct plan_view *view, uint32_t i)
{
    for (uint32_t k = 0; k < view->key_count; k++) {
        if (view->keys[k].role == PLAN_KEY_COLUMN && i-- == 0) {
            return &view->keys[k];
        }
    }
    return NULL;
}

/* The equal columns, and a value or a tag behind them. */
static int put_bound(const struct reader_bounds *bounds, const struct kappa_value *value,
                     uint8_t tag, uint8_t *bytes, size_t *len, struct err *err)
{
    uint8_t *at = bytes;
    const uint8_t *end = bytes + LIMIT_GROUP_KEY_LEN;
    for (uint32_t i = 0; i < bounds->range.key_count && at != NULL; i++) {
        at = key_put_value(at, end, &bounds->keys[i]);
    }
    if (value != NULL && value->is_null) {
        return err_set(err, KE_INVALID, "a bound may not be null");
    }
    if (at != NULL && value != NULL) {
        at = key_put_value(at, end, value);
    } else if (at != NULL) {
        *at++ = tag; /* there is room: columns leave some behind LIMIT_GROUP_KEY_LEN */
    }
    if (at == NULL || at > end) {
        return err_set(err, KE_INVALID, "a bound is longer than %d bytes, which no key is",
                       LIMIT_GROUP_KEY_LEN);
    }
    *len = (size_t)(at - bytes);
    return 0;
}

/* [prefix, the first text that does not begin with it). */
static int put_prefix(const struct plan_view *view, struct reader_bounds *bounds,
                      const struct kappa_text *prefix, struct err *err)
{
    const struct plan_key *key = reader_key_column(view, bounds->range.key_count);
    if (key == NULL || (key->type != KAPPA_TYPE_TEXT && key->type != KAPPA_TYPE_BYTEA)) {
        return err_set(err, KE_INVALID, "%s of table %s is no text: it has no prefix",
                       key != NULL ? key->name : "what stands behind the key", view->shape.name);
    }
    const struct kappa_value value = {.type = key->type, .s = *prefix};
    size_t len = 0;
    int rc = put_bound(bounds, &value, 0, bounds->low, &len, err);
    if (rc != 0) {
        return rc;
    }
    len -= 2; /* the end mark of the text */
    bounds->range.low_len = len;
    while (bounds->low[len - 1] == 0xFF) {
        len--; /* the tag in front is small */
    }
    memcpy(bounds->high, bounds->low, len);
    bounds->high[len - 1]++;
    bounds->range.high_len = len;
    return 0;
}

int reader_bounds_set(const struct plan_view *view, struct reader_bounds *bounds,
                      const struct kappa_value *from, const struct kappa_value *below,
                      const struct kappa_text *prefix, struct err *err)
{
    if (prefix != NULL && (from != NULL || below != NULL)) {
        return err_set(err, KE_INVALID, "a prefix stands alone: not beside from or below");
    }
    if (prefix != NULL) {
        return put_prefix(view, bounds, prefix, err);
    }
    if (from == NULL && below == NULL) {
        return 0;
    }
    int rc = put_bound(bounds, from, TAG_VALUE, bounds->low, &bounds->range.low_len, err);
    if (rc == 0) {
        rc = put_bound(bounds, below, TAG_NULL, bounds->high, &bounds->range.high_len, err);
    }
    return rc;
}
