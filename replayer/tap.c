/* What a shard does with labels on its way. Own header: tap.h. */
#include "replayer/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define CHUNK           1024U
#define BLOCK_BYTES_MAX ((size_t)256 << 10)
#define BLOCK_BYTES_MIN ((size_t)8 << 10)
#define BLOCKS_BYTES    ((size_t)64 << 20) /* of all sources together */

/* Of a shard: used by its thread alone. */
struct tap_file {
    struct tap *tap;
    struct shard_tap hook;
    char *path;
    int fd;
    int64_t end;
    struct buf value;
    int64_t times[CHUNK];
};

/* ---- Parts of rows go to the file */

static int block_write(struct tap_file *file, struct tap_source *source, struct err *err)
{
    int rc = file_write_at(file->fd, source->pending.data, source->pending.len, file->end,
                           file->path, err);
    if (rc != 0) {
        return rc;
    }
    if (source->block_count == source->block_capacity) {
        source->block_capacity = source->block_capacity == 0 ? 16 : 2 * source->block_capacity;
        source->blocks = xrealloc(source->blocks, source->block_capacity * sizeof *source->blocks);
    }
    source->blocks[source->block_count++] = (struct tap_block){file->end, source->pending.len};
    file->end += i64_from(source->pending.len);
    buf_reset(&source->pending);
    return 0;
}

static int part_write(struct tap_file *file, struct tap_source *source, uint32_t label,
                      uint32_t table, int64_t window_end, struct err *err)
{
    struct buf *out = &source->pending;
    buf_append_u32_le(out, label);
    buf_append_u32_le(out, table);
    buf_append_u64_le(out, (uint64_t)window_end);
    buf_append_u32_le(out, u32_from(file->value.len));
    buf_append(out, file->value.data, file->value.len);
    return out->len >= file->tap->block_bytes ? block_write(file, source, err) : 0;
}

/* ---- Labels */

static int label_tap(struct tap_file *file, struct processor *processor, uint32_t number,
                     uint32_t label, struct err *err)
{
    const struct tap *tap = file->tap;
    const struct tap_labels *labels = tap->labels;
    struct tap_source *source = &tap->sources[number];
    int rc = 0;
    for (uint32_t t = 0; t < tap->table_count && rc >= 0; t++) {
        uint64_t at = labels->keys[(size_t)label * tap->table_count + t];
        if (tap->plan->views[tap->views[t]].input != source->input || at == TAP_NO_KEY) {
            continue;
        }
        const uint8_t *key = labels->bytes + at;
        int64_t end = 0;
        buf_reset(&file->value);
        rc = processor_row_at(processor, tap->views[t], number, key + 2, load_u16_be(key),
                              labels->times[label], tap->newest, &end, &file->value, err);
        if (rc == 1) {
            rc = part_write(file, source, label, t, end, err);
        }
    }
    return rc < 0 ? rc : 0;
}

/* All labels before this time. */
static int labels_tap(struct tap_file *file, struct processor *processor, uint32_t number,
                      int64_t before, struct err *err)
{
    const struct tap_labels *labels = file->tap->labels;
    struct tap_source *source = &file->tap->sources[number];
    int rc = 0;
    while (rc == 0 && source->next < labels->count && labels->times[source->next] < before) {
        rc = label_tap(file, processor, number, source->next++, err);
    }
    return rc;
}

/* Applies records of one chunk, up to the one behind them, with stops where labels want to look. */
static int chunk_apply(struct tap_file *file, struct processor *processor, uint32_t number,
                       const struct kappa_record *records, uint32_t count, int64_t next,
                       struct err *err)
{
    const struct tap_labels *labels = file->tap->labels;
    const struct tap_source *source = &file->tap->sources[number];
    uint32_t from = 0;
    int rc = 0;
    processor_times(processor, number, records, count, file->times);
    for (uint32_t i = 0; i < count && source->next < labels->count && rc == 0; i++) {
        if (file->times[i] <= labels->times[source->next]) {
            continue;
        }
        rc = processor_apply(processor, number, records + from, i - from, records[i].offset, err);
        from = i;
        if (rc == 0) {
            rc = labels_tap(file, processor, number, file->times[i], err);
        }
    }
    return rc == 0 ? processor_apply(processor, number, records + from, count - from, next, err)
                   : rc;
}

