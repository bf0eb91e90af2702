/* Topic outputs: which version sends what. Own header: core_inside.h.
 *
 * The processor's object holds spans, oldest first:
 *
 *     "spans":[{"epoch":E,"version":N,"cut":{topic:[offset]},"before"?:{topic:[offset]}},...]
 *
 * The messages of version N are real from its cut up to the cut of the next span; the last span is
 * the serving version's. Where the next version reads a topic that was made again, that cut is one
 * of other records: "before" says then up to where the messages of the version before are real, in
 * its own topics. COMMIT of a swap adds a span in its transaction, so that there is one answer at
 * any time, also after a crash. The first version's span begins at its start positions, since nobody
 * has sent anything before it (deploy --outputs new: at the cut). Where the old version stands still
 * below the cut, what it has not made comes from the new one: its span begins there. The receipt says
 * where, as "outputs_from".
 *
 * The worker of the serving version is given all spans: it sends what earlier versions have left. It
 * reports the epoch of the span that it is at; those before are done, and the next swap drops them.
 *
 * How far the processor's messages are sent is told to the other versions: below that, their own are
 * not needed. What lies above may become real by a swap, and is kept. */
#include "controller/core_inside.h"

#include "base/digest.h"
#include "base/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPANS_MAX 16 /* whose messages are not all sent */

bool outputs_any(const struct core_version *version)
{
    return json_array_size(json_object_get(version->object, "outputs")) > 0;
}

static const json_t *spans_of(const struct core_processor *processor)
{
    return json_object_get(processor->object, "spans");
}

void outputs_mark(const struct core *core, const char *name, json_t *object)
{
    char text[160];
    int len = snprintf(text, sizeof text, "%s %lld %lld", name, (long long)core_now_ms(core),
                       (long long)core_now_us(core));
    struct digest mark = hash_content(text, (size_t)len);
    char hex[DIGEST_TEXT_LEN + 1];
    digest_format(mark, hex);
    hex[12] = '\0';
    object_set(object, "mark", json_string(hex));
}

/* ---- Cuts */

static json_t *offset_at(const json_t *cut, const char *topic, size_t partition)
{
    return json_array_get(json_object_get(cut, topic), partition);
}

/* How a cut names an input's topic: by its name, or so that one that was made again is another. */
static char *key_name(const json_t *input)
{
    return xstrdup(json_text(input, "topic", ""));
}

static char *key_identity(const json_t *input)
{
    return xasprintf("%s:%lld", json_text(input, "topic", ""),
                     (long long)json_int(input, "identity", 0));
}

/* A cut in the numbering of a version: one offset per source; 0 where it says nothing. */
static json_t *cut_of_version(const struct core_version *version, const json_t *cut,
                              char *(*key_of)(const json_t *input))
{
    json_t *offsets = json_array();
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(version->object, "inputs"), i, input) {
        char *key = key_of(input);
        for (int64_t p = 0; p < json_int(input, "partitions", 0); p++) {
            const json_t *offset = offset_at(cut, key, (size_t)p);
            json_int_t value = json_is_integer(offset) ? json_integer_value(offset) : 0;
            int rc = json_array_append_new(offsets, json_integer(i64_max(value, 0)));
            ASSERT(rc == 0);
        }
        free(key);
    }
    return offsets;
}

/* The offsets of a version's sources, by topic. */
static json_t *cut_by_topic(const struct core_version *version, const json_t *offsets,
                            char *(*key_of)(const json_t *input))
{
    json_t *cut = json_object();
    size_t source = 0;
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(version->object, "inputs"), i, input) {
        json_t *array = json_array();
        for (int64_t p = 0; p < json_int(input, "partitions", 0); p++) {
            int rc = json_array_append(array, json_array_get(offsets, source++));
            ASSERT(rc == 0);
        }
        char *key = key_of(input);
        object_set(cut, key, array);
        free(key);
    }
    return cut;
}

