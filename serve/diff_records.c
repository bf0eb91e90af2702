/* Which records make the rows of two versions differ. Own header: diff_inner.h.
 *
 * A row without a group is made of one record, which its key names. A group's row is a sum of what each
 * record of the group gives to it; both versions keep such sums in the same bytes (plan_view_alike). So
 * the log is read again up to the cut, in memory: what some records give to the keys in question is
 * computed by both versions, beginning with nothing, and where it differs, the records are halved until
 * one is left. Watermarks go on from batch to batch, so that a record which came too late gives nothing
 * here either. What cannot be told in this way is not guessed: why_not says so. */
#include "base/clock.h"
#include "log/log.h"
#include "processor/processor.h"
#include "serve/diff_inner.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX  10 /* of one sample */
#define STEP_MS      100
#define SILENCE_US   30000000 /* a log that gives nothing for so long is not waited for */
#define READER_GROUP "kappa.diff"

/* What records give to a sample's row. */
struct gift {
    bool is_there;
    struct digest bytes;
};

struct hunt {
    struct diff_rows *rows;
    struct diff_sample **by_key; /* ascending */
    struct log_reader *reader;
    int64_t *cuts;   /* per source */
    bool *done;      /* per source: read up to its cut */
    uint32_t left;   /* sources to read */
    uint32_t wanted; /* samples that are not full */
    /* Per side and source: the state behind what was read. */
    struct kappa_source_state *states[DIFF_SIDES];
};

/* ---- what can be told */

static const char *why_not_side(const struct plan *plan, const struct plan_view *view)
{
    if (view->window != PLAN_WINDOW_NONE && view->window != PLAN_WINDOW_TUMBLE) {
        return "what a record gives to its windows depends on other records";
    }
    if (view->phase_count > 0 || view->rows != view->input || plan->plugin_count > 0) {
        return "its rows depend on other records too: joins, OVER or a plugin";
    }
    if (view->upsert || view->shape.idle) {
        return "records take the place of earlier ones there";
    }
    return plan->inputs[view->input].schema_registry != NULL
               ? "its schemas are kept by a registry, which only workers ask"
               : NULL;
}

const char *diff_records_why_not(const struct diff_rows *rows)
{
    const struct plan_view *a = rows->view[DIFF_A];
    const struct plan_view *b = rows->view[DIFF_B];
    if (a->kind == PLAN_APPEND) {
        return NULL;
    }
    const char *why = why_not_side(rows->reading[DIFF_A].version->plan, a);
    why = why != NULL ? why : why_not_side(rows->reading[DIFF_B].version->plan, b);
    bool alike = rows->alike && a->input == b->input;
    return why == NULL && !alike ? "the two keep or read its rows in different ways" : why;
}

/* ---- samples */

void diff_sample_keep(struct diff_rows *rows, enum diff_kept kept, const struct reader_side *side)
{
    struct diff_sample *sample = xcalloc(1, sizeof *sample);
    ASSERT_CMP(side->key_len, <=, sizeof sample->key);
    sample->kept = kept;
    sample->partition = side->partition;
    sample->len = side->key_len;
    if (side->key_len > 0) {
        memcpy(sample->key, side->key, side->key_len);
    }
    sample->records = json_array();
    *rows->samples_end = sample;
    rows->samples_end = &sample->next;
}

void diff_samples_free(struct diff_sample *samples)
{
    while (samples != NULL) {
        struct diff_sample *sample = samples;
        samples = sample->next;
        json_decref(sample->records);
        free(sample);
    }
}

static void record_add(struct diff_sample *sample, const struct reader_source *source,
                       int64_t offset, const char *in)
{
    json_t *record =
        json_pack("{s:s, s:I, s:I, s:s}", "topic", source->topic, "partition",
                  (json_int_t)source->partition, "offset", (json_int_t)offset, "in", in);
    ASSERT(record != NULL);
    ASSERT(json_array_append_new(sample->records, record) == 0);
}

static bool is_full(const struct diff_sample *sample)
{
    return json_array_size(sample->records) >= RECORDS_MAX;
}

/* ---- what some records give */

struct capture {
    const struct hunt *hunt;
    uint32_t table;
    struct gift *gifts; /* by number of the sample */
};

static int sample_order(const void *a, const void *b)
{
    const struct diff_sample *x = *(struct diff_sample *const *)a;
    const struct diff_sample *y = *(struct diff_sample *const *)b;
    return bytes_order(x->key, x->len, y->key, y->len);
}

