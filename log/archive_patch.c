/* Making damaged files of an archive again. Own header: archive_patch.h. */
#include "log/archive_patch.h"

#include "base/file.h"
#include "log/archive_fetch.h"
#include "log/segment_name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A block whose header is sound. */
struct found {
    struct archive_block head;
    size_t at; /* byte in the file */
    bool sound;
};

struct patch {
    const struct archive_view *view;
    const struct archive_behind *behind;
    int64_t base, end; /* what the file answered for */
    int64_t after;     /* its header's, see archive_segment.h */
    bool headless;     /* its header is damaged, so nothing says whose it is */
    bool wrong;        /* something of it is damaged */
    struct buf file;   /* all of it */
    struct found *found;
    uint32_t count, room;
    uint32_t compared; /* blocks that the log has to the byte */
    int64_t fetched;

    char *dir; /* where the new file is made */
    int fd;
    struct archive_segment made;
    struct archive_pack pack;
    struct archive_press press;
    struct archive_unpack unpack;
};

/* ---- What there is */

/* Unpacks; the records are in patch->unpack then. */
static bool block_sound(struct patch *patch, const struct found *found)
{
    struct archive_unpack *unpack = &patch->unpack;
    struct kappa_record record;
    bool bad = false;
    uint32_t count = 0;
    buf_reset(&unpack->stored);
    buf_append(&unpack->stored, patch->file.data + found->at + ARCHIVE_BLOCK_HEAD,
               found->head.stored);
    if (archive_block_open(unpack, &found->head) != NULL) {
        return false;
    }
    while (archive_block_next(unpack, &found->head, &record, &bad)) {
        count++;
    }
    return !bad && count == found->head.count;
}

/* Every block whose header is sound, wherever it lies in the file. */
static void find_blocks(struct patch *patch)
{
    for (size_t at = 0; at + ARCHIVE_BLOCK_HEAD <= patch->file.len;) {
        struct found found = {.at = at};
        bool block = patch->file.data[at] == 'A' &&
                     archive_block_parse(patch->file.data + at, &found.head) &&
                     found.head.stored <= patch->file.len - at - ARCHIVE_BLOCK_HEAD &&
                     found.head.from >= patch->end;
        if (!block) {
            at++;
            continue;
        }
        if (patch->count == patch->room) {
            patch->room = patch->room == 0 ? 64 : 2 * patch->room;
            patch->found = xrealloc(patch->found, patch->room * sizeof *patch->found);
        }
        found.sound = block_sound(patch, &found);
        patch->found[patch->count++] = found;
        patch->end = found.head.next;
        at += ARCHIVE_BLOCK_HEAD + (size_t)found.head.stored;
    }
}

/* Called for every range that has no sound block, with the index of the damaged one; `unknown`: not even
 * its header is there, and the index is that of the one behind. */
typedef int range_fn(struct patch *patch, uint32_t i, bool unknown, int64_t from, int64_t to,
                     struct err *err);

static int each_range(struct patch *patch, range_fn *damaged,
                      int (*sound)(struct patch *patch, uint32_t i, struct err *err),
                      struct err *err)
{
    int64_t at = patch->base;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < patch->count; i++) {
        const struct found *found = &patch->found[i];
        if (found->head.from > at) {
            rc = damaged(patch, i, true, at, found->head.from, err);
        }
        if (rc == 0 && !found->sound) {
            rc = damaged(patch, i, false, found->head.from, found->head.next, err);
        } else if (rc == 0 && sound != NULL) {
            rc = sound(patch, i, err);
        }
        at = found->head.next;
    }
    return rc == 0 && at < patch->end ? damaged(patch, patch->count, true, at, patch->end, err)
                                      : rc;
}

/* ---- The log */

static int differs(const struct patch *patch, int64_t from, int64_t to, struct err *err)
{
    int rc = err_set(err, KE_TOPIC_CHANGED,
                     "%s [%" PRIu32 "]: the log's records from offset %" PRId64 " to %" PRId64
                     " are not those that were archived",
                     patch->behind->topic, patch->view->owner.partition, from, to);
    err_hint(err,
             "the topic was deleted and made again, or compacted: the damaged file is left as it "
             "is; restore it from a copy");
    return rc;
}

static int unproven(const struct patch *patch, int64_t from, int64_t to, struct err *err)
{
    int rc = err_set(
        err, KE_REFUSED,
        "%s [%" PRIu32 "]: offsets %" PRId64 " to %" PRId64 " are not fetched again: %s",
        patch->behind->topic, patch->view->owner.partition, from, to,
        patch->behind->whole ? "nothing shows that the log's records are those that were archived"
                             : "the log is compacted, or does not say that it is not");
    err_hint(err, "the damaged file is left as it is; restore it from a copy");
    return rc;
}