/* ---- Topics that not all versions read
 *
 * "left": {"TOPIC:IDENTITY":[offset]} in the processor's object says, for each topic that a version
 * before has read and the serving one does not, up to where its messages are real. A version that
 * reads it again goes on there; one that reads a topic (or a new partition of it) as the first one
 * begins at its own start (deploy --outputs new: at the cut). */

/* Which partitions of the union a side reads. */
static bool *reads_of(const struct core_swap *swap, enum swap_side side)
{
    const struct swap_party *party = &swap->swap.party[side];
    bool *reads = xcalloc(swap->swap.partition_count, sizeof *reads);
    for (uint32_t i = 0; i < party->count; i++) {
        reads[party->map[i]] = true;
    }
    return reads;
}

/* Sets the cut of what the old version does not read. */
static void cut_unread(const struct core_processor *processor, bool only_new, int64_t *cut)
{
    const struct core_swap *swap = &processor->swap;
    const json_t *object = swap->new->object;
    const json_t *start = json_object_get(object, "start");
    bool *reads = reads_of(swap, SWAP_OLD);
    uint32_t source = 0;
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(object, "inputs"), i, input) {
        char *key = key_identity(input);
        const json_t *left = json_object_get(json_object_get(processor->object, "left"), key);
        for (int64_t p = 0; p < json_int(input, "partitions", 0); p++, source++) {
            const json_t *offset = json_array_get(left, (size_t)p);
            offset = offset != NULL || only_new ? offset : json_array_get(start, source);
            uint32_t at = swap->swap.party[SWAP_NEW].map[source];
            if (!reads[at] && offset != NULL) {
                cut[at] = i64_min(cut[at], i64_max(json_integer_value(offset), 0));
            }
        }
        free(key);
    }
    free(reads);
}

/* What the new version does not read any more, besides what was left before. before: up to where the old
 * one's messages are real. */
static json_t *left_after(const struct core_processor *processor, const json_t *before)
{
    const struct core_swap *swap = &processor->swap;
    const json_t *known = json_object_get(processor->object, "left");
    json_t *left = known == NULL ? json_object() : json_copy((json_t *)(uintptr_t)known);
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(swap->old->object, "inputs"), i, input) {
        char *key = key_identity(input);
        object_set(left, key, json_incref(json_object_get(before, json_text(input, "topic", ""))));
        free(key);
    }
    json_array_foreach (json_object_get(swap->new->object, "inputs"), i, input) {
        char *key = key_identity(input);
        (void)json_object_del(left, key);
        free(key);
    }
    return left;
}

/* Where the messages change over, in the union of both versions' partitions. */
static int64_t *real_cut(const struct core_processor *processor, bool only_new)
{
    const struct core_swap *swap = &processor->swap;
    const struct swap_party *old = &swap->swap.party[SWAP_OLD];
    int64_t *cut = xcalloc(swap->swap.partition_count, sizeof *cut);
    memcpy(cut, swap->swap.cut, swap->swap.partition_count * sizeof *cut);
    for (uint32_t i = 0; old->part == SWAP_STILL && i < old->count; i++) {
        cut[old->map[i]] = i64_max(old->next[i], 0);
    }
    if (swap->old != NULL) {
        cut_unread(processor, only_new, cut);
    }
    return cut;
}

/* The same in the old version's topics. */
static json_t *real_before(const struct core_swap *swap, const int64_t *cut)
{
    const struct swap_party *old = &swap->swap.party[SWAP_OLD];
    json_t *offsets = json_array();
    for (uint32_t i = 0; i < old->count; i++) {
        int rc = json_array_append_new(offsets, json_integer(cut[old->map[i]]));
        ASSERT(rc == 0);
    }
    json_t *before = cut_by_topic(swap->old, offsets, key_name);
    json_decref(offsets);
    return before;
}

/* Where the new version's messages begin to be real, and (*before, or NULL) up to where the old one's
 * are. */
