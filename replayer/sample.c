/* A taste of a replay. Own header: sample.h. */
#include "replayer/sample.h"

#include "base/limits.h"
#include "include/kappa/record.h"
#include "processor/processor.h"

#include <string.h>

#define SAMPLE_STEP_MS 20

struct tasting {
    const struct sample_options *options;
    struct sample *out;
    struct processor *processor; /* NULL: only read */
    struct log_reader *reader;
    int64_t first_us;       /* when the first batch came; 0: none yet */
    int64_t apply_us;       /* spent on it */
    uint64_t first_records; /* of the first batch */
    uint32_t open;          /* sources whose end was not reached */
};

static bool may_apply(const struct plan *plan)
{
    bool may = plan->plugin_count == 0;
    for (uint32_t i = 0; i < plan->input_count; i++) {
        may &= plan->inputs[i].schema_registry == NULL;
    }
    return may;
}

static int tasting_open(struct tasting *t, struct err *err)
{
    const struct sample_options *options = t->options;
    const struct processor_options processor = {.plan = options->plan, .cache_bytes = SIZE_MAX / 2};
    int rc = 0;
    t->out->applied = may_apply(options->plan);
    if (t->out->applied) {
        rc = processor_open(&processor, &t->processor, err);
    }
    if (rc == 0) {
        rc = options->log->ops->reader_open(options->log, "kappa.plan", &t->reader, err);
    }
    for (uint32_t i = 0; rc == 0 && i < options->source_count; i++) {
        const struct sample_source *source = &options->sources[i];
        const struct kappa_source_state state = {.next_offset = source->start,
                                                 .event_time_max = KAPPA_NO_TIME,
                                                 .record_time_max = KAPPA_NO_TIME};
        options->first_time_ms[i] = KAPPA_NO_TIME;
        if (t->processor != NULL) {
            processor_source_restore(t->processor, i, source->input, &state);
            processor_source_partition(t->processor, i, source->partition, source->partitions);
        }
        if (source->start < source->end) {
            t->open++;
            rc = t->reader->ops->add(t->reader, i, source->topic, source->partition, source->start,
                                     err);
        }
    }
    return rc;
}

static void tasting_close(struct tasting *t)
{
    if (t->reader != NULL) {
        t->reader->ops->close(t->reader);
    }
    if (t->processor != NULL) {
        processor_close(t->processor);
    }
}

static void count_batch(struct tasting *t, const struct log_batch *batch)
{
    int64_t *first = &t->options->first_time_ms[batch->source];
    if (*first == KAPPA_NO_TIME && batch->count > 0) {
        *first = batch->records[0].time_ms;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct kappa_record *record = &batch->records[i];
        t->out->bytes += record->key_len == KAPPA_NULL_LEN ? 0 : record->key_len;
        t->out->bytes += record->value_len == KAPPA_NULL_LEN ? 0 : record->value_len;
        t->out->bytes += record->headers_len;
    }
    t->out->records += batch->count;
    if (batch->next_offset >= t->options->sources[batch->source].end) {
        t->open--;
    }
}

static int take_batch(struct tasting *t, const struct log_batch *batch, struct err *err)
{
    int rc = 0;
    int64_t began = clock_mono_us(t->options->clock);
    bool first = t->first_us == 0;
    count_batch(t, batch);
    if (t->processor != NULL) {
        rc = processor_apply(t->processor, batch->source, batch->records, batch->count,
                             batch->next_offset, err);
    }
    if (rc == 0 && t->processor != NULL && t->out->refused.code == 0) {
        int refused = processor_check(t->processor, &t->out->refused);
        ASSERT((refused < 0) == (t->out->refused.code != 0));
    }
    if (first) {
        t->first_us = clock_mono_us(t->options->clock);
        t->apply_us = t->first_us - began;
        t->first_records = batch->count;
    }
    return rc;
}

/* By what came behind the first batch, which also warmed everything up; if it was the only one, by
 * the time it took. */
static void measure(struct tasting *t)
{
    struct sample *out = t->out;
    int64_t passed = clock_mono_us(t->options->clock) - t->first_us;
    uint64_t later = out->records - t->first_records;
    for (uint32_t i = 0; t->processor != NULL && i < t->options->source_count; i++) {
        struct kappa_source_state state;
        processor_source_state(t->processor, i, &state);
        out->dead += state.dead;
    }
    if (t->processor == NULL || out->records == 0) {
        return;
    }
    if (later >= t->first_records && passed > 0) {
        out->per_second = (double)later * 1e6 / (double)passed;
    } else if (t->apply_us > 0) {
        out->per_second = (double)t->first_records * 1e6 / (double)t->apply_us;
    }
}

static int taste(struct tasting *t, struct err *err)
{
    const struct sample_options *options = t->options;
    int64_t opened_us = clock_mono_us(options->clock);
    int rc = 0;
    while (rc == 0 && t->open > 0 && t->out->records < options->records_max) {
        struct log_batch batch;
        int64_t now_us = clock_mono_us(options->clock);
        bool over = t->first_us == 0 ? now_us - opened_us > options->wait_us
                                     : now_us - t->first_us > options->budget_us;
        if (over) {
            break;
        }
        rc = t->reader->ops->next(t->reader, SAMPLE_STEP_MS, LIMIT_BATCH_RECORDS, &batch, err);
        if (rc == -KE_BROKER || rc == -KE_AGAIN) {
            rc = 0; /* passes, or the time does */
        } else if (rc == 0 && !batch.none) {
            rc = take_batch(t, &batch, err);
        }
    }
    return rc;
}

int sample_take(const struct sample_options *options, struct sample *out, struct err *err)
{
    struct tasting t = {.options = options, .out = out};
    memset(out, 0, sizeof *out);
    int rc = options->log->ops->reader_open == NULL ? 0 : tasting_open(&t, err);
    if (rc == 0 && t.reader != NULL) {
        rc = taste(&t, err);
    }
    if (rc == 0) {
        measure(&t);
    }
    tasting_close(&t);
    return rc;
}
