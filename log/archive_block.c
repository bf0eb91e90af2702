/* Blocks of an archive. Own header: archive_block.h. The only file with zstd. */
#include "log/archive_block.h"

#include "log/crc32c.h"
#include "log/segment_record.h"

#include <string.h>
#include <zstd.h>

#define BLOCK_MAGIC 0x4B4C4241U /* "ABLK" */
#define LEVEL       1           /* of zstd: fast enough not to be felt */

enum { CODEC_PLAIN = 0, CODEC_ZSTD = 1 };

/* ---- Header ---- */

static void head_write(uint8_t *p, const struct archive_block *block)
{
    memset(p, 0, ARCHIVE_BLOCK_HEAD);
    store_u32_le(p, BLOCK_MAGIC);
    store_u32_le(p + 8, block->stored);
    store_u32_le(p + 12, block->stored_crc);
    store_u64_le(p + 16, (uint64_t)block->from);
    store_u64_le(p + 24, (uint64_t)block->next);
    store_u64_le(p + 32, (uint64_t)block->time_min);
    store_u64_le(p + 40, (uint64_t)block->time_max);
    store_u32_le(p + 48, block->raw);
    store_u32_le(p + 52, block->count);
    store_u32_le(p + 56, block->codec);
    store_u32_le(p + 4, crc32c(0, p + 8, ARCHIVE_BLOCK_HEAD - 8));
}

bool archive_block_parse(const uint8_t head[ARCHIVE_BLOCK_HEAD], struct archive_block *out)
{
    if (load_u32_le(head) != BLOCK_MAGIC ||
        load_u32_le(head + 4) != crc32c(0, head + 8, ARCHIVE_BLOCK_HEAD - 8)) {
        return false;
    }
    *out = (struct archive_block){
        .stored = load_u32_le(head + 8),
        .stored_crc = load_u32_le(head + 12),
        .from = (int64_t)load_u64_le(head + 16),
        .next = (int64_t)load_u64_le(head + 24),
        .time_min = (int64_t)load_u64_le(head + 32),
        .time_max = (int64_t)load_u64_le(head + 40),
        .raw = load_u32_le(head + 48),
        .count = load_u32_le(head + 52),
        .codec = load_u32_le(head + 56),
    };
    return out->from >= 0 && out->next > out->from && out->raw <= ARCHIVE_RAW_MAX &&
           out->stored <= out->raw;
}

/* ---- Writing ---- */

void archive_pack_begin(struct archive_pack *pack, int64_t from)
{
    buf_reset(&pack->records);
    pack->head = (struct archive_block){
        .from = from, .next = from, .time_min = INT64_MAX, .time_max = INT64_MIN};
}

void archive_pack_free(struct archive_pack *pack)
{
    buf_free(&pack->records);
    *pack = (struct archive_pack){0};
}

void archive_press_free(struct archive_press *press)
{
    (void)ZSTD_freeCCtx(press->context);
    buf_free(&press->out);
    *press = (struct archive_press){0};
}

void archive_pack_add(struct archive_pack *pack, const struct kappa_record *record)
{
    ASSERT_CMP(record->offset, >=, pack->head.next);
    size_t at = pack->records.len;
    segment_record_encode(&pack->records, record, record->time_ms);
    store_u64_le(pack->records.data + at + 8, (uint64_t)record->offset);
    pack->head.count++;
    pack->head.next = record->offset + 1;
    if (record->time_ms != KAPPA_NO_TIME) {
        pack->head.time_min = i64_min(pack->head.time_min, record->time_ms);
        pack->head.time_max = i64_max(pack->head.time_max, record->time_ms);
    }
}

void archive_pack_cover(struct archive_pack *pack, int64_t next)
{
    ASSERT_CMP(next, >=, pack->head.next);
    pack->head.next = next;
}

/* Bytes that became fewer, or 0. */
static size_t compress(const struct buf *records, struct archive_press *press)
{
    if (press->context == NULL) {
        press->context = ZSTD_createCCtx();
        ASSERT(press->context != NULL); /* out of memory */
    }
    size_t room = ZSTD_compressBound(records->len);
    buf_reserve(&press->out, ARCHIVE_BLOCK_HEAD + room);
    size_t size = ZSTD_compressCCtx(press->context, press->out.data + ARCHIVE_BLOCK_HEAD, room,
                                    records->data, records->len, LEVEL);
    return ZSTD_isError(size) || size >= records->len ? 0 : size;
}

void archive_pack_close(struct archive_pack *pack, struct archive_press *press)
{
    struct archive_block *head = &pack->head;
    ASSERT_CMP(head->from, <, head->next);
    head->raw = u32_from(pack->records.len);
    buf_reset(&press->out);
    size_t size = compress(&pack->records, press);
    head->codec = size > 0 ? CODEC_ZSTD : CODEC_PLAIN;
    if (size == 0) {
        size = pack->records.len;
        buf_reserve(&press->out, ARCHIVE_BLOCK_HEAD + size);
        if (size > 0) {
            memcpy(press->out.data + ARCHIVE_BLOCK_HEAD, pack->records.data, size);
        }
    }
    head->stored = u32_from(size);
    head->stored_crc = crc32c(0, press->out.data + ARCHIVE_BLOCK_HEAD, size);
    head_write(press->out.data, head);
    press->out.len = ARCHIVE_BLOCK_HEAD + size;
}

/* ---- Reading ---- */

static bool decompress(struct archive_unpack *unpack, const struct archive_block *block)
{
    if (unpack->context == NULL) {
        unpack->context = ZSTD_createDCtx();
        ASSERT(unpack->context != NULL); /* out of memory */
    }
    size_t size = ZSTD_decompressDCtx(unpack->context, unpack->records.data, block->raw,
                                      unpack->stored.data, unpack->stored.len);
    return !ZSTD_isError(size) && size == block->raw;
}

const char *archive_block_open(struct archive_unpack *unpack, const struct archive_block *block)
{
    if (unpack->stored.len != block->stored ||
        crc32c(0, unpack->stored.data, unpack->stored.len) != block->stored_crc) {
        return "a block fails its checksum";
    }
    buf_reset(&unpack->records);
    buf_reserve(&unpack->records, (size_t)block->raw + KAPPA_RECORD_TAIL);
    if (block->codec == CODEC_PLAIN && block->stored == block->raw) {
        if (block->raw > 0) {
            memcpy(unpack->records.data, unpack->stored.data, block->raw);
        }
    } else if (block->codec != CODEC_ZSTD || !decompress(unpack, block)) {
        return "a block cannot be unpacked";
    }
    memset(unpack->records.data + block->raw, 0, KAPPA_RECORD_TAIL);
    unpack->records.len = block->raw;
    unpack->at = 0;
    unpack->next = block->from;
    return NULL;
}

bool archive_block_next(struct archive_unpack *unpack, const struct archive_block *block,
                        struct kappa_record *out, bool *bad)
{
    *bad = false;
    if (unpack->at == unpack->records.len) {
        return false;
    }
    size_t size = segment_record_size(unpack->records.data, unpack->at, unpack->records.len);
    if (size > 0) {
        segment_record_view(unpack->records.data + unpack->at, out);
    }
    if (size == 0 || out->offset < unpack->next || out->offset >= block->next) {
        *bad = true;
        return false;
    }
    unpack->at += size;
    unpack->next = out->offset + 1;
    return true;
}

void archive_unpack_free(struct archive_unpack *unpack)
{
    (void)ZSTD_freeDCtx(unpack->context);
    buf_free(&unpack->stored);
    buf_free(&unpack->records);
    *unpack = (struct archive_unpack){0};
}
