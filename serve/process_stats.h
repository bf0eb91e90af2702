/* What the system says of this process, and of the disk of a directory: for /metrics. */
#ifndef KAPPA_SERVE_PROCESS_STATS_H
#define KAPPA_SERVE_PROCESS_STATS_H

#include "base/json.h"

/* {"cpu_seconds","rss_bytes","virtual_bytes","open_files","max_files","start_seconds"}; what cannot
 * be learnt is left out. A new reference. */
json_t *process_stats(void);
/* {"free_bytes","size_bytes"} of the directory's disk, {} when it is NULL or not there. */
json_t *disk_stats(const char *dir);

#endif
