/* Files: mapped for reading, replaced atomically. Messages begin with the path. */
#ifndef GRADC_FILE_H
#define GRADC_FILE_H

#include "lock.h"
#include "path.h"

/* A whole file, read-only. An empty file has data == null. */
struct gradc_mapping {
    const unsigned char *data;
    size_t size;
};

/* Only regular files are taken: nothing that would be waited for, or that has no end. */
int gradc_map(struct gradc_mapping *mapping, const char *path, struct gradc_error *error);
void gradc_unmap(struct gradc_mapping *mapping);

/* A file being replaced: NAME.partial is written, synced and renamed over NAME, then the folder is
 * synced, exactly as runtime/file_write.py does. A symbolic link is followed; the mode of a file that
 * is replaced stays, and so does its owner where that is allowed. Writes are buffered; the first
 * error is kept and later writes do nothing. */
struct gradc_writer {
    const char *name; /* as the user wrote it; not copied */
    char *path;       /* what it leads to */
    char *partial;
    dev_t device; /* of the partial file, and its number there */
    ino_t number;
    unsigned char *buffer;
    size_t used;
    int descriptor;
    struct gradc_lock lock;
    struct gradc_error *error;
};

/* Whether a file may be replaced by this name, and what it leads to, in fresh memory: a regular file,
 * or none yet; with room for the suffixes. */
int gradc_writer_target(char **target, const char *path, struct gradc_error *error);

int gradc_writer_open(struct gradc_writer *writer, const char *path, struct gradc_error *error);
/* The same for a caller that holds the lock on the file. */
int gradc_writer_open_locked(struct gradc_writer *writer, const char *path,
                             struct gradc_error *error);
int gradc_writer_add(struct gradc_writer *writer, const void *data, size_t size);
/* keep_previous: the file that was there stays as NAME.previous. On failure NAME is unchanged and
 * NAME.partial is gone. The writer is closed either way. */
int gradc_writer_commit(struct gradc_writer *writer, bool keep_previous);
void gradc_writer_abandon(struct gradc_writer *writer);

/* Write all of it, whatever one call takes; false at an error, which errno tells. */
bool gradc_write_all(int descriptor, const void *data, size_t length);

#endif
