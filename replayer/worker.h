/* The worker: one process for one version (docs/ARCHITECTURE.md, "Worker protocol").
 *
 * Reads commands from in_fd and writes events to out_fd, one JSON object a line. Returns the exit
 * code: 0 after `stop` or the end of in_fd (everything applied is committed), 1 after a failure
 * (the `failed` event says which). Sets process-wide things: SIGINT and SIGPIPE are ignored, the
 * process dies with its parent, out_fd becomes non-blocking. To be called once, from main(), by a
 * process that has no other threads.
 *
 * Threads: the caller's is the main one (worker.c): pipes, answers, progress, and it alone writes
 * events. One per shard (worker_shard.c) and one for slow questions to the log
 * (worker_monitor.c).
 *
 * KAPPA_FAIL=STEP:COUNT kills the process at the COUNT-th time that a commit of any shard comes to
 * STEP ("flush", "commit", "committed"): for crash tests. */
#ifndef KAPPA_REPLAYER_WORKER_H
#define KAPPA_REPLAYER_WORKER_H

int worker_main(int in_fd, int out_fd);

#endif
