/* Drawing of progress. Own header: progress.h. */
#include "cli/progress.h"

#include "base/clock.h"
#include "cli/output.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BARS_MAX   8 /* partitions shown; the slowest ones */
#define BAR_WIDTH  24
#define LINE_WIDTH 80
#define NAME_WIDTH 18
#define PAST_US    1000000

void progress_begin(struct progress *progress, const struct cli *cli)
{
    *progress = (struct progress){.live = cli->live && !cli->json};
}

void progress_end(struct progress *progress)
{
    progress_past_free(&progress->past);
}

void progress_past_add(struct progress_past *past, const json_t *seen, int64_t now_us)
{
    if (past->next != NULL && now_us - past->next_us < PAST_US) {
        return;
    }
    json_decref(past->before);
    past->before = past->next;
    past->next = json_incref((json_t *)(uintptr_t)seen);
    past->next_us = now_us;
}

void progress_past_free(struct progress_past *past)
{
    json_decref(past->before);
    json_decref(past->next);
    *past = (struct progress_past){.before = NULL};
}

static int64_t lag_of(const json_t *source)
{
    return json_int(source, "lag", -1);
}

const json_t *progress_slowest(const json_t *version)
{
    const json_t *slowest = NULL;
    size_t i;
    const json_t *source;
    json_array_foreach (json_object_get(version, "sources"), i, source) {
        if (slowest == NULL || lag_of(source) > lag_of(slowest)) {
            slowest = source;
        }
    }
    return slowest;
}

/* How far a partition is between the log's start and its end. */
static double ratio_of(const json_t *source)
{
    int64_t start = json_int(source, "start", 0);
    int64_t end = json_int(source, "end", -1);
    int64_t next = json_int(source, "next", 0);
    if (end < 0) {
        return 0;
    }
    return end <= start || next >= end ? 1 : (double)(next - start) / (double)(end - start);
}

/* Is this one of the BARS_MAX slowest? By counting those that go before it. */
static bool among_slowest(const json_t *sources, size_t index)
{
    size_t before = 0;
    int64_t lag = lag_of(json_array_get(sources, index));
    for (size_t i = 0; i < json_array_size(sources); i++) {
        int64_t other = lag_of(json_array_get(sources, i));
        before += other > lag || (other == lag && i < index);
    }
    return before < BARS_MAX;
}

/* A line that must not wrap, or redrawing in place would go wrong. */
static void line_add(struct buf *out, const char *line, uint32_t *lines)
{
    struct buf safe = {0};
    out_safe(&safe, line, strlen(line));
    size_t len = safe.len < LINE_WIDTH ? safe.len : LINE_WIDTH - 1;
    while (len < safe.len && len > 0 && (safe.data[len] & 0xC0) == 0x80) {
        len--; /* not within a letter */
    }
    buf_append(out, buf_text(&safe), len);
    buf_free(&safe);
    buf_append_u8(out, '\n');
    (*lines)++;
}

static void head_line(const char *processor, const json_t *version, char *line, size_t size)
{
    char rate[OUT_NUMBER_LEN];
    char lag[OUT_NUMBER_LEN];
    char behind[OUT_NUMBER_LEN];
    char eta[OUT_NUMBER_LEN];
    int64_t lag_records = json_int(version, "lag", -1);
    (void)out_short(json_number(version, "rate", 0), rate);
    (void)out_brief(json_object_get(version, "lag_seconds"), behind);
    (void)out_brief(json_object_get(version, "eta_seconds"), eta);
    const json_t *range = json_object_get(version, "eta_range");
    char soonest[OUT_NUMBER_LEN];
    char latest[OUT_NUMBER_LEN];
    bool ranged = json_is_array(range) && json_number_value(json_array_get(range, 1)) > 0;
    (void)out_brief(json_array_get(range, 0), soonest);
    (void)out_brief(json_array_get(range, 1), latest);
    (void)snprintf(line, size, "%s v%" PRId64 " %s  %s records/s  lag %s (%s)  ETA %.8s%s%.8s",
                   processor, json_int(version, "version", 0), json_text(version, "state", "?"),
                   rate, lag_records < 0 ? "?" : out_short((double)lag_records, lag), behind,
                   ranged ? soonest : eta, ranged ? "-" : "", ranged ? latest : "");
}

/* ---- Differences ---- */

static const char *const phases[] = {"fetch", "decode", "compute", "commit", "limited", "wait"};

static double worker_number(const json_t *version, const char *name)
{
    return json_number(json_object_get(version, "worker"), name, 0);
}

/* What all of its threads have done in all, microseconds. */
static double time_of(const json_t *version, const char *phase)
{
    const json_t *times = json_object_get(json_object_get(version, "worker"), "time_us");
    return json_number(times, phase, 0);
}

static double all_time(const json_t *version)
{
    double sum = 0;
    for (size_t i = 0; i < array_len(phases); i++) {
        sum += time_of(version, phases[i]);
    }
    return sum;
}

/* Of the same worker, or NULL. */
static const json_t *earlier(const json_t *version, const json_t *before)
{
    bool same = before != NULL && worker_number(version, "pid") == worker_number(before, "pid") &&
                all_time(before) < all_time(version);
    return same ? before : NULL;
}

