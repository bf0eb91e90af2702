/* Values as text and as JSON. Own header: inner.h and include/kappa/reader.h. */
#include "library/inner.h"

#include "processor/value_text.h"

#include <string.h>

static int64_t give(const struct buf *text, char *buffer, size_t size)
{
    if (size > 0) {
        size_t fits = text->len < size ? text->len : size - 1;
        memcpy(buffer, buf_text(text), fits);
        buffer[fits] = '\0';
    }
    return i64_from(text->len);
}

static int64_t print(const struct kappa_value *value, bool json, char *buffer, size_t size)
{
    if (value == NULL || !library_value_is_sound(value) || (buffer == NULL && size > 0)) {
        return -KE_INVALID;
    }
    struct buf text = {0};
    bool null = value->is_null || value->type == KAPPA_TYPE_NULL;
    if (json) {
        const struct kappa_value none = {.is_null = true};
        value_json(&text, null ? &none : value);
    } else if (!null) {
        value_text(&text, value);
    }
    int64_t len = give(&text, buffer, size);
    buf_free(&text);
    return len;
}

int64_t kappa_value_text(const struct kappa_value *value, char *buffer, size_t size)
{
    return print(value, false, buffer, size);
}

int64_t kappa_value_json(const struct kappa_value *value, char *buffer, size_t size)
{
    return print(value, true, buffer, size);
}
