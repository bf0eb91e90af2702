/* Feeds: a thread for each table that somebody follows. Own header: feed.h.
 *
 *     look: has the version committed, or another one been swapped in?
 *         no   nothing
 *         yes  a newer snapshot, compared with the one that is kept: a step for the ring; then the
 *              older one is let go
 *     rows wanted? a listing of the snapshot that is kept, once for all who wait
 *
 * A look costs a read transaction. A comparison reads what differs, where the stored bytes say what
 * does, else both snapshots; the next one comes no sooner than three times as long after it: a table of
 * any size takes a quarter of a core at most. */
#include "base/clock.h"
#include "base/cond.h"
#include "serve/feed_inner.h"
#include "serve/query.h"

#include <stdlib.h>
#include <string.h>

#define FEED_MAGIC   0x46656564U
#define FEEDS_MAGIC  0x46656473U
#define LOOK_US      INT64_C(50000)
#define REST         3 /* times as long as a look took */
#define BEAT_US      INT64_C(15000000)
#define LINGER_US    INT64_C(30000000) /* without followers: they may come back */
#define OUTGROWN_MAX 100 /* looks: then the map does not seem to move whatever we do */
#define WHY_FIRST    "begins with the rows as they are"
#define WHY_MANY     "more differs than a step may hold"
#define WHY_COLUMNS  "the columns or the key of the new version are others"
#define WHY_MAP      "the snapshot was in the way of a growing file"

static int64_t now_us(void)
{
    return clock_mono_us(clock_real());
}

static void lock(struct feeds *feeds)
{
    int rc = pthread_mutex_lock(&feeds->lock);
    ASSERT_CMP(rc, ==, 0);
}

static void unlock(struct feeds *feeds)
{
    int rc = pthread_mutex_unlock(&feeds->lock);
    ASSERT_CMP(rc, ==, 0);
}

/* ---- the feed's end; with the lock held */

static void feed_give(struct feed *feed)
{
    ASSERT_CMP(feed->owners, >, 0);
    if (--feed->owners > 0) {
        return;
    }
    while (feed->first < feed->behind) {
        feed_piece_release(feed->ring[feed->first++ % FEED_PIECES]);
    }
    feed_piece_release(feed->brief);
    feed_listing_release(feed->listing);
    feed_choice_free(&feed->choice);
    feed->magic = 0;
    free(feed);
}

/* Nobody finds it any more; those who follow it are told why. */
static void feed_end(struct feed *feed, const struct err *err)
{
    struct feed **at = &feed->feeds->first;
    while (*at != feed) {
        at = &(*at)->next;
    }
    *at = feed->next;
    feed->ended = true;
    if (err != NULL) {
        feed->err = *err;
    }
    feed_wake(feed);
}

/* ---- snapshots */

static void point_end(struct feed *feed, struct feed_point *point)
{
    if (point->there) {
        reader_end(feed->feeds->reader, &point->reading);
    }
    feed_view_free(point->view);
    *point = (struct feed_point){0};
}

static void base_drop(struct feed *feed, const char *why)
{
    point_end(feed, &feed->base);
    feed->why = why;
}

/* Of a table or a view. */
static int read_begin(struct reader *reader, const char *table, struct reader_read *out,
                      struct err *err)
{
    struct err reason = {0};
    int rc = reader_begin(reader, table, 0, out, &reason);
    if (rc == -KE_REFUSED && query_is_view(reader, table, 0)) {
        return feed_view_begin(reader, table, out, err);
    }
    if (rc != 0 && err != NULL) {
        *err = reason;
    }
    return rc;
}

/* A newer snapshot: 1, 0 not now, negative. */
static int point_begin(struct feed *feed, struct feed_point *out, struct err *err)
{
    struct err reason = {0};
    bool outgrown = feed->base.there && view_outgrown(feed->base.reading.version->view);
    feed->outgrown = outgrown ? feed->outgrown + 1 : feed->base.there ? 0 : feed->outgrown;
    if (outgrown && feed->outgrown < OUTGROWN_MAX) {
        base_drop(feed, WHY_MAP);
    }
    int rc = read_begin(feed->feeds->reader, feed->table, &out->reading, &reason);
    if (rc == -KE_BUSY || rc == -KE_AGAIN || rc == -KE_TIMEOUT) {
        base_drop(feed, WHY_MAP);
        return 0;
    }
    if (rc != 0) {
        *err = reason;
        return rc;
    }
    out->there = true;
    feed_point_name(out, feed->choice.name);
    return 1;
}

