/* Laying out the status. Own header: status_text.h. */
#include "cli/status_text.h"

#include "cli/limit_text.h"
#include "cli/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LINE_WIDTH     80
#define PARTITIONS_FEW 16 /* shown of a version unless all are asked for */
#define NAME_WIDTH     18 /* of topic/partition */

/* Text in lines of at most LINE_WIDTH, all indented; broken at blanks where there are any. */
static void wrapped(struct buf *out, uint32_t indent, const char *text)
{
    struct buf safe = {0};
    out_safe(&safe, text, strlen(text));
    const char *at = buf_text(&safe);
    size_t room = LINE_WIDTH - indent;
    while (*at != '\0') {
        size_t len = strlen(at);
        if (len > room) {
            len = room;
            while (len > room / 2 && at[len] != ' ') {
                len--;
            }
            if (at[len] != ' ') {
                len = room;
            }
            while (len > 0 && ((unsigned char)at[len] & 0xC0) == 0x80) {
                len--;
            }
        }
        buf_printf(out, "%*s%.*s\n", (int)indent, "", (int)len, at);
        at += len;
        at += strspn(at, " ");
    }
    buf_free(&safe);
}

static void problem(struct buf *out, const char *what, const json_t *error)
{
    const char *message = json_text(error, "message", NULL);
    if (message == NULL) {
        return;
    }
    struct buf text = {0};
    const char *hint = json_text(error, "hint", "");
    buf_printf(&text, "%s: %s%s%s%s", what, message, hint[0] == '\0' ? "" : " (", hint,
               hint[0] == '\0' ? "" : ")");
    wrapped(out, 4, buf_text(&text));
    buf_free(&text);
}

static char *short_or_dash(const json_t *value, char *text)
{
    if (!json_is_number(value) || json_number_value(value) < 0) {
        (void)snprintf(text, OUT_NUMBER_LEN, "-");
        return text;
    }
    return out_short(json_number_value(value), text);
}

/* 100 % only when it is whole. */
static void percent_cell(struct out_table *table, double ratio)
{
    double percent = floor(100 * (ratio > 0 ? fmin(ratio, 1) : 0));
    out_table_cellf(table, "%.0f %%", percent);
}

static bool consumes(const json_t *version)
{
    const char *state = json_text(version, "state", "");
    return strcmp(state, "retired") != 0 && strcmp(state, "aborted") != 0;
}

static void version_row(struct out_table *table, const json_t *version)
{
    char text[OUT_NUMBER_LEN];
    bool barred = json_bool(version, "barred", false);
    out_table_cellf(table, "v%" PRId64, json_int(version, "version", 0));
    out_table_cellf(table, "%s%s", json_text(version, "state", "?"), barred ? " *" : "");
    static const char *const counts[] = {"records", "dead", "late"};
    /* A version that ended before this controller began has said nothing to it. */
    bool silent = !consumes(version) && json_int(version, "records", 0) == 0;
    for (size_t i = 0; i < array_len(counts); i++) {
        const json_t *count = silent ? NULL : json_object_get(version, counts[i]);
        out_table_cell(table, short_or_dash(count, text));
    }
    out_table_cell(table, short_or_dash(json_object_get(version, "lag"), text));
    out_table_cell(table, out_brief(json_object_get(version, "lag_seconds"), text));
    out_table_cell(table, short_or_dash(json_object_get(version, "rate"), text));
    percent_cell(table, json_number(version, "progress", 0));
    out_table_cell(table, out_brief(json_object_get(version, "eta_seconds"), text));
}

/* The lines of a table, with the word of the state in its colour. */
static void colour_states(struct buf *out, const struct buf *plain, const json_t *versions,
                          bool colour)
{
    const char *line = buf_text(plain);
    size_t row = 0;
    while (*line != '\0') {
        size_t len = strcspn(line, "\n");
        const json_t *version = row == 0 ? NULL : json_array_get(versions, row - 1);
        const char *state = json_text(version, "state", "");
        const char *word = state[0] == '\0' ? NULL : strstr(line, state);
        if (word != NULL && word < line + len) {
            buf_append(out, line, (size_t)(word - line));
            out_styled(out, colour, out_state_style(state), state);
            buf_append(out, word + strlen(state), len - (size_t)(word - line) - strlen(state));
        } else {
            buf_append(out, line, len);
        }
        buf_append_u8(out, '\n');
        line += len + (line[len] == '\n');
        row++;
    }
}

