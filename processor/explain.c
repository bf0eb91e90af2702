/* EXPLAIN: a plan in words. Own header: explain.h. */
#include "processor/explain.h"

#include "base/limits.h"
#include "base/timefmt.h"
#include "processor/agg_cache.h"
#include "processor/functions.h"

#include <string.h>

#define LABEL "  %-10s "

/* ---- Words. */

/* "5 minutes", "1 hour 30 minutes", "0 seconds". */
static void put_duration(struct buf *out, int64_t us)
{
    static const struct {
        int64_t us;
        const char *unit;
    } units[] = {{US_DAY, "day"},       {US_HOUR, "hour"},     {US_MINUTE, "minute"},
                 {US_SECOND, "second"}, {1000, "millisecond"}, {1, "microsecond"}};

    bool any = false;
    for (size_t i = 0; i < array_len(units); i++) {
        int64_t n = us / units[i].us;
        us %= units[i].us;
        if (n > 0) {
            buf_printf(out, "%s%lld %s%s", any ? " " : "", (long long)n, units[i].unit,
                       n == 1 ? "" : "s");
            any = true;
        }
    }
    buf_append_text(out, any ? "" : "0 seconds");
}

static void put_bytes(struct buf *out, size_t bytes)
{
    if (bytes < 10240) {
        buf_printf(out, "%zu bytes", bytes);
    } else {
        buf_printf(out, "%zu KiB", bytes >> 10);
    }
}

/* The name of a row-level register, if it is a column. */
static const char *register_name(const struct plan *plan, const struct plan_view *view,
                                 uint32_t reg)
{
    const struct plan_input *input = &plan->inputs[view->rows];
    if (reg < input->column_count) {
        return input->columns[reg].name;
    }
    uint32_t behind = reg - input->column_count;
    return behind == 0 ? "window_start" : behind == 1 ? "window_end" : "(expression)";
}

static void put_registers(struct buf *out, const struct plan *plan, const struct plan_view *view,
                          const uint32_t *regs, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        buf_printf(out, "%s%s", k == 0 ? "" : ", ", register_name(plan, view, regs[k]));
    }
    buf_append_text(out, count == 0 ? "(none: all rows)" : "");
}

static const char *aggregate_name(const struct plan_aggregate *aggregate)
{
    uint32_t count;
    const struct function_row *rows = function_rows(&count);
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].kind == FUNCTION_AGGREGATE && rows[i].aggregate == aggregate->kind) {
            return rows[i].name;
        }
    }
    switch ((int)aggregate->kind) {
    case PLAN_COUNT_DISTINCT:
        return "count distinct";
    case PLAN_SUM_DISTINCT:
        return "sum distinct";
    case PLAN_AVG_DISTINCT:
        return "avg distinct";
    case PLAN_STRING_AGG_DISTINCT:
        return "string_agg distinct";
    default:
        return "first rows";
    }
}

/* Does the state grow with the values it has seen? */
static bool grows(enum plan_aggregate_kind kind)
{
    static const enum plan_aggregate_kind kinds[] = {PLAN_COUNT_DISTINCT,
                                                     PLAN_SUM_DISTINCT,
                                                     PLAN_AVG_DISTINCT,
                                                     PLAN_PERCENTILE_CONT,
                                                     PLAN_MEDIAN,
                                                     PLAN_PERCENTILE_DISC,
                                                     PLAN_MODE,
                                                     PLAN_STRING_AGG,
                                                     PLAN_STRING_AGG_DISTINCT};

    for (size_t i = 0; i < array_len(kinds); i++) {
        if (kinds[i] == kind) {
            return true;
        }
    }
    return false;
}

/* ---- Inputs. */

static void explain_columns(const struct plan_input *input, struct buf *out)
{
    uint32_t used = 0;
    uint32_t decoded = 0;
    uint32_t all = 0;
    buf_printf(out, LABEL, "reads");
    for (uint32_t c = 0; c < input->column_count; c++) {
        all += input->columns[c].hidden ? 0 : 1;
        if (input->columns[c].used) {
            buf_printf(out, "%s%s", used == 0 ? "" : ", ", input->columns[c].name);
            used++;
            decoded += input->columns[c].hidden ? 0 : 1;
        }
    }
    buf_printf(out, "%s (%u of %u columns are decoded)\n", used == 0 ? "no column" : "", decoded,
               all);
}