/* Fills the pack with the log's records from its `next` on: up to `to`, or until it is full. */
static int read_records(struct archive_pack *pack, struct log_reader *reader, int64_t to,
                        struct err *err)
{
    while (pack->head.next < to) {
        struct log_batch batch;
        int rc = archive_fetch_next(reader, pack->head.next, &batch, err);
        if (rc != 0) {
            return rc;
        }
        for (uint32_t i = 0; i < batch.count && batch.records[i].offset < to; i++) {
            if (pack->records.len >= ARCHIVE_PACK_BYTES) {
                return 0;
            }
            archive_pack_add(pack, &batch.records[i]);
        }
        archive_pack_cover(pack, i64_max(pack->head.next, i64_min(batch.next_offset, to)));
    }
    return 0;
}

static int read_log(struct patch *patch, int64_t from, int64_t to, struct err *err)
{
    struct log_reader *reader = NULL;
    archive_pack_begin(&patch->pack, from);
    int rc = archive_fetch_open(patch->behind->log, patch->behind->topic,
                                patch->view->owner.partition, from, &reader, err);
    if (rc == 0) {
        rc = read_records(&patch->pack, reader, to, err);
        reader->ops->close(reader);
    }
    return rc;
}

/* A sound block that the log still has is asked of it. Index may be of none. */
static int compare(struct patch *patch, uint32_t i, struct err *err)
{
    if (i >= patch->count || !patch->found[i].sound ||
        patch->found[i].head.from < patch->behind->start ||
        patch->found[i].head.next > patch->behind->end || patch->found[i].head.count == 0) {
        return 0;
    }
    const struct found *found = &patch->found[i];
    int rc = read_log(patch, found->head.from, found->head.next, err);
    if (rc != 0) {
        return rc;
    }
    bool sound = block_sound(patch, found);
    if (!sound || patch->pack.head.next != found->head.next ||
        patch->pack.head.count != found->head.count ||
        patch->pack.records.len != patch->unpack.records.len ||
        memcmp(patch->pack.records.data, patch->unpack.records.data, patch->pack.records.len) !=
            0) {
        return differs(patch, found->head.from, found->head.next, err);
    }
    patch->compared++;
    return 0;
}

/* Notes that there is damage. Whether the log has the range; KE_NOT_FOUND, without a sentence. */
static int range_there(struct patch *patch, uint32_t i, bool unknown, int64_t from, int64_t to,
                       struct err *err)
{
    (void)i;
    (void)unknown;
    (void)err;
    patch->wrong = true;
    return from >= patch->behind->start && to <= patch->behind->end ? 0 : -KE_NOT_FOUND;
}

/* ---- The new file */

static int add_pack(struct patch *patch, struct err *err)
{
    archive_pack_close(&patch->pack, &patch->press);
    return archive_segment_append(patch->fd, patch->dir, &patch->made, &patch->pack.head,
                                  &patch->press.out, err);
}

static int add_sound(struct patch *patch, uint32_t i, struct err *err)
{
    const struct found *found = &patch->found[i];
    const struct buf bytes = {.data = patch->file.data + found->at,
                              .len = ARCHIVE_BLOCK_HEAD + (size_t)found->head.stored};
    return archive_segment_append(patch->fd, patch->dir, &patch->made, &found->head, &bytes, err);
}

/* What the header says of the block's records, the log's have to be. */
static bool as_told(const struct archive_pack *pack, const struct archive_block *head)
{
    return pack->head.next == head->next && pack->head.count == head->count &&
           pack->records.len == head->raw && pack->head.time_min == head->time_min &&
           pack->head.time_max == head->time_max;
}

static int add_fetched(struct patch *patch, uint32_t i, bool unknown, int64_t from, int64_t to,
                       struct err *err)
{
    uint32_t before = patch->compared;
    int rc = i > 0 ? compare(patch, i - 1, err) : 0;
    if (rc == 0) {
        rc = compare(patch, unknown ? i : i + 1, err);
    }
    bool proven = patch->behind->same || patch->compared > before;
    if (rc == 0 && unknown && (!proven || !patch->behind->whole)) {
        rc = unproven(patch, from, to, err);
    }
    for (int64_t at = from; rc == 0 && at < to; at = patch->pack.head.next) {
        rc = read_log(patch, at, to, err);
        if (rc == 0 && !unknown && !as_told(&patch->pack, &patch->found[i].head)) {
            rc = differs(patch, from, to, err);
        }
        patch->fetched += rc == 0 ? patch->pack.head.count : 0;
        rc = rc == 0 ? add_pack(patch, err) : rc;
    }
    return rc;
}

