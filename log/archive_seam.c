/* The seam between an archive and its log. Own header: archive_seam.h. */
#include "log/archive_seam.h"

#include "log/segment_record.h"

#include <stdlib.h>

static struct digest record_digest(const struct kappa_record *record)
{
    struct buf bytes = {0};
    segment_record_encode(&bytes, record, record->time_ms);
    struct digest digest = hash_content(bytes.data, bytes.len);
    buf_free(&bytes);
    return digest;
}

/* The last records of the block that lie below seam->at. */
static int take_block(struct archive_seam *seam, const struct archive_view *view,
                      const struct archive_segment *segment, uint32_t entry, struct err *err)
{
    struct archive_unpack unpack = {0};
    struct archive_block block;
    struct kappa_record record;
    bool bad = false;
    int rc = archive_segment_read(view->dir, segment, entry, &block, &unpack, err);
    while (rc == 0 && archive_block_next(&unpack, &block, &record, &bad)) {
        if (record.offset < seam->at) {
            uint32_t place = seam->count++ % ARCHIVE_SEAM_RECORDS;
            seam->offsets[place] = record.offset;
            seam->digests[place] = record_digest(&record);
        }
    }
    if (rc == 0 && bad) {
        rc = archive_segment_bad(view->dir, segment, entry, err);
    }
    seam->count = (uint32_t)i64_min(seam->count, ARCHIVE_SEAM_RECORDS);
    for (uint32_t i = 0; i < seam->count; i++) {
        seam->from = i64_min(seam->from, seam->offsets[i]);
    }
    archive_unpack_free(&unpack);
    return rc;
}

int archive_seam_load(const struct archive_view *view, int64_t at, struct archive_seam **out,
                      struct err *err)
{
    struct archive_segment segment;
    uint32_t span = archive_view_find(view, at - 1);
    ASSERT_CMP(span, <, view->count);
    int rc =
        archive_segment_load(view->dir, &view->owner, view->spans[span].base, true, &segment, err);
    if (rc != 0) {
        return rc;
    }
    struct archive_seam *seam = xcalloc(1, sizeof *seam);
    seam->from = at;
    seam->at = at;
    if (segment.entry_count > 0 && segment.end >= at) {
        /* Blocks without records are passed over. */
        for (uint32_t entry = archive_segment_find(&segment, at - 1) + 1;
             rc == 0 && seam->count == 0 && entry-- > 0;) {
            rc = take_block(seam, view, &segment, entry, err);
        }
    }
    archive_segment_free(&segment);
    if (rc == 0) {
        *out = seam;
    } else {
        free(seam);
    }
    return rc;
}

bool archive_seam_same(struct archive_seam *seam, const struct kappa_record *record)
{
    for (uint32_t i = 0; i < seam->count; i++) {
        if (seam->offsets[i] == record->offset) {
            seam->seen++;
            return digest_equal(seam->digests[i], record_digest(record));
        }
    }
    return false;
}
