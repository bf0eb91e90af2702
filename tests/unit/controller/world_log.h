/* The log of a world: partitions, identity and ends. A part of world.h, which includes it. */
#ifndef KAPPA_TESTS_CONTROLLER_WORLD_LOG_H
#define KAPPA_TESTS_CONTROLLER_WORLD_LOG_H

static int world_topic_partitions(struct log *log, const char *topic, uint32_t *count,
                                  struct err *err)
{
    (void)log;
    *count = WORLD_PARTITIONS;
    bool there = strcmp(topic, "events") == 0 || strcmp(topic, "others") == 0;
    return there ? 0 : err_set(err, KE_NOT_FOUND, "no topic %s", topic);
}

static int world_topic_identity(struct log *log, const char *topic, uint64_t *identity,
                                struct err *err)
{
    (void)topic;
    (void)err;
    *identity = ((struct world *)(void *)log)->identity;
    return 0;
}

static int world_offsets(struct log *log, const char *topic, uint32_t partition, int64_t *start,
                         int64_t *end, struct err *err)
{
    (void)topic;
    (void)err;
    const struct world *world = (struct world *)(void *)log;
    *start = world->start[partition];
    *end = world->end[partition];
    return 0;
}

static int world_offset_at_time(struct log *log, const char *topic, uint32_t partition,
                                int64_t time_ms, int64_t *offset, struct err *err)
{
    (void)log;
    (void)topic;
    (void)partition;
    (void)err;
    *offset = time_ms;
    return 0;
}

/* Topics to write: nothing is written here. */
static int world_topic_create(struct log *log, const char *topic,
                              const struct log_topic_options *options, struct err *err)
{
    (void)log;
    (void)topic;
    (void)err;
    assert_int_equal(options->partitions, WORLD_PARTITIONS);
    return 0;
}

static const struct log_ops world_log_ops = {.topic_create = world_topic_create,
                                             .topic_partitions = world_topic_partitions,
                                             .topic_identity = world_topic_identity,
                                             .offsets = world_offsets,
                                             .offset_at_time = world_offset_at_time};

#endif