static void explain_time(const struct plan_input *input, struct buf *out)
{
    if (input->event_time == PLAN_NONE) {
        buf_printf(out, LABEL "none: no windows over it\n", "event time");
        return;
    }
    buf_printf(out, LABEL "%s; watermark ", "event time", input->columns[input->event_time].name);
    put_duration(out, input->watermark_us);
    buf_printf(out, " behind the largest %s in the partition", input->marked ? "mark" : "seen");
    if (input->lateness_us > 0) {
        buf_append_text(out, ", windows stay open for ");
        put_duration(out, input->lateness_us);
        buf_append_text(out, " more");
    }
    buf_printf(out, "; late records are %s\n",
               input->late_kept ? "kept in the late table" : "counted and dropped");
}

static void explain_marks(const struct plan_topic *topic, struct buf *out)
{
    buf_printf(out, LABEL "written: which time has passed in all partitions that are read",
               "marks");
    if (topic->idle_us >= 0) {
        buf_append_text(out, " but those silent for ");
        put_duration(out, topic->idle_us);
    }
    buf_append_text(out, "\n");
}

static void explain_input(const struct plan_input *input, struct buf *out)
{
    buf_printf(out, "input %s\n" LABEL "%s, format %s\n", input->name, "topic", input->topic,
               plan_format_name(input->format));
    if (input->avro_file != NULL) {
        buf_printf(out, LABEL "of %s, which is deployed with the definition\n", "schema",
                   input->avro_file);
    }
    explain_columns(input, out);
    explain_time(input, out);
    if (input->primary_count > 0) {
        buf_printf(out, LABEL, "key");
        for (uint32_t k = 0; k < input->primary_count; k++) {
            buf_printf(out, "%s%s", k == 0 ? "primary key " : ", ",
                       input->columns[input->primary[k]].name);
        }
        buf_append_text(out, ": a record replaces its row, a tombstone deletes it\n");
    } else if (input->keyed) {
        bool told = input->partitioner != PARTITIONER_NONE;
        buf_printf(out, LABEL "the message key is %s: its rows are in one partition%s%s\n", "key",
                   input->columns[input->key_column].name, told ? ", chosen by " : "",
                   told ? partitioner_name(input->partitioner) : "");
        if (input->tombstones) {
            buf_printf(out,
                       LABEL "a record without value deletes the row of its key on the right "
                             "side of joins\n",
                       "tombstones");
        }
    }
    if (input->one_partition) {
        buf_printf(out,
                   LABEL
                   "the topic must have one partition: rows of a key are followed or leave as "
                   "final, and the message key does not say which they are\n",
                   "needs");
    }
    if (input->dead_limited) {
        buf_printf(out, LABEL "the version fails when too many records are dead\n", "dead");
    }
}

/* ---- Pipelines. */

static void explain_window(const struct plan_view *view, struct buf *out)
{
    if (view->window == PLAN_WINDOW_NONE) {
        return;
    }
    buf_printf(out, LABEL, "window");
    if (view->window == PLAN_WINDOW_SESSION) {
        buf_append_text(out, "session, gap ");
        put_duration(out, view->window_us);
        buf_append_text(out, "; an event between two sessions merges them\n");
        return;
    }
    buf_append_text(out, view->window == PLAN_WINDOW_HOP ? "hop, " : "tumble, ");
    put_duration(out, view->window_us);
    if (view->window == PLAN_WINDOW_HOP) {
        buf_append_text(out, " every ");
        put_duration(out, view->slide_us);
        buf_append_text(out, "; stored once in panes of ");
        put_duration(out, view->pane_us);
        buf_printf(out, ", %lld a window", (long long)(view->window_us / view->pane_us));
    }
    if (view->kind == PLAN_GROUP && !view->shape.windowed) {
        buf_append_text(out, "; GROUP BY holds no window_start or window_end: groups are over all "
                             "windows");
    }
    buf_append_text(out, "\n");
}

/* A join by time: which version is seen, and what is kept. */
static const char *plural(uint32_t count)
{
    return count == 1 ? "" : "s";
}