static json_t *real_from(const struct core_processor *processor, json_t **before)
{
    const struct core_swap *swap = &processor->swap;
    const json_t *object = swap->new->object;
    bool only_new = strcmp(json_text(object, "outputs_from", "all"), "new") == 0;
    *before = NULL;
    if (json_int(processor->object, "epoch", 0) == 0 && !only_new) {
        return cut_by_topic(swap->new, json_object_get(object, "start"), key_name);
    }
    int64_t *cut = real_cut(processor, only_new);
    if (swap->old != NULL) {
        *before = real_before(swap, cut);
    }
    json_t *json = partitions_cut_json(&swap->partitions, cut);
    free(cut);
    return json;
}

/* Does the cut name other records of a topic than the old version's? */
static bool cut_differs(const json_t *before, const json_t *cut)
{
    const char *topic;
    json_t *offsets;
    json_object_foreach ((json_t *)(uintptr_t)before, topic, offsets) {
        for (size_t p = 0; p < json_array_size(offsets); p++) {
            if (!json_equal(json_array_get(offsets, p), offset_at(cut, topic, p))) {
                return true;
            }
        }
    }
    return false;
}

/* ---- Spans */

static const json_t *outbox_of(const struct core_processor *processor)
{
    const struct core_version *serving =
        core_serving((struct core_processor *)(uintptr_t)processor);
    return serving == NULL ? NULL : json_object_get(serving->child.stats, "outbox");
}

/* Is this span all sent? As last heard. */
static bool span_is_done(const struct core_processor *processor, const json_t *span)
{
    return json_int(span, "epoch", 0) < json_int(outbox_of(processor), "epoch", 0);
}

/* Copies the spans that are not done. */
static json_t *spans_left(const struct core_processor *processor)
{
    json_t *left = json_array();
    size_t i;
    json_t *span;
    json_array_foreach (spans_of(processor), i, span) {
        if (!span_is_done(processor, span)) {
            int rc = json_array_append(left, span);
            ASSERT(rc == 0);
        }
    }
    return left;
}

int outputs_swap(const struct core_processor *processor, json_t *object, struct err *err)
{
    const struct core_swap *swap = &processor->swap;
    bool any = outputs_any(swap->new) || (swap->old != NULL && outputs_any(swap->old)) ||
               json_array_size(spans_of(processor)) > 0;
    if (!any) {
        return 0;
    }
    json_t *spans = spans_left(processor);
    if (json_array_size(spans) >= SPANS_MAX) {
        json_decref(spans);
        (void)err_set(err, KE_LIMIT, "the messages of %d versions are not all sent yet", SPANS_MAX);
        err_hint(err, "see why with: kappa status %s", processor->name);
        return -KE_LIMIT;
    }
    json_t *before = NULL;
    json_t *from = real_from(processor, &before);
    json_t *span = json_pack("{s:I, s:I, s:o}", "epoch", (json_int_t)swap->epoch, "version",
                             (json_int_t)swap->new->number, "cut", from);
    ASSERT(span != NULL);
    if (cut_differs(before, from)) {
        object_set(span, "before", json_incref(before));
    }
    int rc = json_array_append_new(spans, span);
    ASSERT(rc == 0);
    object_set(object, "spans", spans);
    if (swap->old != NULL) {
        object_set(object, "left", left_after(processor, before));
    }
    object_set(swap->receipt, "outputs_from", json_incref(from));
    json_decref(before);
    return 0;
}

/* Up to where the messages of the version before this span are real. */
static const json_t *span_before(const json_t *span)
{
    const json_t *before = json_object_get(span, "before");
    return before != NULL ? before : json_object_get(span, "cut");
}

static json_t *span_message(const struct core *core, const struct core_version *version,
                            const json_t *span, const json_t *next)
{
    char *dir =
        xasprintf("%s/versions/%s/%u", core->data_dir, version->processor->name, version->number);
    json_t *topics = json_object_get(version->object, "outputs");
    json_t *object = json_pack(
        "{s:I, s:s, s:O, s:O, s:o, s:o, s:o}", "epoch", (json_int_t)json_int(span, "epoch", 0),
        "dir", dir, "shards", json_object_get(version->object, "shards"), "inputs",
        json_object_get(version->object, "inputs"), "topics",
        topics != NULL ? json_incref(topics) : json_array(), "from",
        cut_of_version(version, json_object_get(span, "cut"), key_name), "to",
        next != NULL ? cut_of_version(version, span_before(next), key_name) : json_null());
    ASSERT(object != NULL);
    free(dir);
    return object;
}

