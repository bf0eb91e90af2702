/* Texts of a feed and those who read them. Own headers: feed.h, feed_inner.h. */
#include "serve/feed_inner.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLLOWER_MAGIC 0x466c6c77U
#define BEAT           ": alive\n\n"

/* ---- pieces */

struct feed_piece *feed_piece_new(const struct buf *text, const char *id)
{
    struct feed_piece *piece = xmalloc(sizeof *piece + text->len);
    piece->owners = 1;
    piece->len = text->len;
    (void)snprintf(piece->id, sizeof piece->id, "%s", id);
    if (text->len > 0) {
        memcpy(piece->text, text->data, text->len);
    }
    return piece;
}

void feed_piece_release(struct feed_piece *piece)
{
    if (piece != NULL && --piece->owners == 0) {
        free(piece);
    }
}

void feed_listing_release(struct feed_listing *listing)
{
    if (listing != NULL && --listing->owners == 0) {
        route_answer_free(&listing->whole);
        free(listing);
    }
}

void feed_step_cut(struct feed_step *step, const char *id)
{
    if (step->count == step->capacity) {
        step->capacity = step->capacity == 0 ? 8 : step->capacity * 2;
        step->pieces = xrealloc(step->pieces, step->capacity * sizeof *step->pieces);
    }
    step->pieces[step->count++] = feed_piece_new(&step->text, id);
    step->bytes += step->text.len;
    buf_reset(&step->text);
}

void feed_step_free(struct feed_step *step)
{
    for (uint32_t i = 0; i < step->count; i++) {
        feed_piece_release(step->pieces[i]); /* they were not published: nobody else has them */
    }
    free(step->pieces);
    buf_free(&step->text);
    *step = (struct feed_step){0};
}

/* ---- the ring */

/* Drops the first step: its pieces up to the one with an id. */
static void drop_step(struct feed *feed)
{
    bool whole = false;
    while (!whole && feed->first < feed->behind) {
        struct feed_piece *piece = feed->ring[feed->first++ % FEED_PIECES];
        whole = piece->id[0] != '\0';
        if (whole) {
            memcpy(feed->floor_id, piece->id, sizeof feed->floor_id);
        }
        feed->ring_bytes -= piece->len;
        feed_piece_release(piece);
    }
}

static void set_state(struct feed *feed, struct feed_piece *brief)
{
    feed_piece_release(feed->brief);
    feed->brief = brief;
}

void feed_publish(struct feed *feed, struct feed_step *step, struct feed_piece *brief)
{
    ASSERT_CMP(step->count, >, 0);
    ASSERT_CMP(step->count, <, FEED_PIECES);
    while (feed->first < feed->behind && (feed->ring_bytes + step->bytes > FEED_RING_BYTES ||
                                          feed->behind - feed->first + step->count > FEED_PIECES)) {
        drop_step(feed);
    }
    for (uint32_t i = 0; i < step->count; i++) {
        feed->ring[feed->behind++ % FEED_PIECES] = step->pieces[i];
    }
    feed->ring_bytes += step->bytes;
    feed->bytes_ever += step->bytes;
    step->count = 0; /* the ring has them */
    feed_count(&feed->feeds->counters.steps, 1);
    set_state(feed, brief);
    feed_wake(feed);
}

void feed_reset(struct feed *feed, struct feed_piece *brief)
{
    while (feed->first < feed->behind) {
        drop_step(feed);
    }
    feed_count(&feed->feeds->counters.resets, feed->generation++ > 0 ? 1 : 0);
    set_state(feed, brief);
    memcpy(feed->floor_id, brief->id, sizeof feed->floor_id);
    feed_listing_release(feed->listing);
    feed->listing = NULL;
    feed_wake(feed);
}

struct feed_listing *feed_listing_usable(const struct feed *feed)
{
    struct feed_listing *listing = feed->listing;
    bool usable = listing != NULL && listing->seq >= feed->first &&
                  feed->bytes_ever - listing->bytes_before <= FEED_RING_BYTES / 2;
    return usable ? listing : NULL;
}

void feed_wake(struct feed *feed)
{
    for (struct feed_follower *one = feed->followers; one != NULL; one = one->next) {
        if (one->asleep) {
            one->asleep = false;
            one->sleeper.wake(one->sleeper.ctx);
        }
    }
}

/* ---- a follower's place */

/* Behind which piece the state of this id is; false: it is not known any more. */
static bool find_id(const struct feed *feed, const char *id, uint64_t *seq)
{
    for (uint64_t n = feed->behind; n > feed->first; n--) {
        if (strcmp(feed->ring[(n - 1) % FEED_PIECES]->id, id) == 0) {
            *seq = n;
            return true;
        }
    }
    *seq = feed->first;
    return strcmp(feed->floor_id, id) == 0;
}

static void place(struct feed_follower *follower, uint64_t seq)
{
    follower->generation = follower->feed->generation;
    follower->seq = seq;
}

static void read_piece(struct feed_follower *follower, struct feed_piece *piece)
{
    piece->owners++;
    follower->piece = piece;
    follower->at = 0;
}

/* Something to say that is no part of the ring. */
static void read_text(struct feed_follower *follower, struct buf *text)
{
    follower->piece = feed_piece_new(text, "");
    follower->at = 0;
    buf_free(text);
}

static void read_end(struct feed_follower *follower, const struct err *err)
{
    struct buf text = {0};
    feed_event_end(&text, err);
    read_text(follower, &text);
    follower->ending = true;
}

static void too_slow(struct feed_follower *follower)
{
    struct err err = {0};
    feed_count(&follower->feed->feeds->counters.too_slow, 1);
    (void)err_set(&err, KE_LIMIT,
                  "this follower of %s is too slow: more than %u MiB of changes came while it read",
                  follower->feed->table, FEED_RING_BYTES >> 20);
    err_hint(&err, "connect again, and begin with the rows as they are then");
    read_end(follower, &err);
}