static struct feed_piece *brief_make(struct feed *feed, const struct feed_point *point,
                                     const char *why)
{
    struct buf text = {0};
    feed_event_reset(&text, point, feed->table, why, false);
    feed_event_cut(&text, point, feed->table);
    struct feed_piece *piece = feed_piece_new(&text, point->id);
    buf_free(&text);
    return piece;
}

/* ---- one look */

static bool versions_differ(const struct reader_version *a, const struct reader_version *b)
{
    return a->number != b->number || strcmp(a->processor, b->processor) != 0;
}

/* The step from the base to the point: 1, 0 there is none (feed->why), negative. */
static int step_make(struct feed *feed, const struct feed_point *to, struct feed_step *step,
                     struct err *err)
{
    const struct feed_point *from = &feed->base;
    if (!feed_rows_match(from, to)) {
        feed->why = WHY_COLUMNS;
        return 0;
    }
    if (versions_differ(from->reading.version, to->reading.version)) {
        feed_event_swap(&step->text, from, to);
    }
    int rc = feed_rows_compare(feed, from, to, step, err);
    if (rc == 0) {
        feed->why = WHY_MANY;
    }
    if (rc == 1) {
        feed_event_cut(&step->text, to, feed->table);
        feed_step_cut(step, to->id);
    }
    return rc;
}

/* Moves on to a point; it is the base then. */
static int move_on(struct feed *feed, struct feed_point *to, struct err *err)
{
    struct feed_step step = {0};
    int rc = feed->base.there ? step_make(feed, to, &step, err) : 0;
    if (rc < 0) {
        feed_step_free(&step);
        return rc;
    }
    struct feed_piece *brief = brief_make(feed, to, rc == 1 ? WHY_FIRST : feed->why);
    lock(feed->feeds);
    if (rc == 1) {
        feed_publish(feed, &step, brief);
    } else {
        feed_reset(feed, brief);
    }
    if (feed->followers == NULL) {
        feed->why = WHY_FIRST;
    }
    unlock(feed->feeds);
    feed->told_us = now_us();
    feed_step_free(&step);
    point_end(feed, &feed->base);
    feed->base = *to;
    *to = (struct feed_point){0};
    return 0;
}

/* The choice of rows as this version understands it. */
static int sieve_follow(struct feed *feed, const struct feed_point *to, struct err *err)
{
    const struct reader_version *version = to->reading.version;
    if (feed->sieve.version == version->number &&
        strcmp(feed->sieve.processor, version->processor) == 0) {
        return 0;
    }
    feed_sieve_close(&feed->sieve);
    int rc = feed_sieve_open(&feed->choice, &to->reading, &feed->sieve, err);
    if (rc < 0) {
        err_prefix(err, "version %u of %s", version->number, version->processor);
    }
    return rc;
}

static int look(struct feed *feed, struct err *err)
{
    struct feed_point to = {0};
    int rc = point_begin(feed, &to, err);
    if (rc != 1) {
        return rc;
    }
    rc = sieve_follow(feed, &to, err);
    if (rc < 0) {
        point_end(feed, &to);
        return rc;
    }
    const struct reader_read *base = &feed->base.reading;
    bool same = feed->brief != NULL && strcmp(to.id, feed->brief->id) == 0;
    bool moved = base->version != to.reading.version || base->epoch != to.reading.epoch;
    rc = 0;
    if (to.reading.table == PLAN_NONE && (!same || !feed->base.there || moved)) {
        rc = feed_view_read(feed, &to, err);
    }
    if (rc < 0) {
        point_end(feed, &to);
        return rc;
    }
    if (same && !feed->base.there) { /* it was let go, and nothing has happened since */
        feed->base = to;
        return 0;
    }
    if (!same || moved) {
        rc = move_on(feed, &to, err);
    }
    point_end(feed, &to);
    return rc;
}