/* By the key behind the source; NULL: not in question. */
static const struct diff_sample *sample_find(const struct hunt *hunt, const uint8_t *key,
                                             size_t len)
{
    size_t low = 0;
    size_t high = hunt->rows->sample_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct diff_sample *sample = hunt->by_key[middle];
        int order = bytes_order(key, len, sample->key, sample->len);
        if (order == 0) {
            return sample;
        }
        low = order > 0 ? middle + 1 : low;
        high = order > 0 ? high : middle;
    }
    return NULL;
}

static int capture_put(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                       const uint8_t *value, size_t value_len, bool is_new, struct err *err)
{
    const struct capture *capture = ctx;
    (void)is_new;
    (void)err;
    if (table == capture->table) {
        const struct diff_sample *sample = sample_find(capture->hunt, key + KAPPA_KEY_SOURCE_BYTES,
                                                       key_len - KAPPA_KEY_SOURCE_BYTES);
        if (sample != NULL) {
            capture->gifts[sample->number] =
                (struct gift){true, digest_row(0, key, key_len, value, value_len)};
        }
    }
    return 0;
}

static int capture_expire(void *ctx, uint32_t table, uint32_t source, int64_t window_end,
                          struct err *err)
{
    (void)ctx;
    (void)table;
    (void)source;
    (void)window_end;
    (void)err;
    return 0;
}

static int capture_del(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                       struct err *err)
{
    (void)ctx;
    (void)table;
    (void)key;
    (void)key_len;
    (void)err;
    return 0;
}

static int capture_out(void *ctx, uint32_t output, uint32_t source, int64_t offset, uint32_t seq,
                       const uint8_t *message, size_t len, struct err *err)
{
    (void)ctx;
    (void)output;
    (void)source;
    (void)offset;
    (void)seq;
    (void)message;
    (void)len;
    (void)err;
    return 0;
}

static int capture_keep(void *ctx, uint32_t source, int64_t offset, uint32_t view,
                        const char *reason, const uint8_t *value, uint32_t value_len,
                        struct err *err)
{
    (void)ctx;
    (void)source;
    (void)offset;
    (void)view;
    (void)reason;
    (void)value;
    (void)value_len;
    (void)err;
    return 0;
}

/* Other tables of the definition have nothing stored either. */
static int no_window(void *ctx, uint32_t table, const uint8_t *key, size_t key_len, int64_t below,
                     int64_t *window_end, struct err *err)
{
    (void)ctx;
    (void)table;
    (void)key;
    (void)key_len;
    (void)below;
    (void)err;
    *window_end = 0;
    return 0;
}

static int no_row(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                  const uint8_t **found, size_t *found_len, const uint8_t **value,
                  size_t *value_len, struct err *err)
{
    (void)ctx;
    (void)table;
    (void)key;
    (void)key_len;
    (void)err;
    *found = NULL;
    *found_len = 0;
    *value = NULL;
    *value_len = 0;
    return 0;
}

/* Records of one source; behind the last one it goes on at `next_offset`. */
struct stretch {
    uint32_t source;
    uint32_t count;
    const struct kappa_record *records;
    int64_t next_offset;
};

/* What they give to the samples in one version; *state: in front of them, then behind. */
static int give(const struct hunt *hunt, enum diff_side side, const struct stretch *stretch,
                struct kappa_source_state *state, struct gift *gifts, struct err *err)
{
    const struct reader_read *reading = &hunt->rows->reading[side];
    const struct reader_version *version = reading->version;
    const struct reader_source *source = &version->sources[stretch->source];
    const struct processor_options options = {.plan = version->plan,
                                              .window_below = no_window,
                                              .row_from = no_row,
                                              .cache_bytes = SIZE_MAX / 2};
    struct capture capture = {.hunt = hunt, .table = reading->table, .gifts = gifts};
    const struct kappa_change_sink sink = {.ctx = &capture,
                                           .put = capture_put,
                                           .expire = capture_expire,
                                           .del = capture_del,
                                           .out = capture_out,
                                           .dead = capture_keep,
                                           .late = capture_keep};
    struct processor *processor = NULL;
    int rc = processor_open(&options, &processor, err);
    if (rc != 0) {
        return rc;
    }
    processor_source_restore(processor, stretch->source, source->input, state);
    processor_source_partition(processor, stretch->source, source->partition,
                               version->input_first[source->input + 1] -
                                   version->input_first[source->input]);
    rc = processor_apply(processor, stretch->source, stretch->records, stretch->count,
                         stretch->next_offset, err);
    if (rc == 0) {
        rc = processor_flush(processor, &sink, err);
    }
    processor_source_state(processor, stretch->source, state);
    processor_close(processor);
    return rc;
}

