/* Files: mapped for reading, replaced atomically. */
#ifndef GRADC_FILE_H
#define GRADC_FILE_H

#include "common.h"

/* A whole file, read-only. An empty file has data == null. */
struct gradc_mapping {
    const unsigned char *data;
    size_t size;
};

/* Messages begin with the path. Only regular files are taken. */
int gradc_map(struct gradc_mapping *mapping, const char *path, struct gradc_error *error);
void gradc_unmap(struct gradc_mapping *mapping);

/* A file being replaced: NAME.partial is written, synced and renamed over NAME, then the folder is
 * synced, exactly as runtime/checkpoint.py does. Writes are buffered; the first error is kept and
 * later writes do nothing. */
struct gradc_writer {
    char *path, *partial;
    unsigned char *buffer;
    size_t used;
    int descriptor;
    struct gradc_error *error;
};

int gradc_writer_open(struct gradc_writer *writer, const char *path, struct gradc_error *error);
int gradc_writer_add(struct gradc_writer *writer, const void *data, size_t size);
/* keep_previous: the file that was there stays as NAME.previous. On failure NAME is unchanged and
 * NAME.partial is gone. The writer is closed either way. */
int gradc_writer_commit(struct gradc_writer *writer, bool keep_previous);
void gradc_writer_abandon(struct gradc_writer *writer);

/* Write all of it, whatever one call takes; false at an error, which errno tells. */
bool gradc_write_all(int descriptor, const void *data, size_t length);

bool gradc_file_exists(const char *path);
/* path + suffix in fresh memory, or null. */
char *gradc_path_with(const char *path, const char *suffix);

#endif
