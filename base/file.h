/* Files with the errors translated: whole reads and writes, files that are created at once, folders
 * that are synced. */
#ifndef KAPPA_BASE_FILE_H
#define KAPPA_BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"

/* Appends what is in the file, but no more than a block behind `most` bytes: more than that in `out`
 * means that it is larger. */
int file_read(const char *path, size_t most, struct buf *out, struct err *err) must_check;
/* The same of what is open; path is for the error. */
int file_read_fd(int fd, const char *path, size_t most, struct buf *out,
                 struct err *err) must_check;
/* All of the bytes, or an error (DISK_FULL, IO); what was written until then is unspecified. */
int file_write_at(int fd, const void *bytes, size_t len, int64_t at, const char *path,
                  struct err *err) must_check;
/* Creates (or empties) the file, writes the bytes, syncs. *fd: open for reading and writing, the
 * caller's to close. Nothing is left behind on error. */
int file_create(const char *path, const void *bytes, size_t len, int *fd,
                struct err *err) must_check;
int file_sync(int fd, const char *path, struct err *err) must_check;
/* Makes creations, renames and removals in the folder durable. */
int file_sync_dir(const char *path, struct err *err) must_check;
/* mkdir; an existing folder is fine. */
int file_make_dir(const char *path, struct err *err) must_check;
/* Makes `to`, which must not be there, a copy of the file `from`: shared blocks where the file system can,
 * else bytes. Not synced. */
int file_copy(const char *from, const char *to, struct err *err) must_check;
/* Bytes that the files and folders below a folder take on disk; what cannot be read is left out. */
uint64_t file_tree_bytes(const char *path);
/* A folder with all below it, or a file. What cannot be removed is said in the log, and stays. */
void file_remove_tree(const char *path);

#endif
