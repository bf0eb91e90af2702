/* The difference between what was sent and what a replay makes. Own header: correction.h.
 *
 * Per input partition two orders are walked side by side: the outbox of the replay, by (offset, output, seq),
 * and what was found in the topics, by the same and then topic and key. All of one record is gathered
 * before anything of it is told, since retractions come first. */
#include "replayer/correction.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "include/kappa/message.h"
#include "replayer/correction_inside.h"

const char *correction_word(enum correction_kind kind)
{
    static const char *const words[CORRECTION_KINDS] = {
        [CORRECTION_REPLACED] = "replaced",
        [CORRECTION_ADDED] = "added",
        [CORRECTION_RETRACTED] = "retracted",
    };
    return words[kind];
}

/* ---- Inputs */

/* One that no source of the version is: of a topic that it does not read, all messages are to go; of one that
 * it reads as another topic, or with fewer partitions, nothing is known. */
static void input_add(struct corrections *c, const struct sender_name *name)
{
    char *topic = xstrndup(name->topic, name->topic_len);
    bool reads = false;
    for (uint32_t i = 0; i < c->options.source_count; i++) {
        reads |= strcmp(c->options.sources[i].topic, topic) == 0;
    }
    c->inputs = xrealloc(c->inputs, (c->input_count + 1) * sizeof *c->inputs);
    c->inputs[c->input_count++] = (struct correction_input){.topic = topic,
                                                            .owned = topic,
                                                            .identity = name->identity,
                                                            .partition = name->partition,
                                                            .cut = reads ? 0 : INT64_MAX};
}

uint32_t correction_input(struct corrections *c, const struct sender_name *name)
{
    for (uint32_t i = 0; i < c->input_count; i++) {
        const struct correction_input *input = &c->inputs[i];
        if (input->partition == name->partition && input->identity == name->identity &&
            strlen(input->topic) == name->topic_len &&
            memcmp(input->topic, name->topic, name->topic_len) == 0) {
            return i;
        }
    }
    input_add(c, name);
    return c->input_count - 1;
}

/* ---- Life */

