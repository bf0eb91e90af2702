/* What an archiver tells of itself to those who watch it: per topic whether it is in trouble, per
 * partition how far it is and what there is.
 *
 *     archiver_figure_look (its files) -> archiver_figures_json */
#ifndef KAPPA_LOG_ARCHIVER_FIGURES_H
#define KAPPA_LOG_ARCHIVER_FIGURES_H

#include "base/json.h"

/* Of a partition; -1: not known. */
struct archiver_figure {
    int64_t start;   /* first offset from which nothing is missing */
    int64_t end;     /* the next one to be written */
    int64_t lag;     /* offsets that readers of the log see, and the files do not have yet */
    int64_t records; /* on disk, as are the next two */
    int64_t bytes;
    int64_t gap_offsets; /* missing in front of start */
};

/* Start, records, bytes and gaps, from the headers of its files; what cannot be read stays as it was. */
void archiver_figure_look(const char *archive_dir, const char *topic, uint32_t partition,
                          struct archiver_figure *figure);
/* {"topic","trouble":0|1,"partitions":[{"partition","start","end","lag","records","bytes",
 * "gap_offsets"}]}, without what is not known. A new reference. */
json_t *archiver_figures_json(const char *topic, bool trouble,
                              const struct archiver_figure *figures, uint32_t count);

#endif
