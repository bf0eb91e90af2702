/* The plan of a replay for people. Own header: dry_run_text.h. */
#include "cli/dry_run_text.h"

#include "base/buf.h"
#include "cli/output.h"
#include "cli/release.h"

#include <inttypes.h>
#include <string.h>

static const char *bytes_text(const json_t *bytes, char *text)
{
    return json_is_number(bytes) ? out_bytes(json_number_value(bytes), text) : "unknown";
}

/* The end of the source's piece from an archive; -1: it has none. */
static int64_t archived_to(const json_t *source)
{
    const json_t *first = json_array_get(json_object_get(source, "pieces"), 0);
    return strcmp(json_text(first, "source", ""), "archive") == 0 ? json_int(first, "to", -1) : -1;
}

/* Records that archives give, of all sources. */
static int64_t archived_records(const json_t *plan)
{
    int64_t sum = 0;
    size_t i;
    const json_t *source;
    json_array_foreach (json_object_get(plan, "sources"), i, source) {
        sum += i64_max(archived_to(source) - json_int(source, "from", 0), 0);
    }
    return sum;
}

static void sources_table(const json_t *plan, struct buf *out)
{
    static const char *const titles[] = {"PARTITION", "FROM",     "TO",        "AT MOST",
                                         "BYTES",     "KEPT FOR", "ARCHIVE TO"};
    struct out_table table;
    size_t i;
    const json_t *source;
    bool archived = archived_records(plan) > 0;
    out_table_begin(&table, array_len(titles) - !archived, 0x7EU);
    table.indent = 2;
    out_table_titles(&table, titles);
    json_array_foreach (json_object_get(plan, "sources"), i, source) {
        char text[OUT_NUMBER_LEN];
        out_table_cellf(&table, "%s/%" PRId64, json_text(source, "topic", ""),
                        json_int(source, "partition", 0));
        out_table_cellf(&table, "%" PRId64, json_int(source, "from", 0));
        out_table_cellf(&table, "%" PRId64, json_int(source, "to", 0));
        out_table_cell(&table, out_count(json_int(source, "records", 0), text));
        out_table_cell(&table, bytes_text(json_object_get(source, "bytes"), text));
        out_table_cell(&table, out_brief(json_object_get(source, "headroom_seconds"), text));
        if (archived_to(source) >= 0) {
            out_table_cellf(&table, "%" PRId64, archived_to(source));
        } else if (archived) {
            out_table_cell(&table, "-");
        }
    }
    out_table_end(&table, false, out);
}

/* Where the records come from, when it is not the log alone. */
static void pieces_text(const json_t *plan, struct buf *out)
{
    char text[OUT_NUMBER_LEN];
    int64_t records = json_int(plan, "records", 0);
    int64_t archived = archived_records(plan);
    if (archived > 0) {
        buf_printf(out, "  archive   at most %s records come from it,", out_count(archived, text));
        buf_printf(out, " %s from the log\n", out_count(records - archived, text));
    }
}

static void speed_text(const json_t *plan, struct buf *out)
{
    const json_t *speed = json_object_get(plan, "speed");
    const json_t *arrival = json_object_get(plan, "arrival");
    char low[OUT_NUMBER_LEN];
    char high[OUT_NUMBER_LEN];
    if (json_is_object(speed)) {
        buf_printf(out, "  speed     %s to %s records/s",
                   out_short(json_number(speed, "low", 0), low),
                   out_short(json_number(speed, "high", 0), high));
        int64_t version = json_int(speed, "version", 0);
        if (version != 0) {
            buf_printf(out, ", as v%" PRId64 " was measured\n", version);
        } else {
            buf_printf(out, ", from a sample of %s\n",
                       out_count(json_int(speed, "sampled", 0), low));
        }
    } else {
        buf_append_text(out, "  speed     not known: no records were applied to measure it\n");
    }
    if (json_is_number(arrival)) {
        double rho = json_number(plan, "utilisation", -1);
        buf_printf(out, "  arrival   %s records/s", out_short(json_number_value(arrival), low));
        if (rho >= 0) {
            buf_printf(out, ", %.2g %% of what the replay reads", 100 * rho);
        }
        buf_append_u8(out, '\n');
    }
    const json_t *eta = json_object_get(plan, "eta_range");
    if (json_is_array(eta)) {
        const json_t *latest = json_array_get(eta, 1);
        buf_printf(out, "  time      %s to %s\n", out_seconds(json_array_get(eta, 0), low),
                   json_is_number(latest) ? out_seconds(latest, high) : "never");
    } else {
        buf_printf(out, "  time      %s\n",
                   json_is_boolean(json_object_get(plan, "catches_up")) ? "never" : "not known");
    }
}

static void room_text(const json_t *plan, struct buf *out)
{
    const json_t *disk = json_object_get(plan, "disk");
    char new_bytes[OUT_NUMBER_LEN];
    char both[OUT_NUMBER_LEN];
    char available[OUT_NUMBER_LEN];
    buf_printf(out, "  disk      %s for the new tables, %s with those that serve, %s free\n",
               bytes_text(json_object_get(disk, "new_bytes"), new_bytes),
               bytes_text(json_object_get(disk, "both_bytes"), both),
               bytes_text(json_object_get(disk, "free_bytes"), available));
    buf_printf(out, "  memory    %s of cache for the new version\n",
               out_bytes(json_number(json_object_get(plan, "memory"), "cache_bytes", 0), both));
}

int dry_run_print(const struct cli *cli, const json_t *plan, struct err *err)
{
    struct buf out = {0};
    char text[OUT_NUMBER_LEN];
    size_t i;
    const json_t *warning;
    if (cli->json) {
        return out_json(plan, err);
    }
    buf_printf(&out, "v%" PRId64 " of %s would read at most %s records",
               json_int(plan, "version", 0), json_text(plan, "processor", ""),
               out_count(json_int(plan, "records", 0), text));
    const json_t *bytes = json_object_get(plan, "bytes");
    if (json_is_number(bytes)) {
        bool guessed = json_bool(plan, "bytes_estimated", false);
        buf_printf(&out, ", %s%s", guessed ? "about " : "", bytes_text(bytes, text));
    }
    buf_printf(&out, ", from %s\n", json_text(plan, "from", ""));
    release_begins(plan, &out);
    sources_table(plan, &out);
    pieces_text(plan, &out);
    speed_text(plan, &out);
    room_text(plan, &out);
    json_array_foreach (json_object_get(plan, "warnings"), i, warning) {
        out_styled(&out, cli->colour, OUT_YELLOW, "warning: ");
        out_safe(&out, json_string_value(warning), json_string_length(warning));
        buf_append_u8(&out, '\n');
    }
    const char *refused = json_text(json_object_get(plan, "refused"), "message", NULL);
    if (refused != NULL) {
        out_styled(&out, cli->colour, OUT_RED, "would be refused: ");
        out_safe(&out, refused, strlen(refused));
        buf_append_u8(&out, '\n');
    }
    buf_append_text(&out, "Nothing was written.\n");
    int rc = out_write(&out, err);
    buf_free(&out);
    return rc;
}