/* ---- halving */

static bool differs(const struct gift *a, const struct gift *b)
{
    return a->is_there != b->is_there || (a->is_there && !digest_equal(a->bytes, b->bytes));
}

/* Is there a sample to which the two give other things, and that still asks? With `record`, it is kept. */
static bool judge(struct hunt *hunt, const struct gift *const *gifts, const struct stretch *stretch,
                  bool record)
{
    const struct reader_source *source =
        &hunt->rows->reading[DIFF_A].version->sources[stretch->source];
    bool any = false;
    for (struct diff_sample *sample = hunt->rows->samples; sample != NULL; sample = sample->next) {
        const struct gift *a = &gifts[DIFF_A][sample->number];
        const struct gift *b = &gifts[DIFF_B][sample->number];
        if (is_full(sample) || !differs(a, b)) {
            continue;
        }
        any = true;
        if (record) {
            record_add(sample, source, stretch->records[0].offset,
                       !b->is_there   ? "a"
                       : !a->is_there ? "b"
                                      : "both");
            hunt->wanted -= is_full(sample) ? 1 : 0;
        }
    }
    return any;
}

/* states: in front of the stretch, then behind it. Halves are halved again. NOLINTNEXTLINE */
static int halve(struct hunt *hunt, const struct stretch *stretch,
                 struct kappa_source_state *states, struct err *err)
{
    struct gift *gifts[DIFF_SIDES];
    struct kappa_source_state behind[DIFF_SIDES] = {states[DIFF_A], states[DIFF_B]};
    int rc = 0;
    for (int side = 0; side < DIFF_SIDES; side++) {
        gifts[side] = xcalloc(hunt->rows->sample_count, sizeof *gifts[side]);
        if (rc == 0) {
            rc = give(hunt, (enum diff_side)side, stretch, &behind[side], gifts[side], err);
        }
    }
    bool any =
        rc == 0 && judge(hunt, (const struct gift *const *)gifts, stretch, stretch->count == 1);
    free(gifts[DIFF_A]);
    free(gifts[DIFF_B]);
    if (any && stretch->count > 1) {
        uint32_t half = stretch->count / 2;
        const struct stretch first = {stretch->source, half, stretch->records,
                                      stretch->records[half].offset};
        const struct stretch second = {stretch->source, stretch->count - half,
                                       stretch->records + half, stretch->next_offset};
        rc = halve(hunt, &first, states, err);
        rc = rc == 0 ? halve(hunt, &second, states, err) : rc;
    }
    states[DIFF_A] = behind[DIFF_A];
    states[DIFF_B] = behind[DIFF_B];
    return rc;
}

/* ---- the log */

static int take_batch(struct hunt *hunt, const struct log_batch *batch, struct err *err)
{
    uint32_t source = batch->source;
    int64_t cut = hunt->cuts[source];
    uint32_t count = batch->count;
    if (hunt->done[source]) {
        return 0;
    }
    while (count > 0 && batch->records[count - 1].offset >= cut) {
        count--;
    }
    int rc = 0;
    if (count > 0) {
        const struct stretch stretch = {source, count, batch->records,
                                        i64_min(batch->next_offset, cut)};
        struct kappa_source_state states[DIFF_SIDES] = {hunt->states[DIFF_A][source],
                                                        hunt->states[DIFF_B][source]};
        rc = halve(hunt, &stretch, states, err);
        hunt->states[DIFF_A][source] = states[DIFF_A];
        hunt->states[DIFF_B][source] = states[DIFF_B];
    }
    if (batch->next_offset >= cut) {
        hunt->done[source] = true;
        hunt->left--;
    }
    return rc;
}

static int read_all(struct hunt *hunt, struct err *err)
{
    int64_t heard_us = clock_mono_us(clock_real());
    int rc = 0;
    while (rc == 0 && hunt->left > 0 && hunt->wanted > 0) {
        struct log_batch batch;
        rc = hunt->reader->ops->next(hunt->reader, STEP_MS, LIMIT_BATCH_RECORDS, &batch, err);
        bool passes = rc == -KE_BROKER || rc == -KE_AGAIN;
        bool silent = passes || (rc == 0 && batch.none);
        if (!silent && rc == 0) {
            rc = take_batch(hunt, &batch, err);
            heard_us = clock_mono_us(clock_real());
        } else if (clock_mono_us(clock_real()) - heard_us < SILENCE_US) {
            rc = passes ? 0 : rc;
        } else if (!passes) {
            rc = err_set(err, KE_TIMEOUT, "the log gives no records");
        }
        if (rc == 0 && __atomic_load_n(hunt->rows->stop, __ATOMIC_RELAXED)) {
            rc = err_set(err, KE_CLOSED, "the comparison was broken off");
        }
    }
    return rc;
}