/* Between the two looks, by the worker's own clock; 0: not known. */
static double seconds_between(const json_t *version, const json_t *before)
{
    double shards = json_number(version, "shards", 1);
    return (all_time(version) - all_time(before)) / 1e6 / (shards >= 1 ? shards : 1);
}

void progress_where(struct buf *out, const json_t *version, const json_t *before, uint32_t *lines)
{
    before = earlier(version, before);
    double all = all_time(version) - all_time(before);
    double seconds = seconds_between(version, before);
    if (!(all > 0 && seconds > 0)) {
        return;
    }
    char rate[OUT_NUMBER_LEN];
    struct buf line = {0};
    buf_printf(
        &line, "  %s/s;",
        out_bytes((worker_number(version, "bytes") - worker_number(before, "bytes")) / seconds,
                  rate));
    for (size_t i = 0; i < array_len(phases); i++) {
        double percent = 100 * (time_of(version, phases[i]) - time_of(before, phases[i])) / all;
        if (percent >= 0.5) {
            buf_printf(&line, " %s %.0f", phases[i], percent);
        }
    }
    buf_append_text(&line, " %");
    line_add(out, buf_text(&line), lines);
    buf_free(&line);
}

/* Records a second of a partition; negative: not known. */
static double source_rate(const json_t *version, const json_t *before, size_t index)
{
    const json_t *now = json_array_get(json_object_get(version, "sources"), index);
    const json_t *then = json_array_get(json_object_get(before, "sources"), index);
    double seconds = before == NULL ? 0 : seconds_between(version, before);
    return seconds > 0 && then != NULL
               ? (json_number(now, "next", 0) - json_number(then, "next", 0)) / seconds
               : -1;
}

static void source_line(const json_t *source, double per_second, char *line, size_t size)
{
    char lag[OUT_NUMBER_LEN];
    char name[160];
    char rate[OUT_NUMBER_LEN] = "";
    struct buf bar = {0};
    int64_t lag_records = lag_of(source);
    (void)snprintf(name, sizeof name, "%s/%" PRId64, json_text(source, "topic", ""),
                   json_int(source, "partition", 0));
    out_bar(&bar, ratio_of(source), BAR_WIDTH);
    if (per_second >= 0) {
        (void)out_short(per_second, rate);
    }
    (void)snprintf(line, size, "  %-*.*s %s %3.0f %% %7s%s  lag %s", NAME_WIDTH, NAME_WIDTH, name,
                   buf_text(&bar), floor(100 * ratio_of(source)), rate, per_second >= 0 ? "/s" : "",
                   lag_records < 0 ? "?" : out_count(lag_records, lag));
    buf_free(&bar);
}

void progress_bars(struct buf *out, const json_t *version, const json_t *before, uint32_t *lines)
{
    char line[2 * LINE_WIDTH];
    const json_t *sources = json_object_get(version, "sources");
    before = earlier(version, before);
    size_t i;
    const json_t *source;
    json_array_foreach (sources, i, source) {
        if (among_slowest(sources, i)) {
            source_line(source, source_rate(version, before, i), line, sizeof line);
            line_add(out, line, lines);
        }
    }
    if (json_array_size(sources) > BARS_MAX) {
        (void)snprintf(line, sizeof line, "  and %zu more that are further",
                       json_array_size(sources) - BARS_MAX);
        line_add(out, line, lines);
    }
}

void progress_text(struct buf *out, const char *processor, const json_t *version,
                   const json_t *before, uint32_t *lines)
{
    char line[2 * LINE_WIDTH];
    head_line(processor, version, line, sizeof line);
    line_add(out, line, lines);
    progress_where(out, version, before, lines);
    progress_bars(out, version, before, lines);
    const json_t *trouble = json_object_get(version, "trouble");
    const char *why = json_text(trouble, "message", NULL);
    if (why != NULL) {
        (void)snprintf(line, sizeof line, "  trouble: %s", why);
        line_add(out, line, lines);
    }
}

/* Once for each state. */
static void say(struct progress *progress, const char *processor, const json_t *version)
{
    const char *state = json_text(version, "state", "?");
    if (strcmp(progress->said, state) == 0) {
        return;
    }
    (void)snprintf(progress->said, sizeof progress->said, "%s", state);
    char line[2 * LINE_WIDTH];
    head_line(processor, version, line, sizeof line);
    (void)fprintf(stderr, "%s\n", line);
}

void progress_show(struct progress *progress, const char *processor, const json_t *version)
{
    if (!progress->live) {
        say(progress, processor, version);
        return;
    }
    struct buf text = {0};
    uint32_t columns;
    uint32_t rows;
    uint32_t lines = 0;
    out_screen(STDERR_FILENO, &columns, &rows);
    progress_past_add(&progress->past, version, clock_mono_us(clock_real()));
    progress_text(&text, processor, version, progress->past.before, &lines);
    lines = out_clip(&text, columns, rows);
    struct buf out = {0};
    if (progress->drawn > 0) {
        buf_printf(&out, "\x1b[%" PRIu32 "A\x1b[J", progress->drawn);
    }
    buf_append(&out, text.data, text.len);
    (void)fwrite(buf_text(&out), 1, out.len, stderr);
    progress->drawn = lines;
    buf_free(&out);
    buf_free(&text);
}