/* All rows as of the base, for those who begin. */
static int list(struct feed *feed, struct err *err)
{
    struct feed_listing *listing = xcalloc(1, sizeof *listing);
    struct route_answer *whole = &listing->whole;
    listing->owners = 1;
    route_answer_init(whole, 0);
    feed_event_reset(&whole->body, &feed->base, feed->table, feed->why, true);
    feed->why = WHY_FIRST; /* of the next one */
    int rc = feed_rows_list(feed, whole, err);
    if (rc == 0) {
        feed_event_cut(&whole->body, &feed->base, feed->table);
        rc = whole->spill >= 0 ? route_answer_spill_rest(whole, err) : 0;
    }
    lock(feed->feeds);
    if (rc == 0) {
        listing->seq = feed->behind;
        listing->bytes_before = feed->bytes_ever;
        feed_listing_release(feed->listing);
        feed->listing = listing;
        feed->listing_wanted = false;
        feed_wake(feed);
    } else {
        feed_listing_release(listing);
    }
    unlock(feed->feeds);
    return rc;
}

/* Waits for the next look, or until rows are wanted. False: the feed ends. */
static bool rest(struct feed *feed, bool *wanted)
{
    struct feeds *feeds = feed->feeds;
    struct timespec until = cond_until(feed->wait_us / 1000);
    lock(feeds);
    bool over = false;
    while (!feeds->closing && !over && !(feed->listing_wanted && feed->base.there)) {
        over = pthread_cond_timedwait(&feeds->moved, &feeds->lock, &until) != 0;
    }
    int64_t now = now_us();
    bool idle = feed->followers == NULL && now - feed->left_us > LINGER_US;
    if (now - feed->told_us > BEAT_US) {
        feed->told_us = now;
        feed->beats++;
        feed_wake(feed);
    }
    *wanted = feed->listing_wanted && feed->base.there;
    bool on = !feeds->closing && !idle;
    if (!on) {
        feed_end(feed, NULL);
    }
    unlock(feeds);
    return on;
}

static void *feed_run(void *ctx)
{
    struct feed *feed = ctx;
    MAGIC_ASSERT(feed, FEED_MAGIC);
    struct feeds *feeds = feed->feeds;
    struct err err = {0};
    bool wanted = false;
    int rc = 0;
    do {
        int64_t begun_us = now_us();
        rc = wanted ? list(feed, &err) : look(feed, &err);
        feed->wait_us = i64_max(LOOK_US, REST * (now_us() - begun_us));
    } while (rc == 0 && rest(feed, &wanted));
    point_end(feed, &feed->base);
    feed_sieve_close(&feed->sieve);
    query_close(feed->query);
    lock(feeds);
    if (rc < 0) {
        feed_end(feed, &err);
    }
    feed_count(&feeds->counters.tables, -1);
    feed_give(feed);
    (void)pthread_cond_broadcast(&feeds->moved);
    unlock(feeds);
    return NULL;
}

/* ---- following */

static struct feed *feed_find(struct feeds *feeds, const char *name)
{
    struct feed *feed = feeds->first;
    while (feed != NULL && strcmp(feed->choice.name, name) != 0) {
        feed = feed->next;
    }
    return feed;
}

/* With the lock held. The choice is taken when there is a feed. */
static int feed_start(struct feeds *feeds, const char *table, struct feed_choice *choice,
                      struct feed **out, struct err *err)
{
    if (feeds->counters.tables == FEED_TABLES_MAX) {
        int rc = err_set(err, KE_AGAIN, "%d tables or choices of rows are followed already",
                         FEED_TABLES_MAX);
        err_hint(err, "one that nobody follows is let go after %d s", (int)(LINGER_US / 1000000));
        return rc;
    }
    struct feed *feed = xcalloc(1, sizeof *feed);
    pthread_t thread;
    feed->magic = FEED_MAGIC;
    feed->owners = 1;
    feed->feeds = feeds;
    feed->told_us = now_us();
    feed->left_us = feed->told_us;
    (void)snprintf(feed->table, sizeof feed->table, "%s", table);
    feed->choice = *choice;
    feed->why = WHY_FIRST;
    int failed = pthread_create(&thread, NULL, feed_run, feed);
    if (failed != 0) {
        free(feed);
        return err_errno(err, failed, "no thread to follow %s", table);
    }
    *choice = (struct feed_choice){0};
    (void)pthread_detach(thread);
    feed_count(&feeds->counters.tables, 1);
    feed->next = feeds->first;
    feeds->first = feed;
    *out = feed;
    return 0;
}