/* All blocks, sealed. */
static int make(struct patch *patch, struct err *err)
{
    int rc = archive_segment_create(patch->dir, &patch->view->owner, patch->base, patch->after,
                                    &patch->made, &patch->fd, err);
    if (rc == 0) {
        rc = each_range(patch, add_fetched, add_sound, err);
    }
    if (rc == 0) {
        ASSERT_CMP(patch->made.end, ==, patch->end);
        rc = archive_segment_seal(patch->fd, patch->dir, &patch->made, err);
    }
    return rc;
}

/* Makes the new file in a folder beside, and puts it in the place of the damaged one. */
static int replace(struct patch *patch, struct err *err)
{
    patch->dir = xasprintf("%s/patch", patch->view->dir);
    char *made = segment_name_path(patch->dir, patch->base, ARCHIVE_SUFFIX);
    char *path = segment_name_path(patch->view->dir, patch->base, ARCHIVE_SUFFIX);
    int rc = file_make_dir(patch->dir, err);
    if (rc == 0) {
        rc = make(patch, err);
    }
    if (rc == 0 && rename(made, path) != 0) {
        rc = err_errno(err, errno, "cannot rename %s to %s", made, path);
    }
    if (rc == 0) {
        rc = file_sync_dir(patch->view->dir, err);
    }
    (void)unlink(made);
    (void)rmdir(patch->dir);
    free(path);
    free(made);
    return rc;
}

/* Nothing but its records says whose file it is. *known: the log has some of them. */
static int compare_any(struct patch *patch, bool *known, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && patch->compared == 0 && i < patch->count; i++) {
        rc = compare(patch, i, err);
    }
    *known = patch->compared > 0;
    return rc;
}

/* ---- One file */

static int look(struct patch *patch, bool last, struct err *err)
{
    struct archive_segment segment;
    struct err damage = {0};
    char *path = segment_name_path(patch->view->dir, patch->base, ARCHIVE_SUFFIX);
    int rc = archive_segment_load(patch->view->dir, &patch->view->owner, patch->base, true,
                                  &segment, &damage);
    patch->headless = rc == -KE_CORRUPT;
    bool loaded = rc == 0;
    bool sealed = loaded && segment.sealed;
    patch->wrong = patch->headless || (!last && !sealed);
    rc = patch->headless ? 0 : rc;
    if (rc != 0 && err != NULL) {
        *err = damage;
    }
    if (rc == 0) {
        rc = file_read(path, SIZE_MAX / 2, &patch->file, err);
    }
    if (rc == 0) {
        find_blocks(patch);
    }
    if (rc == 0 && !patch->headless) {
        patch->end = segment.sealed ? i64_max(patch->end, segment.end) : patch->end;
        patch->after = segment.after;
    }
    if (loaded) {
        archive_segment_free(&segment);
    }
    for (uint32_t i = 0; i < patch->view->count; i++) {
        const struct archive_segment *span = &patch->view->spans[i];
        if (patch->headless && span->base < patch->base) {
            patch->after = span->end;
        } else if (span->base == patch->base && span->sealed && !sealed) { /* its index is bad */
            patch->end = i64_max(patch->end, span->end);
            patch->wrong = true;
        }
    }
    free(path);
    return rc;
}

int archive_patch(const struct archive_view *view, int64_t base, bool last,
                  const struct archive_behind *behind, int64_t *fetched, struct err *err)
{
    struct patch patch = {
        .view = view, .behind = behind, .base = base, .end = base, .after = -1, .fd = -1};
    bool known = true;
    int rc = look(&patch, last, err);
    if (rc == 0 && patch.end > base) { /* else nothing says what it held */
        bool there = each_range(&patch, range_there, NULL, NULL) == 0;
        bool mend = patch.wrong && there;
        if (mend && patch.headless) {
            rc = compare_any(&patch, &known, err);
        }
        if (rc == 0 && mend && known) {
            rc = replace(&patch, err);
        }
    }
    *fetched += rc == 0 ? patch.fetched : 0;
    if (patch.fd >= 0) {
        (void)close(patch.fd);
    }
    archive_segment_free(&patch.made);
    archive_pack_free(&patch.pack);
    archive_press_free(&patch.press);
    archive_unpack_free(&patch.unpack);
    buf_free(&patch.file);
    free(patch.found);
    free(patch.dir);
    return rc;
}
