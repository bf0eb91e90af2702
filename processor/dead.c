/* Records that could not be processed. Own header: dead.h. */
#include "processor/dead.h"

#include <stdlib.h>
#include <string.h>

struct dead_record {
    int64_t offset;
    const char *reason;
    const uint8_t *value;
    uint32_t value_len;
    uint32_t source;
    uint32_t view;
};

void dead_open(struct dead_list *list)
{
    *list = (struct dead_list){0};
    arena_init(&list->memory);
}

void dead_close(struct dead_list *list)
{
    arena_free(&list->memory);
    free(list->records);
    *list = (struct dead_list){0};
}

void dead_add(struct dead_list *list, uint32_t source, uint32_t view,
              const struct kappa_record *record, const char *reason)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        list->records = xrealloc(list->records, list->capacity * sizeof *list->records);
    }
    uint32_t len = record->value_len == KAPPA_NULL_LEN ? 0 : record->value_len;
    uint8_t *value = arena_alloc(&list->memory, len);
    if (len > 0) {
        memcpy(value, record->value, len);
    }
    list->records[list->count++] = (struct dead_record){
        .offset = record->offset,
        .reason = arena_strdup(&list->memory, reason),
        .value = value,
        .value_len = len,
        .source = source,
        .view = view,
    };
    list->bytes += sizeof *list->records + len + strlen(reason);
}

int dead_flush(const struct dead_list *list, kappa_keep_fn keep, void *ctx, struct err *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct dead_record *dead = &list->records[i];
        int rc = keep(ctx, dead->source, dead->offset, dead->view, dead->reason, dead->value,
                      dead->value_len, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* Offsets ascend. */
static uint32_t find_record(const struct kappa_record *records, uint32_t count, int64_t offset)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (records[middle].offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && records[low].offset == offset ? low : count;
}

void dead_count(const struct dead_list *list, size_t first, const struct kappa_record *records,
                uint32_t count, uint32_t *at)
{
    memset(at, 0, count * sizeof *at);
    for (size_t i = first; i < list->count; i++) {
        uint32_t record = find_record(records, count, list->records[i].offset);
        if (record < count) {
            at[record]++;
        }
    }
    for (uint32_t i = 1; i < count; i++) {
        at[i] += at[i - 1];
    }
}

const char *dead_reason(const struct dead_list *list, int64_t offset)
{
    const char *reason = "";
    for (size_t i = 0; i < list->count; i++) {
        reason = list->records[i].offset == offset ? list->records[i].reason : reason;
    }
    return reason;
}

void dead_clear(struct dead_list *list)
{
    arena_reset(&list->memory);
    list->count = 0;
    list->bytes = 0;
}