/* From where the versions began, or where the log begins now: then *partial. */
static int source_add(struct hunt *hunt, struct log *log, uint32_t number, bool *partial,
                      struct err *err)
{
    int64_t start = INT64_MAX;
    int64_t log_start = 0;
    int64_t log_end = 0;
    const struct reader_source *source = NULL;
    for (int side = 0; side < DIFF_SIDES; side++) {
        source = &hunt->rows->reading[side].version->sources[number];
        start = i64_min(start, source->start);
    }
    int rc = log->ops->offsets(log, source->topic, source->partition, &log_start, &log_end, err);
    if (rc != 0) {
        return rc;
    }
    *partial |= log_start > start;
    start = i64_max(start, log_start);
    for (int side = 0; side < DIFF_SIDES; side++) {
        hunt->states[side][number] = (struct kappa_source_state){.next_offset = start,
                                                                 .event_time_max = KAPPA_NO_TIME,
                                                                 .record_time_max = KAPPA_NO_TIME};
    }
    const struct reader_read *reading = &hunt->rows->reading[DIFF_A];
    hunt->cuts[number] = reader_source_next(reading->version, reading->snapshot, number);
    if (start >= hunt->cuts[number]) {
        return 0;
    }
    hunt->left++;
    return hunt->reader->ops->add(hunt->reader, number, source->topic, source->partition, start,
                                  err);
}

static int hunt_run(struct hunt *hunt, struct log *log, bool *partial, struct err *err)
{
    const struct reader_version *version = hunt->rows->reading[DIFF_A].version;
    uint32_t input = hunt->rows->view[DIFF_A]->input;
    int rc = log->ops->reader_open(log, READER_GROUP, &hunt->reader, err);
    for (uint32_t s = version->input_first[input]; s < version->input_first[input + 1] && rc == 0;
         s++) {
        rc = source_add(hunt, log, s, partial, err);
    }
    if (rc == 0) {
        rc = read_all(hunt, err);
    }
    if (hunt->reader != NULL) {
        hunt->reader->ops->close(hunt->reader);
    }
    return rc;
}

static int hunt_groups(struct diff_rows *rows, struct log *log, bool *partial, struct err *err)
{
    struct hunt hunt = {.rows = rows, .wanted = u32_from(rows->sample_count)};
    size_t sources = rows->reading[DIFF_A].version->source_count;
    size_t i = 0;
    hunt.by_key = xcalloc(rows->sample_count, sizeof(struct diff_sample *));
    hunt.cuts = xcalloc(sources, sizeof *hunt.cuts);
    hunt.done = xcalloc(sources, sizeof *hunt.done);
    for (int side = 0; side < DIFF_SIDES; side++) {
        hunt.states[side] = xcalloc(sources, sizeof *hunt.states[side]);
    }
    for (struct diff_sample *sample = rows->samples; sample != NULL; sample = sample->next) {
        hunt.by_key[i++] = sample;
    }
    qsort(hunt.by_key, rows->sample_count, sizeof(struct diff_sample *), sample_order);
    int rc = hunt_run(&hunt, log, partial, err);
    free(hunt.by_key);
    free(hunt.cuts);
    free(hunt.done);
    free(hunt.states[DIFF_A]);
    free(hunt.states[DIFF_B]);
    return rc;
}

static void name_record(const struct diff_rows *rows, struct diff_sample *sample)
{
    static const char *const in[] = {"both", "a", "b"};
    const struct reader_source source = {
        .topic = rows->reading[DIFF_A].version->plan->inputs[rows->view[DIFF_A]->input].topic,
        .partition = sample->partition};
    record_add(sample, &source, load_i64_sortable(sample->key), in[sample->kept]);
}

int diff_records_find(struct diff_rows *rows, struct log *log, bool *partial, struct err *err)
{
    *partial = false;
    rows->sample_count = 0;
    for (struct diff_sample *sample = rows->samples; sample != NULL; sample = sample->next) {
        sample->number = rows->sample_count++;
        if (rows->view[DIFF_A]->kind == PLAN_APPEND) {
            name_record(rows, sample);
        }
    }
    if (rows->sample_count == 0 || rows->view[DIFF_A]->kind == PLAN_APPEND) {
        return 0;
    }
    int rc = hunt_groups(rows, log, partial, err);
    if (rc != 0) {
        err_prefix(err, "finding the records");
    }
    return rc;
}
