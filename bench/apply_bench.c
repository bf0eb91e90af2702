/* How fast one core applies records: decode, expressions, groups, aggregates, and the flushes into
 * a sink that only counts. No log and no store.
 *
 *     build/release/bench/events --count 2000000 --users 100000 > events.ndjson
 *     build/release/bench/apply_bench definition.sql events.ndjson [batch [commit every [rounds]]]
 *
 * Prints one JSON line per round. The lines lie in memory as a log reader gives them. */
#include "base/buf.h"
#include "base/limits.h"
#include "processor/processor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct sink {
    uint64_t puts;
    uint64_t bytes;
    uint64_t expires;
    uint64_t dead;
};

static int sink_put(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                    const uint8_t *value, size_t value_len, bool is_new, struct err *err)
{
    (void)table, (void)key, (void)value, (void)is_new, (void)err;
    struct sink *sink = ctx;
    sink->puts++;
    sink->bytes += key_len + value_len;
    return 0;
}

static int sink_expire(void *ctx, uint32_t table, uint32_t source, int64_t window_end,
                       struct err *err)
{
    (void)table, (void)source, (void)window_end, (void)err;
    ((struct sink *)ctx)->expires++;
    return 0;
}

static int sink_del(void *ctx, uint32_t table, const uint8_t *key, size_t key_len, struct err *err)
{
    (void)table, (void)key, (void)key_len, (void)err;
    ((struct sink *)ctx)->puts++;
    return 0;
}

static int sink_out(void *ctx, uint32_t topic, uint32_t source, int64_t offset, uint32_t seq,
                    const uint8_t *message, size_t len, struct err *err)
{
    (void)topic, (void)source, (void)offset, (void)seq, (void)message, (void)err;
    struct sink *sink = ctx;
    sink->puts++;
    sink->bytes += len;
    return 0;
}

static int sink_dead(void *ctx, uint32_t source, int64_t offset, uint32_t view, const char *reason,
                     const uint8_t *value, uint32_t value_len, struct err *err)
{
    (void)source, (void)offset, (void)view, (void)reason, (void)value, (void)value_len, (void)err;
    ((struct sink *)ctx)->dead++;
    return 0;
}

/* Time of this thread alone: the machine may be busy with others. */
static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct buf read_file(const char *path)
{
    struct buf out = {0};
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    for (size_t n = 1; n > 0;) {
        buf_reserve(&out, (1 << 20) + KAPPA_RECORD_TAIL);
        n = fread(out.data + out.len, 1, 1 << 20, file);
        out.len += n;
    }
    (void)fclose(file);
    return out;
}

struct load {
    struct kappa_record *records;
    uint32_t count;
};

static struct load split_lines(const struct buf *text)
{
    struct load load = {0};
    size_t capacity = 0;
    for (size_t at = 0; at < text->len;) {
        const uint8_t *end = memchr(text->data + at, '\n', text->len - at);
        size_t len = end == NULL ? text->len - at : (size_t)(end - text->data) - at;
        if (load.count == capacity) {
            capacity = capacity == 0 ? 1 << 16 : capacity * 2;
            load.records = xrealloc(load.records, capacity * sizeof *load.records);
        }
        load.records[load.count] = (struct kappa_record){
            .offset = load.count, .value = text->data + at, .value_len = u32_from(len)};
        load.count++;
        at += len + 1;
    }
    return load;
}

struct times {
    double apply;
    double flush;
    double committed;
    double flush_max;
};

static void commit(struct processor *p, struct sink *sink, struct times *times)
{
    const struct kappa_change_sink ops = {.ctx = sink,
                                          .put = sink_put,
                                          .expire = sink_expire,
                                          .del = sink_del,
                                          .out = sink_out,
                                          .dead = sink_dead,
                                          .late = sink_dead};
    struct err err = {0};
    double start = now();
    if (processor_flush(p, &ops, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    double middle = now();
    processor_committed(p);
    double end = now();
    times->flush += middle - start;
    times->flush_max = middle - start > times->flush_max ? middle - start : times->flush_max;
    times->committed += end - middle;
}

static void run(const struct plan *plan, const struct load *load, uint32_t batch, uint32_t every)
{
    struct processor_options options = {.plan = plan, .cache_bytes = (size_t)256 << 20};
    struct processor *p = NULL;
    struct err err = {0};
    if (processor_open(&options, &p, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    struct kappa_source_state state = {.event_time_max = KAPPA_NO_TIME,
                                       .record_time_max = KAPPA_NO_TIME};
    processor_source_restore(p, 0, 0, &state);
    struct sink sink = {0};
    struct times times = {0};
    uint32_t since = 0;
    for (uint32_t done = 0; done < load->count; done += batch) {
        uint32_t n = load->count - done < batch ? load->count - done : batch;
        double start = now();
        if (processor_apply(p, 0, load->records + done, n, done + n, &err) < 0) {
            (void)fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
        times.apply += now() - start;
        since += n;
        if (since >= every) {
            commit(p, &sink, &times);
            since = 0;
        }
    }
    struct processor_stats stats;
    processor_stats(p, &stats);
    commit(p, &sink, &times);
    processor_source_state(p, 0, &state);
    double all = times.apply + times.flush + times.committed;
    (void)printf(
        "{\"bench\":\"apply\",\"events\":%u,\"apply_per_s\":%.0f,\"with_commits_per_s\":%.0f,"
        "\"apply_ns\":%.1f,\"flush_ns_per_row\":%.1f,\"flush_ms_max\":%.2f,"
        "\"committed_ms\":%.2f,\"puts\":%llu,\"put_bytes\":%llu,\"dead\":%llu,\"late\":%llu,"
        "\"cache_rows\":%llu,\"cache_bytes\":%zu}\n",
        load->count, load->count / times.apply, load->count / all, times.apply * 1e9 / load->count,
        times.flush * 1e9 / (double)(sink.puts + 1), times.flush_max * 1e3, times.committed * 1e3,
        (unsigned long long)sink.puts, (unsigned long long)sink.bytes,
        (unsigned long long)state.dead, (unsigned long long)state.late,
        (unsigned long long)stats.cache_rows, stats.cache_bytes);
    processor_close(p);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(
            stderr, "usage: apply_bench DEFINITION.sql EVENTS.ndjson [batch [commit [rounds]]]\n");
        return 2;
    }
    uint32_t batch = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : LIMIT_BATCH_RECORDS;
    uint32_t every = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 2000000;
    uint32_t rounds = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 3;
    struct buf sql = read_file(argv[1]);
    struct buf text = read_file(argv[2]);
    struct load load = split_lines(&text);
    struct plan *plan = NULL;
    struct err err = {0};
    if (plan_compile(argv[1], (const char *)sql.data, sql.len, &plan, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (uint32_t i = 0; i < rounds; i++) {
        run(plan, &load, batch, every);
    }
    plan_free(plan);
    free(load.records);
    buf_free(&sql);
    buf_free(&text);
    return 0;
}