static void explain_history(const struct plan *plan, const struct plan_view *view,
                            const struct plan_operator *op, struct buf *out)
{
    buf_printf(out, "; the one with the largest %s that is %s ",
               register_name(plan, view, op->right_time), op->before ? "below" : "not above");
    buf_printf(out, "the row's %s\n" LABEL, register_name(plan, view, op->left_time), "");
    buf_printf(out,
               "keeps %u column%s of each version, at most %d versions and %d MiB a key; "
               "versions that were replaced go ",
               op->value_count, plural(op->value_count), LIMIT_HISTORY_ROWS,
               LIMIT_HISTORY_BYTES >> 20);
    if (op->history_us == INT64_MAX) {
        buf_append_text(out, "only then (WITH (history='...') lets them go by event time)\n");
        return;
    }
    put_duration(out, op->history_us + plan->inputs[view->input].watermark_us);
    buf_append_text(out, " later by event time\n");
}

static void explain_operator(const struct plan *plan, const struct plan_view *view,
                             const struct plan_operator *op, struct buf *out)
{
    bool over = op->kind == PLAN_OVER;
    buf_printf(out, LABEL "%s%s, key ", over ? "over" : "join",
               over        ? "window functions"
               : op->inner ? "inner, with the "
                           : "left, with the ",
               over        ? ""
               : op->as_of ? "row of the right side that is valid at a time"
                           : "newest row of the right side");
    put_registers(out, plan, view, op->keys, op->key_count);
    if (!over && op->as_of) {
        explain_history(plan, view, op, out);
        return;
    }
    if (!over) {
        buf_printf(out, "; keeps %u column%s of the right side a key, for ever\n", op->value_count,
                   plural(op->value_count));
        return;
    }
    buf_printf(out, "; rows by %s; keeps %u value%s of the last %u row%s of a key",
               op->by_time ? "event time" : "offset", op->value_count, plural(op->value_count),
               op->keep_rows + 1, plural(op->keep_rows + 1));
    if (op->by_time) {
        buf_append_text(out, " and of those within ");
        put_duration(out, op->keep_us + plan->inputs[view->input].watermark_us);
    }
    buf_append_text(out, "\n");
}

static void explain_keys(const struct plan_view *view, struct buf *out)
{
    buf_printf(out, LABEL, "key");
    for (uint32_t k = 0; k < view->key_count; k++) {
        buf_printf(out, "%s%s (%s)", k == 0 ? "" : ", ", view->keys[k].name,
                   function_type_name(view->keys[k].type));
    }
    buf_append_text(out, view->key_count == 0 ? "none: one row\n" : "\n");
}

static void explain_state(const struct plan_view *view, struct buf *out)
{
    struct arena memory;
    struct agg_layout layout;
    arena_init(&memory);
    agg_layout_init(&layout, &memory, view->aggregates, view->aggregate_count);
    bool growing = false;
    buf_printf(out, LABEL, "keeps");
    if (view->top != NULL) {
        buf_printf(out, "the %s of each key and partition, %u column%s of each",
                   view->upsert ? "newest row" : "first rows", view->top->column_count,
                   plural(view->top->column_count));
        buf_printf(out, view->upsert ? "" : ", at most %u", view->top->limit);
    } else {
        for (uint32_t a = 0; a < view->aggregate_count; a++) {
            growing = growing || grows(view->aggregates[a].kind);
            buf_printf(out, "%s%s", a == 0 ? "" : ", ", aggregate_name(&view->aggregates[a]));
        }
        buf_append_text(out, view->aggregate_count == 0 ? "the key alone" : "");
    }
    buf_append_text(out, "; in memory ");
    put_bytes(out, sizeof(struct agg_entry) + sizeof(struct agg_slot_ref) + layout.bytes);
    buf_printf(out, " and the key%s\n",
               view->top != NULL ? " and the rows"
               : growing         ? ", and the values seen by exact aggregates (up to 4 MiB)"
                                 : "");
    arena_free(&memory);
}

/* When rows go. */
static void explain_end(const struct plan_input *input, const struct plan_view *view,
                        struct buf *out)
{
    buf_printf(out, LABEL, "ends");
    if (view->shape.windowed) {
        buf_append_text(out, "a window closes when the watermark reaches its end");
        if (input->lateness_us > 0) {
            buf_append_text(out, " + ");
            put_duration(out, input->lateness_us);
        }
        if (view->emits) {
            buf_append_text(out, view->window == PLAN_WINDOW_HOP
                                     ? "; its rows become messages then, and panes go when no open "
                                       "window needs them\n"
                                     : "; its rows become messages then, and go\n");
            return;
        }
        if (view->retain_us == INT64_MAX) {
            buf_append_text(out, "; rows stay for ever (WITH (retain='...') lets them go)\n");
            return;
        }
        buf_append_text(out, "; rows go ");
        put_duration(out, view->retain_us);
        buf_append_text(out, " behind the end, by event time\n");
    } else if (view->ttl_us > 0) {
        buf_append_text(out, "a group goes when it has not changed for ");
        put_duration(out, view->ttl_us);
        buf_append_text(out, " of event time\n");
    } else {
        buf_printf(out, "never: %s\n",
                   view->upsert               ? "rows go when they are deleted"
                   : view->kind == PLAN_GROUP ? "groups stay (WITH (ttl='...') lets them go)"
                                              : "a row a record");
    }
}

