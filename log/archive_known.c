/* Sealed segments that were looked at. Own header: archive_known.h. */
#include "log/archive_known.h"

#include "base/clock.h"

#include <pthread.h>
#include <string.h>

#define PLACES   4096 /* a power of two; 0.8 MB when the first file is kept */
#define QUIET_MS 2000 /* since it changed last */

struct known {
    dev_t device;
    ino_t number;
    off_t size;
    struct timespec written, changed;
    struct archive_owner owner;
    struct archive_segment segment; /* end == base: nothing is kept here */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct known *places; /* under lock */

static size_t place_of(const struct stat *file)
{
    uint64_t mixed = ((uint64_t)file->st_ino ^ (uint64_t)file->st_dev << 32) * 0x9E3779B97F4A7C15U;
    return (size_t)(mixed >> 32) & (PLACES - 1);
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_file(const struct known *known, const struct stat *file)
{
    return known->segment.end > known->segment.base && known->device == file->st_dev &&
           known->number == file->st_ino && known->size == file->st_size &&
           same_time(&known->written, &file->st_mtim) && same_time(&known->changed, &file->st_ctim);
}

bool archive_known_get(const struct stat *file, const struct archive_owner *owner, int64_t base,
                       struct archive_segment *out)
{
    pthread_mutex_lock(&lock);
    const struct known *known = places == NULL ? NULL : &places[place_of(file)];
    bool found = known != NULL && same_file(known, file) && known->segment.base == base &&
                 known->owner.topic_crc == owner->topic_crc &&
                 known->owner.partition == owner->partition;
    if (found) {
        *out = known->segment;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static bool is_quiet(const struct stat *file)
{
    int64_t now = clock_wall_ms(clock_real());
    int64_t changed = (int64_t)file->st_ctim.tv_sec * 1000 + file->st_ctim.tv_nsec / 1000000;
    return now - changed > QUIET_MS;
}

void archive_known_put(const struct stat *file, const struct archive_owner *owner,
                       const struct archive_segment *segment)
{
    ASSERT(segment->sealed && segment->entries == NULL);
    if (segment->end == segment->base || !is_quiet(file)) {
        return;
    }
    pthread_mutex_lock(&lock);
    if (places == NULL) {
        places = xcalloc(PLACES, sizeof *places);
    }
    places[place_of(file)] = (struct known){.device = file->st_dev,
                                            .number = file->st_ino,
                                            .size = file->st_size,
                                            .written = file->st_mtim,
                                            .changed = file->st_ctim,
                                            .owner = *owner,
                                            .segment = *segment};
    pthread_mutex_unlock(&lock);
}
