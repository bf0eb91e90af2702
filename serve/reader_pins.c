/* Snapshots of several versions that belong together. Own header: reader_pins.h. */
#include "serve/reader_pins.h"

#include "base/clock.h"

#include <string.h>
#include <time.h>

#define ROUNDS_QUICK  4       /* without waiting in between */
#define ROUND_WAIT_NS 1000000 /* then so much */
#define ROUNDS_MAX_US 30000000

void reader_pins_init(struct reader_pins *pins, struct reader *reader)
{
    MAGIC_ASSERT(reader, READER_MAGIC);
    pins->reader = reader;
    pins->name_count = 0;
    pins->read_count = 0;
    pins->borrowed = false;
}

/* A candidate as a pointer. */
static int look_candidate(struct reader_pins *pins, const char *name,
                          struct catalog_pointer *pointer, struct err *err)
{
    uint32_t number = READER_CANDIDATE;
    *pointer = (struct catalog_pointer){0};
    int rc = reader_version_resolve(pins->reader, name, &number, pointer->processor, err);
    if (rc == 0) {
        pointer->version = number;
        pointer->epoch = reader_epoch(pins->reader, pointer->processor);
    }
    return rc;
}

int reader_pins_add(struct reader_pins *pins, const char *name, uint32_t version, struct err *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > LIMIT_NAME_LEN) {
        return 0;
    }
    for (uint32_t i = 0; i < pins->name_count; i++) {
        if (pins->names[i].version == version && strcmp(pins->names[i].name, name) == 0) {
            return 0;
        }
    }
    struct catalog_pointer pointer;
    int rc = version != 0 ? 1 : catalog_pointer_find(pins->reader->catalog, name, &pointer, err);
    if (rc != 1) {
        return rc;
    }
    if (pins->name_count == READER_PINS_MAX) {
        return err_set(err, KE_LIMIT, "more than %d tables in one statement", READER_PINS_MAX);
    }
    struct reader_name *added = &pins->names[pins->name_count++];
    *added = (struct reader_name){.version = version, .pin = PLAN_NONE};
    memcpy(added->name, name, len);
    return 0;
}

static void reads_end(struct reader_pins *pins)
{
    for (uint32_t i = 0; i < pins->read_count && !pins->borrowed; i++) {
        reader_end(pins->reader, &pins->reads[i]);
    }
    pins->read_count = 0;
}

void reader_pins_end(struct reader_pins *pins)
{
    reads_end(pins);
    pins->name_count = 0;
}

/* The read of this version: one that is there, or a new one. 0, or negative. */
static int pin(struct reader_pins *pins, const char *processor, uint32_t version, uint64_t epoch,
               uint32_t *out, struct err *err)
{
    for (uint32_t i = 0; i < pins->read_count; i++) {
        const struct reader_version *known = pins->reads[i].version;
        if (known->number == version && strcmp(known->processor, processor) == 0) {
            *out = i;
            return 0;
        }
    }
    struct reader_read *read = &pins->reads[pins->read_count];
    *read = (struct reader_read){.epoch = epoch};
    int rc = reader_version_take(pins->reader, processor, version, &read->version, err);
    if (rc != 0) {
        return rc;
    }
    rc = view_snapshot_begin(read->version->view, &read->snapshot, err);
    if (rc != 0) {
        reader_version_give(pins->reader, read->version);
        return rc;
    }
    *out = pins->read_count++;
    return 0;
}

static int pin_named(struct reader_pins *pins, struct reader_name *name, struct err *err)
{
    char processor[LIMIT_NAME_LEN + 1];
    int rc = reader_processor_of(pins->reader, name->name, name->version, processor, err);
    if (rc != 0) {
        return rc;
    }
    uint64_t epoch = reader_epoch(pins->reader, processor);
    return pin(pins, processor, name->version, epoch, &name->pin, err);
}

/* Looks at all serving names a first time, or (again) whether they are as they were. 1: all is well;
 * 0: something moved. Two names of one processor looked at before and after a swap differ. */
static int look_at_all(struct reader_pins *pins, bool again, struct err *err)
{
    for (uint32_t i = 0; i < pins->name_count; i++) {
        struct reader_name *name = &pins->names[i];
        struct catalog_pointer now;
        if (name->version != 0 && name->version != READER_CANDIDATE) {
            continue;
        }
        int rc = name->version == 0
                     ? catalog_pointer_find(pins->reader->catalog, name->name, &now, err)
                     : look_candidate(pins, name->name, &now, err);
        if (rc < 0) {
            return rc;
        }
        if (again && !catalog_pointer_same(&now, &name->pointer)) {
            return 0;
        }
        name->pointer = now;
        for (uint32_t k = 0; !again && now.version != 0 && k < i; k++) {
            const struct catalog_pointer *other = &pins->names[k].pointer;
            bool related = pins->names[k].version == name->version && other->version != 0 &&
                           strcmp(other->processor, now.processor) == 0;
            if (related && !catalog_pointer_same(other, &now)) {
                return 0;
            }
        }
    }
    return 1;
}

static int pin_all(struct reader_pins *pins, struct err *err)
{
    for (uint32_t i = 0; i < pins->name_count; i++) {
        struct reader_name *name = &pins->names[i];
        const struct catalog_pointer *at = &name->pointer;
        int rc = 0;
        name->pin = PLAN_NONE;
        if (name->version != 0 && name->version != READER_CANDIDATE) {
            rc = pin_named(pins, name, err);
        } else if (at->version != 0) {
            rc = pin(pins, at->processor, at->version, at->epoch, &name->pin, err);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* 1: it stands, 0: again, negative. */
static int one_round(struct reader_pins *pins, struct err *err)
{
    struct err reason = {0};
    int rc = look_at_all(pins, false, err);
    if (rc != 1) {
        return rc;
    }
    if (pins->reader->between != NULL) {
        pins->reader->between(pins->reader->between_ctx);
    }
    int pinned = pin_all(pins, &reason);
    rc = look_at_all(pins, true, err);
    if (rc == 1 && pinned != 0) {
        /* With pointers that moved, a version may just have been retired and dropped. */
        if (err != NULL) {
            *err = reason;
        }
        rc = pinned;
    }
    if (rc != 1) {
        reads_end(pins);
    }
    return rc;
}

int reader_pins_begin(struct reader_pins *pins, struct err *err)
{
    ASSERT_CMP(pins->read_count, ==, 0);
    int64_t until = clock_mono_us(clock_real()) + ROUNDS_MAX_US;
    for (uint32_t round = 1;; round++) {
        int rc = one_round(pins, err);
        if (rc != 0) {
            return rc < 0 ? rc : 0;
        }
        if (clock_mono_us(clock_real()) > until) {
            return err_set(err, KE_TIMEOUT, "the serving pointers do not come to rest");
        }
        if (round >= ROUNDS_QUICK) {
            struct timespec nap = {0, ROUND_WAIT_NS};
            (void)nanosleep(&nap, NULL);
        }
    }
}

void reader_pins_at(struct reader_pins *pins, const struct reader_read *reading)
{
    ASSERT_CMP(pins->read_count, ==, 0);
    pins->borrowed = true;
    pins->reads[pins->read_count++] = *reading;
    for (uint32_t i = 0; i < pins->name_count; i++) {
        pins->names[i].pin = 0;
    }
}
