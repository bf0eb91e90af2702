/* Figures of archives. Own header: archiver_figures.h. */
#include "log/archiver_figures.h"

#include "log/archive_partition.h"

void archiver_figure_look(const char *archive_dir, const char *topic, uint32_t partition,
                          struct archiver_figure *figure)
{
    struct archive_view view;
    int64_t end = -1;
    if (archive_view_load(archive_dir, topic, partition, &view, NULL) != 0) {
        return;
    }
    figure->records = 0;
    figure->bytes = 0;
    figure->gap_offsets = 0;
    for (uint32_t i = 0; i < view.count; i++) {
        int64_t from = 0;
        int64_t to = 0;
        bool lost = false;
        figure->records += view.spans[i].records;
        figure->bytes += view.spans[i].size;
        if (archive_view_gap(&view, i, &from, &to, &lost)) {
            figure->gap_offsets += to - from;
        }
    }
    if (!archive_view_tail(&view, &figure->start, &end)) {
        figure->start = view.first;
    }
    archive_view_free(&view);
}

static void set_known(json_t *object, const char *name, int64_t value)
{
    if (value >= 0) {
        (void)json_object_set_new(object, name, json_integer(value));
    }
}

json_t *archiver_figures_json(const char *topic, bool trouble,
                              const struct archiver_figure *figures, uint32_t count)
{
    json_t *partitions = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_t *partition = json_pack("{s:I}", "partition", (json_int_t)i);
        set_known(partition, "start", figures[i].start);
        set_known(partition, "end", figures[i].end);
        set_known(partition, "lag", figures[i].lag);
        set_known(partition, "records", figures[i].records);
        set_known(partition, "bytes", figures[i].bytes);
        set_known(partition, "gap_offsets", figures[i].gap_offsets);
        (void)json_array_append_new(partitions, partition);
    }
    return json_pack("{s:s, s:i, s:o}", "topic", topic, "trouble", (int)trouble, "partitions",
                     partitions);
}