/* Is it a table that is served, and has it such rows? */
static int ask_check(struct feeds *feeds, const char *table, const struct feed_choice *choice,
                     struct err *err)
{
    struct reader_read reading;
    int rc = read_begin(feeds->reader, table, &reading, err);
    if (rc == 0) {
        struct feed_sieve sieve = {0};
        rc = feed_sieve_open(choice, &reading, &sieve, err);
        feed_sieve_close(&sieve);
        reader_end(feeds->reader, &reading);
    }
    return rc;
}

int feed_follow(struct feeds *feeds, const struct feed_ask *ask, const struct feed_sleeper *sleeper,
                struct feed_follower **out, struct err *err)
{
    MAGIC_ASSERT(feeds, FEEDS_MAGIC);
    struct feed_choice choice;
    feed_choice_make(ask, &choice);
    int rc = ask_check(feeds, ask->table, &choice, err);
    if (rc < 0) {
        feed_choice_free(&choice);
        return rc;
    }
    lock(feeds);
    struct feed *feed = feed_find(feeds, choice.name);
    if (feeds->closing) {
        rc = err_set(err, KE_CLOSED, "the server is stopping");
    } else if (feeds->counters.followers == FEED_FOLLOWERS_MAX) {
        rc = err_set(err, KE_AGAIN, "%d clients follow tables already", FEED_FOLLOWERS_MAX);
        err_hint(err, "try again when one has left");
    } else if (feed == NULL) {
        rc = feed_start(feeds, ask->table, &choice, &feed, err);
    }
    if (rc == 0) {
        *out = feed_follower_new(feed, ask->after, ask->rows, sleeper);
    }
    unlock(feeds);
    feed_choice_free(&choice);
    return rc;
}

void feed_leave(struct feed_follower *follower)
{
    struct feed *feed = follower->feed;
    struct feeds *feeds = feed->feeds;
    lock(feeds);
    feed->left_us = now_us();
    feed_follower_remove(follower);
    feed_give(feed);
    unlock(feeds);
}

/* ---- all of them */

struct feeds *feeds_new(struct reader *reader)
{
    struct feeds *feeds = xcalloc(1, sizeof *feeds);
    feeds->magic = FEEDS_MAGIC;
    feeds->reader = reader;
    feeds->view_us = FEED_VIEW_US;
    int rc = pthread_mutex_init(&feeds->lock, NULL);
    ASSERT_CMP(rc, ==, 0);
    cond_init(&feeds->moved);
    return feeds;
}

const struct feed_counters *feeds_counters(const struct feeds *feeds)
{
    MAGIC_ASSERT(feeds, FEEDS_MAGIC);
    return &feeds->counters;
}

void feeds_close(struct feeds *feeds)
{
    MAGIC_ASSERT(feeds, FEEDS_MAGIC);
    lock(feeds);
    __atomic_store_n(&feeds->closing, true, __ATOMIC_RELAXED);
    (void)pthread_cond_broadcast(&feeds->moved);
    while (feeds->counters.tables > 0) {
        (void)pthread_cond_wait(&feeds->moved, &feeds->lock);
    }
    unlock(feeds);
}

void feeds_free(struct feeds *feeds)
{
    if (feeds == NULL) {
        return;
    }
    MAGIC_ASSERT(feeds, FEEDS_MAGIC);
    ASSERT_CMP(feeds->counters.followers, ==, 0);
    ASSERT(feeds->first == NULL);
    (void)pthread_mutex_destroy(&feeds->lock);
    (void)pthread_cond_destroy(&feeds->moved);
    feeds->magic = 0;
    free(feeds);
}