static int apply(void *ctx, struct processor *processor, uint32_t number,
                 const struct kappa_record *records, uint32_t count, int64_t next, struct err *err)
{
    struct tap_file *file = ctx;
    const struct tap_source *source = &file->tap->sources[number];
    uint32_t done = 0;
    int rc = 0;
    while (rc == 0 && count - done > CHUNK && source->next < file->tap->labels->count) {
        rc = chunk_apply(file, processor, number, records + done, CHUNK,
                         records[done + CHUNK].offset, err);
        done += CHUNK;
    }
    if (rc != 0) {
        return rc;
    }
    return source->next < file->tap->labels->count
               ? chunk_apply(file, processor, number, records + done, count - done, next, err)
               : processor_apply(processor, number, records + done, count - done, next, err);
}

static int end(void *ctx, struct processor *processor, uint32_t number, struct err *err)
{
    struct tap_file *file = ctx;
    struct tap_source *source = &file->tap->sources[number];
    int rc = labels_tap(file, processor, number, INT64_MAX, err);
    return rc == 0 && source->pending.len > 0 ? block_write(file, source, err) : rc;
}

/* ---- Life */

static int file_open(struct tap *tap, uint32_t index, const char *dir, struct err *err)
{
    struct tap_file *file = &tap->files[index];
    file->tap = tap;
    file->hook = (struct shard_tap){.apply = apply, .end = end, .ctx = file};
    file->path = xasprintf("%s/taps-%u", dir, index);
    file->fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return file->fd >= 0 ? 0 : err_errno(err, errno, "cannot make %s", file->path);
}

int tap_open(const struct tap_options *options, struct tap **out, struct err *err)
{
    struct tap *tap = xcalloc(1, sizeof *tap);
    tap->plan = options->plan;
    tap->labels = options->labels;
    tap->table_count = options->table_count;
    tap->newest = options->newest;
    tap->views = xcalloc(options->table_count + 1, sizeof *tap->views);
    memcpy(tap->views, options->views, options->table_count * sizeof *tap->views);
    tap->source_count = options->source_count;
    tap->sources = xcalloc(options->source_count + 1, sizeof *tap->sources);
    for (uint32_t s = 0; s < options->source_count; s++) {
        tap->sources[s].input = options->inputs[s];
        tap->sources[s].shard = s % options->shards;
    }
    size_t share = BLOCKS_BYTES / (options->source_count + 1);
    tap->block_bytes = share < BLOCK_BYTES_MIN   ? BLOCK_BYTES_MIN
                       : share > BLOCK_BYTES_MAX ? BLOCK_BYTES_MAX
                                                 : share;
    tap->files = xcalloc(options->shards, sizeof *tap->files);
    int rc = 0;
    for (uint32_t i = 0; i < options->shards && rc == 0; i++) {
        tap->shards = i + 1;
        rc = file_open(tap, i, options->dir, err);
    }
    if (rc != 0) {
        tap_close(tap);
        return rc;
    }
    *out = tap;
    return 0;
}

void tap_close(struct tap *tap)
{
    if (tap == NULL) {
        return;
    }
    for (uint32_t i = 0; i < tap->shards; i++) {
        struct tap_file *file = &tap->files[i];
        if (file->fd >= 0) {
            (void)unlink(file->path);
            (void)close(file->fd);
        }
        free(file->path);
        buf_free(&file->value);
    }
    for (uint32_t s = 0; s < tap->source_count; s++) {
        buf_free(&tap->sources[s].pending);
        free(tap->sources[s].blocks);
    }
    free(tap->files);
    free(tap->sources);
    free(tap->views);
    free(tap);
}

const struct shard_tap *tap_shard(struct tap *tap, uint32_t index)
{
    ASSERT_CMP(index, <, tap->shards);
    return &tap->files[index].hook;
}

int tap_block_read(const struct tap *tap, const struct tap_source *source, size_t block,
                   struct buf *buf, struct err *err)
{
    const struct tap_file *file = &tap->files[source->shard];
    const struct tap_block *at = &source->blocks[block];
    buf_reset(buf);
    buf_reserve(buf, at->len);
    while (buf->len < at->len) {
        ssize_t n =
            pread(file->fd, buf->data + buf->len, at->len - buf->len, at->at + i64_from(buf->len));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? err_errno(err, errno, "cannot read %s", file->path)
                         : err_set(err, KE_CORRUPT, "%s ends too early", file->path);
        }
        buf->len += (size_t)n;
    }
    return 0;
}
