/* The picture of a version on its way: one line with rate, lag and time left, one that says where its
 * threads' time goes, a bar per partition. Redrawn in place on a terminal; elsewhere a line when the
 * state changes. On stderr. `kappa status --watch` shows the same parts. */
#ifndef KAPPA_CLI_PROGRESS_H
#define KAPPA_CLI_PROGRESS_H

#include "base/json.h"
#include "cli/cmd.h"

/* What was seen one to two seconds ago: rates are differences. All zero: fresh. */
struct progress_past {
    json_t *before; /* NULL: too short ago; owned */
    json_t *next;   /* becomes `before` when it is old enough; owned */
    int64_t next_us;
};

void progress_past_add(struct progress_past *past, const json_t *seen, int64_t now_us);
void progress_past_free(struct progress_past *past);

struct progress {
    struct progress_past past; /* of the version's object */
    bool live;                 /* redraw in place */
    uint32_t drawn;            /* lines on the terminal to go over */
    char said[32];             /* the state last said, when not live */
};

void progress_begin(struct progress *progress, const struct cli *cli);
/* version: an element of "versions" of the status. */
void progress_show(struct progress *progress, const char *processor, const json_t *version);
void progress_end(struct progress *progress);

/* The lines of the picture. before: the version as it was some time ago, or NULL. */
void progress_text(struct buf *out, const char *processor, const json_t *version,
                   const json_t *before, uint32_t *lines);
/* Parts of it: where the time has gone since then (NULL: since its worker began), nothing when that
 * is not known; the bars. */
void progress_where(struct buf *out, const json_t *version, const json_t *before, uint32_t *lines);
void progress_bars(struct buf *out, const json_t *version, const json_t *before, uint32_t *lines);

/* The source with the largest lag, borrowed; NULL when there is none. */
const json_t *progress_slowest(const json_t *version);

#endif
