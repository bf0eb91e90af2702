/* The table of commands. Own header: cmd.h. */
#include "cli/cmd.h"

#define COMMANDS(X)                                                                                \
    X(init)                                                                                        \
    X(up)                                                                                          \
    X(topic_create)                                                                                \
    X(topic_list)                                                                                  \
    X(topic_set)                                                                                   \
    X(archive_ls)                                                                                  \
    X(archive_verify)                                                                              \
    X(archive_backfill)                                                                            \
    X(archive_gc)                                                                                  \
    X(produce)                                                                                     \
    X(cat)                                                                                         \
    X(nexmark)                                                                                     \
    X(apply)                                                                                       \
    X(diff_plan)                                                                                   \
    X(deploy)                                                                                      \
    X(explain)                                                                                     \
    X(rekey)                                                                                       \
    X(replay)                                                                                      \
    X(status)                                                                                      \
    X(wait)                                                                                        \
    X(diff)                                                                                        \
    X(swap)                                                                                        \
    X(rollback)                                                                                    \
    X(canary)                                                                                      \
    X(abort)                                                                                       \
    X(pause)                                                                                       \
    X(resume)                                                                                      \
    X(limit)                                                                                       \
    X(drop)                                                                                        \
    X(gc)                                                                                          \
    X(history)                                                                                     \
    X(events)                                                                                      \
    X(get)                                                                                         \
    X(sql)                                                                                         \
    X(scan)                                                                                        \
    X(export)                                                                                      \
    X(tail)                                                                                        \
    X(dead)                                                                                        \
    X(late)                                                                                        \
    X(outbox)                                                                                      \
    X(corrections)                                                                                 \
    X(snapshot)                                                                                    \
    X(snapshots)                                                                                   \
    X(verify)                                                                                      \
    X(access_add)                                                                                  \
    X(access_ls)                                                                                   \
    X(access_remove)                                                                               \
    X(doctor)                                                                                      \
    X(worker)                                                                                      \
    X(completion)                                                                                  \
    X(version)                                                                                     \
    X(help)

#define X(name) extern const struct cmd_entry cmd_##name;
COMMANDS(X)
#undef X

const struct cmd_entry *const cmd_entries[] = {
#define X(name) &cmd_##name,
    COMMANDS(X)
#undef X
        NULL,
};