static void explain_reading(const struct plan *plan, const struct plan_view *view, struct buf *out)
{
    const struct plan_input *input = &plan->inputs[view->input];
    bool whole = plan_view_keyed(plan, view) != PLAN_NONE;
    buf_printf(out, LABEL, "reading");
    if (view->kind == PLAN_APPEND) {
        buf_append_text(out, "a row is read as it is stored");
    } else {
        buf_append_text(
            out, whole && input->partitioner != PARTITIONER_NONE
                     ? "reads of a key go to one partition: nothing to merge"
                 : whole ? "a key is in one partition: nothing to merge"
                         : "the states of a key are merged over all partitions, in their order");
    }
    buf_append_text(out, view->final_only
                             ? "; a window is shown when it is closed in every partition\n"
                             : "\n");
}

static bool is_filtered(const struct plan_view *view)
{
    bool filtered = view->where != PLAN_NONE;
    for (uint32_t i = 0; i < view->phase_count; i++) {
        filtered = filtered || view->phases[i].where != PLAN_NONE;
    }
    return filtered;
}

static void explain_view(const struct plan *plan, const struct plan_view *view, struct buf *out)
{
    const struct plan_input *input = &plan->inputs[view->input];
    bool topic = view->kind == PLAN_TOPIC || view->emits;
    buf_printf(out, "\n%s %s\n" LABEL "%s%s\n", topic ? "messages to" : "table", view->shape.name,
               "from", input->name, is_filtered(view) ? ", filtered" : "");
    for (uint32_t i = 0; i < plan->plugin_count; i++) {
        if (plan->plugins[i].rows == view->rows) {
            buf_printf(out, LABEL "%s makes the rows, with state of its own\n", "plugin",
                       plan->plugins[i].file);
        }
    }
    explain_window(view, out);
    for (uint32_t i = 0; i < view->phase_count; i++) {
        explain_operator(plan, view, view->phases[i].op, out);
    }
    if (view->emits) {
        explain_keys(view, out);
        explain_state(view, out);
        explain_end(input, view, out);
    }
    if (topic) {
        const struct plan_topic *to = &plan->topics[view->topic];
        buf_printf(out, LABEL "%s, key %s; each message once, real from the swap on\n", "topic",
                   to->topic, to->key == PLAN_NONE ? "none" : to->columns[to->key].name);
        if (to->marks) {
            explain_marks(to, out);
        }
        return;
    }
    if (view->kind == PLAN_APPEND) {
        buf_printf(out, LABEL "partition, offset: a row a record\n", "key");
    } else {
        explain_keys(view, out);
        explain_state(view, out);
    }
    explain_end(input, view, out);
    explain_reading(plan, view, out);
}

void plan_explain(const struct plan *plan, struct buf *out)
{
    char hash[DIGEST_TEXT_LEN + 1];
    digest_format(plan->hash, hash);
    buf_printf(out, "definition %s\n\n", hash);
    for (uint32_t i = 0; i < plan->input_count; i++) {
        explain_input(&plan->inputs[i], out);
    }
    for (uint32_t v = 0; v < plan->pipeline_count; v++) {
        explain_view(plan, &plan->views[v], out);
    }
    for (uint32_t v = 0; v < plan->read_view_count; v++) {
        buf_printf(out, "\nview %s\n" LABEL "when it is read, over the tables at one snapshot\n",
                   plan->read_views[v].name, "computed");
    }
    for (uint32_t i = 0; i < plan->setting_count; i++) {
        buf_printf(out, "%s" LABEL "%s = %s\n", i == 0 ? "\n" : "", i == 0 ? "policy" : "",
                   plan->settings[i].name, plan->settings[i].value);
    }
    buf_append_text(
        out, "\ndeterministic: a partition is processed in offset order by one thread, state is\n"
             "kept per partition, time comes from the records alone, and nothing reads clock\n"
             "or chance. The same definition over the same records gives the same rows, live\n"
             "and in any replay.\n");
}
