/* Several tables read as of one moment: all tables of a processor are read from one version at one
 * snapshot.
 *
 *     reader_pins_init -> reader_pins_add... -> reader_pins_begin -> reader_cursor_open...
 *     -> reader_pins_end
 *
 * The pointers of all names are looked at before and after the snapshots are begun. When any has
 * moved, all snapshots are dropped and the round begins anew, so that no two tables of a processor
 * are ever seen in different versions or at different cuts. Different processors have moments of
 * their own. */
#ifndef KAPPA_SERVE_READER_PINS_H
#define KAPPA_SERVE_READER_PINS_H

#include "serve/reader_inner.h"
#include "table/catalog.h"

#define READER_PINS_MAX 64 /* names of one statement */

/* A name that may be one of a table. */
struct reader_name {
    char name[LIMIT_NAME_LEN + 1];
    uint32_t version;               /* wanted, or 0: the serving one */
    uint32_t pin;                   /* which read holds it, or PLAN_NONE: nothing has this name */
    struct catalog_pointer pointer; /* as first looked at */
};

struct reader_pins {
    struct reader *reader;
    struct reader_name names[READER_PINS_MAX];
    uint32_t name_count;
    struct reader_read reads[READER_PINS_MAX]; /* one per version; reads[].table is not used */
    uint32_t read_count;
    bool borrowed; /* the one read is the caller's */
};

/* Empties it. */
void reader_pins_init(struct reader_pins *pins, struct reader *reader);
/* Adds a name to read; one that has no serving pointer is passed over when no version is given.
 * LIMIT when there are too many. */
int reader_pins_add(struct reader_pins *pins, const char *name, uint32_t version,
                    struct err *err) must_check;
/* NOT_FOUND: a named version is not there. */
int reader_pins_begin(struct reader_pins *pins, struct err *err) must_check;
/* Instead: all names are read as of this read, which outlives the pins. */
void reader_pins_at(struct reader_pins *pins, const struct reader_read *reading);
/* Ends the snapshots and forgets the names. */
void reader_pins_end(struct reader_pins *pins);

#endif