/* One without a place: it goes on where it was, or begins anew, now or when the thread has made a
 * listing. */
static void join(struct feed_follower *follower)
{
    struct feed *feed = follower->feed;
    struct feed_listing *listing = feed_listing_usable(feed);
    uint64_t seq = 0;
    bool known = follower->after[0] != '\0' && find_id(feed, follower->after, &seq);
    follower->after[0] = '\0';
    if (known) {
        place(follower, seq);
    } else if (!follower->rows) {
        read_piece(follower, feed->brief);
        place(follower, feed->behind);
    } else if (listing != NULL) {
        listing->owners++;
        follower->listing = listing;
        follower->at = 0;
        place(follower, listing->seq);
    } else if (!feed->listing_wanted) {
        feed->listing_wanted = true;
        (void)pthread_cond_broadcast(&feed->feeds->moved);
    }
}

/* What it has read is put away, and the next is taken up, if there is any. */
static void turn(struct feed_follower *follower)
{
    struct feed *feed = follower->feed;
    feed_piece_release(follower->piece);
    feed_listing_release(follower->listing);
    follower->piece = NULL;
    follower->listing = NULL;
    if (follower->ending) {
        return;
    }
    if (feed->ended) {
        read_end(follower, &feed->err);
        return;
    }
    if (follower->generation != feed->generation) {
        join(follower);
    }
    bool placed = follower->generation == feed->generation;
    if (follower->piece != NULL || follower->listing != NULL) {
        return;
    }
    if (placed && follower->seq < feed->first) {
        too_slow(follower);
    } else if (placed && follower->seq < feed->behind) {
        read_piece(follower, feed->ring[follower->seq++ % FEED_PIECES]);
    } else if (follower->beats_seen != feed->beats) {
        struct buf text = {0};
        buf_append_text(&text, BEAT);
        read_text(follower, &text);
    }
    follower->beats_seen = feed->beats;
}

/* ---- reading */

static size_t listing_len(const struct feed_listing *listing)
{
    return listing->whole.spilled + listing->whole.body.len;
}

/* Bytes of a listing, which does not change any more: without the lock. -1: its file failed. */
static ssize_t listing_read(struct feed_follower *follower, char *to, size_t room)
{
    const struct route_answer *whole = &follower->listing->whole;
    ssize_t len;
    if (whole->spill >= 0) {
        len = pread(whole->spill, to, room, (off_t)follower->at);
    } else {
        size_t left = whole->body.len - follower->at;
        len = (ssize_t)(left < room ? left : room);
        memcpy(to, whole->body.data + follower->at, (size_t)len);
    }
    if (len <= 0) {
        return -1;
    }
    follower->at += (uint64_t)len;
    return len;
}

static ssize_t piece_read(struct feed_follower *follower, char *to, size_t room)
{
    size_t left = follower->piece->len - follower->at;
    size_t len = left < room ? left : room;
    memcpy(to, follower->piece->text + follower->at, len);
    follower->at += len;
    return (ssize_t)len;
}

ssize_t feed_take(struct feed_follower *follower, char *to, size_t room)
{
    MAGIC_ASSERT(follower, FOLLOWER_MAGIC);
    struct feeds *feeds = follower->feed->feeds;
    ssize_t taken = 0;
    (void)pthread_mutex_lock(&feeds->lock);
    ASSERT(!follower->asleep);
    bool more = (follower->piece != NULL && follower->at < follower->piece->len) ||
                (follower->listing != NULL && follower->at < listing_len(follower->listing));
    if (!more) {
        turn(follower);
    }
    bool listing = follower->listing != NULL;
    if (feeds->closing) {
        taken = -1;
    } else if (follower->piece != NULL) {
        taken = piece_read(follower, to, room);
    } else if (follower->ending) {
        taken = -1;
    } else if (!listing) {
        follower->asleep = true;
        follower->sleeper.sleep(follower->sleeper.ctx);
    }
    (void)pthread_mutex_unlock(&feeds->lock);
    return listing && taken == 0 ? listing_read(follower, to, room) : taken;
}

/* ---- coming and going */

struct feed_follower *feed_follower_new(struct feed *feed, const char *after, bool rows,
                                        const struct feed_sleeper *sleeper)
{
    struct feed_follower *follower = xcalloc(1, sizeof *follower);
    struct buf text = {0};
    follower->magic = FOLLOWER_MAGIC;
    follower->feed = feed;
    follower->sleeper = *sleeper;
    follower->rows = rows;
    follower->beats_seen = feed->beats;
    (void)snprintf(follower->after, sizeof follower->after, "%s", after == NULL ? "" : after);
    buf_append_text(&text, "retry: 2000\n\n");
    read_text(follower, &text);
    follower->next = feed->followers;
    if (follower->next != NULL) {
        follower->next->prev = follower;
    }
    feed->followers = follower;
    feed->owners++;
    feed_count(&feed->feeds->counters.followers, 1);
    return follower;
}

void feed_follower_remove(struct feed_follower *follower)
{
    struct feed *feed = follower->feed;
    MAGIC_ASSERT(follower, FOLLOWER_MAGIC);
    if (follower->prev != NULL) {
        follower->prev->next = follower->next;
    } else {
        feed->followers = follower->next;
    }
    if (follower->next != NULL) {
        follower->next->prev = follower->prev;
    }
    feed_count(&feed->feeds->counters.followers, -1);
    feed_piece_release(follower->piece);
    feed_listing_release(follower->listing);
    follower->magic = 0;
    free(follower);
}