static void versions_table(struct buf *out, const json_t *versions, bool colour)
{
    static const char *const titles[] = {"",    "STATE",  "RECORDS", "DEAD", "LATE",
                                         "LAG", "BEHIND", "RATE/s",  "DONE", "ETA"};
    struct out_table table;
    struct buf plain = {0};
    out_table_begin(&table, array_len(titles), 0x3FCU);
    table.indent = 2;
    out_table_titles(&table, titles);
    size_t i;
    const json_t *version;
    json_array_foreach (versions, i, version) {
        version_row(&table, version);
    }
    out_table_end(&table, colour, &plain);
    colour_states(out, &plain, versions, colour);
    buf_free(&plain);
}

/* topic/partition, its middle left out when it is long. */
static void source_name(const json_t *source, char *text, size_t size)
{
    char whole[200];
    (void)snprintf(whole, sizeof whole, "%s/%" PRId64, json_text(source, "topic", ""),
                   json_int(source, "partition", 0));
    size_t len = strlen(whole);
    if (len <= NAME_WIDTH) {
        (void)snprintf(text, size, "%s", whole);
    } else {
        (void)snprintf(text, size, "%.8s..%s", whole, whole + len - (NAME_WIDTH - 10));
    }
}

static void offset_cell(struct out_table *table, const json_t *source, const char *name)
{
    const json_t *value = json_object_get(source, name);
    if (json_is_integer(value)) {
        out_table_cellf(table, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else {
        out_table_cell(table, NULL);
    }
}

/* Not yet where it could serve: how it comes along is worth a picture. */
static bool is_on_its_way(const json_t *version)
{
    static const char *const states[] = {"planned", "replaying", "catching_up", "paused"};
    for (size_t i = 0; i < array_len(states); i++) {
        if (strcmp(json_text(version, "state", ""), states[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void sources_table(struct buf *out, const json_t *versions, const struct status_view *view)
{
    bool whole = view->whole;
    static const char *const titles[] = {"", "PARTITION", "START", "CUT", "END", "LAG", "BEHIND"};
    struct out_table table;
    out_table_begin(&table, array_len(titles), 0x7CU);
    table.indent = 2;
    out_table_titles(&table, titles);
    size_t rows = 0;
    size_t left_out = 0;
    size_t v;
    const json_t *version;
    json_array_foreach (versions, v, version) {
        const json_t *sources = json_object_get(version, "sources");
        if (view->watched && is_on_its_way(version)) {
            continue;
        }
        if (!consumes(version) || (!whole && json_array_size(sources) > PARTITIONS_FEW)) {
            left_out += consumes(version) ? json_array_size(sources) : 0;
            continue;
        }
        size_t i;
        const json_t *source;
        json_array_foreach (sources, i, source) {
            char name[NAME_WIDTH + 1];
            char text[OUT_NUMBER_LEN];
            source_name(source, name, sizeof name);
            if (i == 0) {
                out_table_cellf(&table, "v%" PRId64, json_int(version, "version", 0));
            } else {
                out_table_cell(&table, "");
            }
            out_table_cell(&table, name);
            offset_cell(&table, source, "start");
            offset_cell(&table, source, "next");
            offset_cell(&table, source, "end");
            out_table_cell(&table, short_or_dash(json_object_get(source, "lag"), text));
            out_table_cell(&table, out_brief(json_object_get(source, "lag_seconds"), text));
            rows++;
        }
    }
    struct buf text = {0};
    out_table_end(&table, view->colour, &text);
    if (rows > 0) {
        buf_append_text(out, "\n");
        buf_append(out, buf_text(&text), text.len);
    }
    if (left_out > 0) {
        buf_printf(out, "  %zu partitions: `kappa status PROCESSOR` shows them\n", left_out);
    }
    buf_free(&text);
}

/* " (3 of 120 reads differ)" */
static void canary_reads(const json_t *reads, struct buf *out)
{
    int64_t same = json_int(reads, "same", 0);
    int64_t other = json_int(reads, "different", 0) + json_int(reads, "missing", 0) +
                    json_int(reads, "added", 0);
    if (json_is_object(reads)) {
        buf_printf(out, " (%" PRId64 " of %" PRId64 " reads differ)", other, same + other);
    }
}

static void processor_head(struct buf *out, const json_t *processor, bool colour)
{
    const json_t *swap = json_object_get(processor, "swap");
    int64_t serving = json_int(processor, "serving", 0);
    out_styled(out, colour, OUT_BOLD, json_text(processor, "name", "?"));
    if (serving == 0) {
        buf_append_text(out, ": no version serves yet");
    } else {
        buf_printf(out, ": v%" PRId64 " serves, epoch %" PRId64, serving,
                   json_int(processor, "epoch", 0));
    }
    const json_t *group = json_object_get(processor, "group");
    if (json_is_object(group)) {
        size_t with = json_array_size(json_object_get(group, "with"));
        buf_printf(out, "; group %s, with %zu other%s", json_text(group, "name", ""), with,
                   with == 1 ? "" : "s");
    }
    const json_t *canary = json_object_get(processor, "canary");
    if (json_is_object(canary)) {
        buf_printf(out, "; %g %% of keys %s v%" PRId64, json_number(canary, "share", 0),
                   json_bool(canary, "shadow", false) ? "compared with" : "from",
                   json_int(canary, "version", 0));
        canary_reads(json_object_get(canary, "reads"), out);
    }
    if (json_is_object(swap)) {
        buf_printf(out, "; swap to v%" PRId64 ": %s", json_int(swap, "new", 0),
                   json_text(swap, "step", "?"));
    }
    buf_append_u8(out, '\n');
}

/* "v3 sends to fraud-alerts: 12 sent, 2 wait for 3 s" */
static void outputs_line(struct buf *out, const json_t *version)
{
    const json_t *outputs = json_object_get(version, "outputs");
    char text[OUT_NUMBER_LEN];
    bool serves = strcmp(json_text(version, "state", ""), "serving") == 0;
    if (!json_is_object(outputs) || (!serves && json_int(outputs, "shadow", 0) == 0)) {
        return;
    }
    buf_printf(out, "  v%" PRId64 "%s ", json_int(version, "version", 0),
               serves ? " sends to" : " would send to");
    size_t i;
    const json_t *topic;
    json_array_foreach (json_object_get(outputs, "topics"), i, topic) {
        buf_printf(out, "%s%s", i == 0 ? "" : ", ", json_string_value(topic));
    }
    if (!serves) {
        buf_printf(out, ": %s messages kept to be looked at\n",
                   out_short(json_number(outputs, "shadow", 0), text));
        return;
    }
    buf_printf(out, ": %s messages sent", out_short(json_number(outputs, "sent", 0), text));
    if (json_int(outputs, "waiting", 0) > 0) {
        buf_printf(out, ", %s wait", out_short(json_number(outputs, "waiting", 0), text));
    }
    if (json_number(outputs, "waiting_seconds", 0) >= 1) {
        buf_printf(out, " for %.0f s", json_number(outputs, "waiting_seconds", 0));
    }
    buf_append_u8(out, '\n');
}

/* "  v3: events/0 has been blocked at 17 for 40 s by an open transaction; 5 offsets wait" */
static void blocked_lines(struct buf *out, const json_t *version)
{
    bool any = false;
    size_t i;
    const json_t *source;
    json_array_foreach (json_object_get(version, "sources"), i, source) {
        char name[NAME_WIDTH + 1];
        if (strcmp(json_text(source, "status", ""), "blocked") != 0) {
            continue;
        }
        source_name(source, name, sizeof name);
        buf_printf(out,
                   "  v%" PRId64 ": %s has been blocked at %" PRId64
                   " for %.0f s by an open transaction; "
                   "%" PRId64 " offsets wait\n",
                   json_int(version, "version", 0), name, json_int(source, "next", 0),
                   json_number(source, "blocked_seconds", 0),
                   json_int(source, "high", 0) - json_int(source, "end", 0));
        any = true;
    }
    if (any) {
        buf_append_text(
            out, "     its producer ends it, or the broker when transaction.timeout.ms is over; "
                 "kafka-transactions.sh finds one that hangs\n");
    }
}

/* "v3 is limited to 50,000 records/s", and how fast a goal lets it be now */
static void limit_line(struct buf *out, const json_t *version)
{
    const json_t *limit = json_object_get(version, "limit");
    if (json_is_object(limit)) {
        struct buf text = {0};
        buf_printf(&text, "v%" PRId64 " is limited to ", json_int(version, "version", 0));
        limit_text(&text, limit);
        wrapped(out, 2, buf_text(&text));
        buf_free(&text);
    }
    const json_t *pace = json_object_get(version, "pace");
    if (json_is_object(pace)) {
        char number[OUT_NUMBER_LEN];
        struct buf text = {0};
        int64_t rate = json_int(pace, "records_per_second", 0);
        bool bytes_only = json_int(pace, "bytes_per_second", 0) > 0 ||
                          json_int(pace, "broker_bytes_per_second", 0) > 0;
        if (rate == 0 && bytes_only) {
            struct buf bytes = {0};
            limit_text(&bytes, pace);
            buf_printf(&text, "now %s: %s", buf_text(&bytes), json_text(pace, "why", ""));
            buf_free(&bytes);
        } else {
            buf_printf(&text, rate > 0 ? "now %s records/s: %s" : "now %sas fast as it can: %s",
                       rate > 0 ? out_count(rate, number) : "", json_text(pace, "why", ""));
        }
        wrapped(out, 5, buf_text(&text));
        buf_free(&text);
    }
}

/* "3 snapshots take 12.1 MB" */
static void snapshots_line(struct buf *out, const json_t *processor)
{
    char size[OUT_NUMBER_LEN];
    const json_t *snapshots = json_object_get(processor, "snapshots");
    int64_t count = json_int(snapshots, "count", 0);
    if (count > 0) {
        buf_printf(out, "  %" PRId64 " snapshot%s %s\n", count, count == 1 ? " takes" : "s take",
                   out_bytes(json_number(snapshots, "bytes", 0), size));
    }
}

/* The same version at the earlier look, or NULL. */
static const json_t *version_before(const struct status_view *view, const char *processor,
                                    int64_t number)
{
    size_t i;
    const json_t *one;
    json_array_foreach (json_object_get(view->before, "processors"), i, one) {
        size_t k;
        const json_t *version;
        if (strcmp(json_text(one, "name", ""), processor) != 0) {
            continue;
        }
        json_array_foreach (json_object_get(one, "versions"), k, version) {
            if (json_int(version, "version", 0) == number) {
                return version;
            }
        }
    }
    return NULL;
}

/* Where the time of versions on their way goes; with bars when it is watched. */
static void ways(struct buf *out, const json_t *processor, const struct status_view *view)
{
    size_t i;
    const json_t *version;
    json_array_foreach (json_object_get(processor, "versions"), i, version) {
        int64_t number = json_int(version, "version", 0);
        const json_t *before = version_before(view, json_text(processor, "name", ""), number);
        uint32_t lines = 0;
        struct buf text = {0};
        if (!is_on_its_way(version)) {
            continue;
        }
        progress_where(&text, version, before, &lines);
        if (text.len > 0) {
            buf_printf(out, "  v%" PRId64, number);
            buf_append(out, buf_text(&text) + 1, text.len - 1);
        }
        if (view->watched) {
            progress_bars(out, version, before, &lines);
        }
        buf_free(&text);
    }
}

/* alone: with its partitions. */
static void processor_text(struct buf *out, const json_t *processor, bool alone,
                           const struct status_view *view)
{
    bool colour = view->colour;
    const json_t *versions = json_object_get(processor, "versions");
    bool barred = false;
    size_t i;
    const json_t *version;
    processor_head(out, processor, colour);
    versions_table(out, versions, colour);
    json_array_foreach (versions, i, version) {
        char what[40];
        (void)snprintf(what, sizeof what, "v%" PRId64, json_int(version, "version", 0));
        const json_t *error = json_object_get(version, "error");
        const json_t *trouble = json_object_get(version, "trouble");
        problem(out, what, error);
        if (!json_equal(error, trouble)) { /* of a serving version that gave up they are one */
            problem(out, what, trouble);
        }
        (void)snprintf(what, sizeof what, "v%" PRId64 " waits to serve",
                       json_int(version, "version", 0));
        problem(out, what, json_object_get(version, "held_back"));
        barred = barred || json_bool(version, "barred", false);
    }
    json_array_foreach (versions, i, version) {
        limit_line(out, version);
        outputs_line(out, version);
        blocked_lines(out, version);
    }
    snapshots_line(out, processor);
    problem(out, "snapshot", json_object_get(processor, "snapshot_trouble"));
    problem(out, "last swap", json_object_get(processor, "last_swap_error"));
    if (barred) {
        buf_append_text(out, "  * rolled back: serves again only by `kappa swap`\n");
    }
    ways(out, processor, view);
    if (alone) {
        sources_table(out, versions, view);
    }
}

/* "all replays together are limited to 100 MB/s" */
static void limit_all_line(struct buf *out, const json_t *status)
{
    const json_t *limit = json_object_get(status, "limit");
    if (json_is_object(limit)) {
        buf_append_text(out, "all replays together are limited to ");
        limit_text(out, limit);
        buf_append_text(out, "\n\n");
    }
}

void status_text(struct buf *out, const json_t *status, const struct status_view *view)
{
    const json_t *processors = json_object_get(status, "processors");
    limit_all_line(out, status);
    if (json_array_size(processors) == 0) {
        buf_append_text(out, "nothing is deployed yet; `kappa deploy FILE.sql` makes a table\n");
    }
    size_t i;
    const json_t *processor;
    bool alone = json_array_size(processors) == 1;
    json_array_foreach (processors, i, processor) {
        buf_append_text(out, i == 0 ? "" : "\n");
        processor_text(out, processor, alone, view);
    }
    if (json_array_size(processors) > 1) {
        buf_append_text(out, "\n`kappa status PROCESSOR` shows the partitions of one\n");
    }
}