json_t *outputs_message(const struct core *core, const struct core_processor *processor)
{
    const json_t *spans = spans_of(processor);
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(spans); i++) {
        const json_t *span = json_array_get(spans, i);
        struct core_version *version = core_version_find(
            (struct core_processor *)(uintptr_t)processor, (uint32_t)json_int(span, "version", 0));
        if (version != NULL) {
            int rc = json_array_append_new(
                list, span_message(core, version, span, json_array_get(spans, i + 1)));
            ASSERT(rc == 0);
        }
    }
    if (json_array_size(list) == 0) {
        json_decref(list);
        return NULL;
    }
    char *dir = xasprintf("%s/versions/%s", core->data_dir, processor->name);
    char *name = xasprintf("%s#%s", processor->name, json_text(processor->object, "mark", "0"));
    json_t *message = json_pack("{s:s, s:s, s:o}", "name", name, "dir", dir, "spans", list);
    ASSERT(message != NULL);
    free(dir);
    free(name);
    return message;
}

int outputs_may_drop(const struct core_version *version, struct err *err)
{
    const struct core_processor *processor = version->processor;
    size_t i;
    json_t *span;
    json_array_foreach (spans_of(processor), i, span) {
        if (json_int(span, "version", 0) == version->number && outputs_any(version) &&
            !span_is_done(processor, span)) {
            (void)err_set(err, KE_REFUSED, "the messages of v%u are not all sent yet",
                          version->number);
            err_hint(err,
                     "the serving version sends them; see why it has not with: kappa status %s",
                     processor->name);
            return -KE_REFUSED;
        }
    }
    return 0;
}

/* ---- What is sent is not needed any more */

/* When it has changed. */
static void tell(struct core *core, struct core_version *version, const json_t *sent)
{
    json_t *below = cut_of_version(version, sent, key_identity);
    if (json_equal(below, version->told_sent)) {
        json_decref(below);
        return;
    }
    json_decref(version->told_sent);
    version->told_sent = below;
    json_t *message = json_pack("{s:s, s:O}", "do", "sent", "below", below);
    ASSERT(message != NULL);
    child_send(core, &version->child, message);
}

void outputs_tick(struct core *core, struct core_processor *processor)
{
    const struct core_version *serving = core_serving(processor);
    const json_t *positions = json_object_get(outbox_of(processor), "positions");
    if (serving == NULL || json_array_size(positions) != serving->lag.count ||
        core_now_us(core) < processor->sent_us || processor->swap.active) {
        return;
    }
    processor->sent_us = core_now_us(core) + OUTPUTS_TELL_US;
    json_t *sent = cut_by_topic(serving, positions, key_identity);
    for (uint32_t i = 0; i < processor->version_count; i++) {
        struct core_version *version = processor->versions[i];
        if (version != serving && outputs_any(version) && child_is_open(&version->child)) {
            tell(core, version, sent);
        }
    }
    json_decref(sent);
}

json_t *outputs_status(const struct core_version *version)
{
    const json_t *outbox = json_object_get(version->child.stats, "outbox");
    if (!outputs_any(version)) {
        return NULL;
    }
    bool serves = version->state == VERSION_SERVING;
    json_int_t rows = json_int(outbox, "rows", 0);
    json_t *object = json_pack(
        "{s:O, s:I, s:I, s:I, s:f}", "topics", json_object_get(version->object, "outputs"), "sent",
        (json_int_t)json_int(outbox, "sent", 0), "waiting", serves ? rows : 0, "shadow",
        serves ? 0 : rows, "waiting_seconds", (double)json_int(outbox, "waiting_ms", 0) / 1000.0);
    ASSERT(object != NULL);
    return object;
}