int correction_open(const struct correction_options *options, struct corrections **out,
                    struct err *err)
{
    struct corrections *c = xcalloc(1, sizeof *c);
    c->options = *options;
    c->inputs = xcalloc(options->source_count + 1, sizeof *c->inputs);
    for (uint32_t i = 0; i < options->source_count; i++) {
        const struct correction_source *source = &options->sources[i];
        c->inputs[i] = (struct correction_input){.topic = source->topic,
                                                 .identity = source->identity,
                                                 .partition = source->partition,
                                                 .start = source->start,
                                                 .cut = source->cut};
    }
    c->input_count = options->source_count;
    c->topics = xcalloc(options->topic_count + 1, sizeof *c->topics);
    for (uint32_t t = 0; t < options->topic_count; t++) {
        c->topics[t] = (struct correction_output){.name = options->topics[t].name,
                                                  .spread = options->topics[t].spread};
    }
    char *dir = xasprintf("%s/found", options->dir);
    int rc = ledger_open(dir, &c->ledger, err);
    free(dir);
    if (rc == 0 && options->replayed != NULL) {
        rc = outbox_open(options->replayed, options->shards, &c->outbox, err);
    }
    if (rc != 0) {
        correction_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

void correction_close(struct corrections *corrections)
{
    if (corrections == NULL) {
        return;
    }
    if (corrections->sender != NULL) {
        corrections->sender->ops->close(corrections->sender);
    }
    outbox_close(corrections->outbox);
    ledger_close(corrections->ledger);
    for (uint32_t i = 0; i < corrections->input_count; i++) {
        free(corrections->inputs[i].owned);
    }
    free(corrections->inputs);
    free(corrections->topics);
    free(corrections->wanted);
    free(corrections->found);
    free(corrections->key_at);
    buf_free(&corrections->keys);
    buf_free(&corrections->scratch);
    free(corrections);
}

void correction_counts(const struct corrections *corrections, struct correction_counts *out)
{
    *out = corrections->counts;
}

/* ---- A record */

struct walk {
    struct corrections *c;
    uint32_t input;
    int (*fn)(void *ctx, const struct correction *correction, struct err *err);
    void *ctx;
    struct outbox_cursor *outbox; /* NULL: nothing, or no more */
    struct outbox_row row;
    struct ledger_cursor *ledger;
    struct ledger_entry entry;
};

static int wanted_keep(struct walk *walk, struct err *err)
{
    struct corrections *c = walk->c;
    struct correction_wanted wanted = {.row = walk->row};
    if (walk->row.output >= c->options.output_count ||
        !kappa_message_read(walk->row.message, walk->row.len, &wanted.record)) {
        return err_set(err, KE_CORRUPT, "the replay made something that is no message");
    }
    wanted.content = correction_content(&c->scratch, &wanted.record);
    if (c->wanted_count == c->wanted_cap) {
        c->wanted_cap = c->wanted_cap == 0 ? 16 : 2 * c->wanted_cap;
        c->wanted = xrealloc(c->wanted, c->wanted_cap * sizeof *c->wanted);
    }
    c->wanted[c->wanted_count++] = wanted;
    return 0;
}

static void found_keep(struct walk *walk)
{
    struct corrections *c = walk->c;
    if (c->found_count == c->found_cap) {
        c->found_cap = c->found_cap == 0 ? 16 : 2 * c->found_cap;
        c->found = xrealloc(c->found, c->found_cap * sizeof *c->found);
        c->key_at = xrealloc(c->key_at, c->found_cap * sizeof *c->key_at);
    }
    const struct ledger_entry *entry = &walk->entry;
    c->key_at[c->found_count] = c->keys.len;
    c->found[c->found_count++] = *entry;
    buf_append(&c->keys, entry->key, entry->key_len == KAPPA_NULL_LEN ? 0 : entry->key_len);
}

static int outbox_step(struct walk *walk, int rc)
{
    int64_t cut = walk->c->inputs[walk->input].cut;
    if (rc < 0 || (rc == 1 && walk->row.offset < cut)) {
        return rc < 0 ? rc : 0;
    }
    outbox_cursor_close(walk->outbox);
    walk->outbox = NULL;
    return 0;
}

static int ledger_step(struct walk *walk, int rc)
{
    if (rc == 0) {
        ledger_cursor_close(walk->ledger);
        walk->ledger = NULL;
    }
    return rc < 0 ? rc : 0;
}

/* All of one record, from both. */
static int gather(struct walk *walk, int64_t offset, struct err *err)
{
    struct corrections *c = walk->c;
    int rc = 0;
    c->wanted_count = 0;
    c->found_count = 0;
    buf_reset(&c->keys);
    while (rc == 0 && walk->outbox != NULL && walk->row.offset == offset) {
        rc = wanted_keep(walk, err);
        if (rc == 0) {
            rc = outbox_step(walk, outbox_cursor_next(walk->outbox, &walk->row, err));
        }
    }
    while (rc == 0 && walk->ledger != NULL && walk->entry.offset == offset) {
        found_keep(walk);
        rc = ledger_step(walk, ledger_cursor_next(walk->ledger, &walk->entry, err));
    }
    for (uint32_t i = 0; i < c->found_count; i++) {
        struct ledger_entry *entry = &c->found[i];
        entry->key = entry->key_len == KAPPA_NULL_LEN ? NULL : c->keys.data + c->key_at[i];
    }
    return rc;
}

static int tell(struct walk *walk, const struct correction *correction, struct err *err)
{
    const struct correction_input *input = &walk->c->inputs[walk->input];
    struct correction full = *correction;
    full.input = input->topic;
    full.identity = input->identity;
    full.input_partition = input->partition;
    walk->c->counts.of[full.kind]++;
    return walk->fn(walk->ctx, &full, err);
}

static bool key_is(const struct kappa_record *record, const struct ledger_entry *entry)
{
    return record->key_len == entry->key_len &&
           (record->key_len == KAPPA_NULL_LEN || record->key_len == 0 ||
            memcmp(record->key, entry->key, record->key_len) == 0);
}

/* Times that not every log can hold are not compared (log_sender_ops.append). */
static bool is_same(const struct correction_output *topic, const struct correction_wanted *wanted,
                    const struct ledger_entry *entry)
{
    bool timed = topic->timed && wanted->record.time_ms >= 0;
    return !entry->retracted && digest_equal(wanted->content, entry->content) &&
           (!timed || wanted->record.time_ms == entry->time_ms);
}

/* Is it there? Else it is to go. */
static int found_judge(struct walk *walk, const struct ledger_entry *entry, uint32_t first,
                       struct err *err)
{
    struct corrections *c = walk->c;
    for (uint32_t w = first; w < c->wanted_count; w++) {
        struct correction_wanted *wanted = &c->wanted[w];
        if (wanted->row.output != entry->output || wanted->row.seq != entry->seq) {
            break;
        }
        if (c->options.outputs[wanted->row.output] == entry->topic &&
            key_is(&wanted->record, entry)) {
            wanted->matched = true;
            wanted->partition = entry->partition;
            wanted->same = is_same(&c->topics[entry->topic], wanted, entry);
            wanted->kind = entry->retracted ? CORRECTION_ADDED : CORRECTION_REPLACED;
            return 0;
        }
    }
    if (entry->retracted) {
        return 0;
    }
    struct correction correction = {
        .kind = CORRECTION_RETRACTED,
        .place = {entry->offset, entry->output, entry->seq},
        .topic = c->topics[entry->topic].name,
        .partition = entry->partition,
        .record = {.offset = -1,
                   .time_ms = entry->time_ms < 0 ? KAPPA_NO_TIME : entry->time_ms,
                   .key = entry->key,
                   .key_len = entry->key_len,
                   .value_len = KAPPA_NULL_LEN},
    };
    return tell(walk, &correction, err);
}

static bool comes_before(const struct correction_wanted *wanted, const struct ledger_entry *entry)
{
    return wanted->row.output != entry->output ? wanted->row.output < entry->output
                                               : wanted->row.seq < entry->seq;
}

static int wanted_judge(struct walk *walk, const struct correction_wanted *wanted, struct err *err)
{
    struct corrections *c = walk->c;
    const struct kappa_record *record = &wanted->record;
    const struct correction_output *topic = &c->topics[c->options.outputs[wanted->row.output]];
    if (wanted->same) {
        c->counts.same++;
        return 0;
    }
    uint32_t partition = record->key_len == KAPPA_NULL_LEN
                             ? c->inputs[walk->input].partition % topic->spread
                             : log_partition_of_key(record->key, record->key_len, topic->spread);
    struct correction correction = {
        .kind = wanted->matched ? wanted->kind : CORRECTION_ADDED,
        .place = {wanted->row.offset, wanted->row.output, wanted->row.seq},
        .topic = topic->name,
        .partition = wanted->matched ? wanted->partition : partition,
        .record = *record,
    };
    return tell(walk, &correction, err);
}

/* Of a record that is not compared: what was found counts, and that is all. */
static bool is_passed(struct walk *walk, int64_t offset)
{
    struct corrections *c = walk->c;
    const struct correction_input *input = &c->inputs[walk->input];
    if (input->owned != NULL && input->cut == 0) {
        c->counts.foreign += c->found_count;
        return true;
    }
    if (offset < input->start) {
        c->counts.unknown += c->found_count;
        return true;
    }
    return offset >= input->cut;
}

static int record_walk(struct walk *walk, int64_t offset, struct err *err)
{
    struct corrections *c = walk->c;
    uint32_t first = 0;
    int rc = gather(walk, offset, err);
    if (rc != 0 || is_passed(walk, offset)) {
        return rc;
    }
    for (uint32_t i = 0; i < c->found_count && rc == 0; i++) {
        while (first < c->wanted_count && comes_before(&c->wanted[first], &c->found[i])) {
            first++;
        }
        rc = found_judge(walk, &c->found[i], first, err);
    }
    for (uint32_t w = 0; w < c->wanted_count && rc == 0; w++) {
        rc = wanted_judge(walk, &c->wanted[w], err);
    }
    return rc;
}

static int input_walk(struct walk *walk, struct err *err)
{
    struct corrections *c = walk->c;
    int rc = ledger_step(
        walk, ledger_cursor_open(c->ledger, walk->input, &walk->ledger, &walk->entry, err));
    if (rc == 0 && c->outbox != NULL && walk->input < c->options.source_count) {
        rc = outbox_step(walk, outbox_cursor_open(c->outbox, walk->input, INT64_MIN, &walk->outbox,
                                                  &walk->row, err));
    }
    while (rc == 0 && (walk->outbox != NULL || walk->ledger != NULL)) {
        int64_t offset = walk->outbox == NULL   ? walk->entry.offset
                         : walk->ledger == NULL ? walk->row.offset
                                                : i64_min(walk->row.offset, walk->entry.offset);
        if (atomic_load(c->options.stop)) {
            rc = err_set(err, KE_CLOSED, "stopped");
        } else {
            rc = record_walk(walk, offset, err);
        }
    }
    outbox_cursor_close(walk->outbox);
    ledger_cursor_close(walk->ledger);
    return rc;
}

int correction_walk(struct corrections *corrections,
                    int (*fn)(void *ctx, const struct correction *correction, struct err *err),
                    void *ctx, struct err *err)
{
    struct correction_counts counts = {.names = corrections->counts.names};
    corrections->counts = counts;
    int rc = corrections->outbox != NULL ? outbox_begin(corrections->outbox, err) : 0;
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < corrections->input_count && rc == 0; i++) {
        struct walk walk = {.c = corrections, .input = i, .fn = fn, .ctx = ctx};
        rc = input_walk(&walk, err);
    }
    if (corrections->outbox != NULL) {
        outbox_end(corrections->outbox);
    }
    return rc;
}
