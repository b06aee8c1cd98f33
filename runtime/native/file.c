/* Files: mapped for reading, replaced atomically; see file.h.
 *
 * The writer does what `write_atomically` in runtime/checkpoint.py does, step by step. A file that
 * another process shortens while it is mapped ends this one with SIGBUS. Whoever limits the size of
 * files must have SIGXFSZ ignored; then the limit is an error like any other.
 *
 * %m in a message is the text of errno: in glibc and musl, safe with threads, unlike strerror.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)1 << 16)

static int map_descriptor(struct gradc_mapping *mapping, const char *path, int descriptor,
                          struct gradc_error *error) {
    struct stat facts;
    if (fstat(descriptor, &facts) < 0)
        return gradc_fail(error, GRADC_BAD_FILE, "%s: cannot be read: %m", path);
    if (!S_ISREG(facts.st_mode))
        return gradc_fail(error, GRADC_BAD_FILE, "%s: not a regular file", path);
    mapping->size = (size_t)facts.st_size;
    if (!mapping->size)
        return GRADC_OK;
    void *data = mmap(NULL, mapping->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED)
        return gradc_fail(error, GRADC_BAD_FILE, "%s: cannot be read: %m", path);
    mapping->data = data;
    return GRADC_OK;
}

int gradc_map(struct gradc_mapping *mapping, const char *path, struct gradc_error *error) {
    *mapping = (struct gradc_mapping){0};
    /* O_NONBLOCK: a pipe without a writer is refused, not waited for. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return gradc_fail(error, GRADC_BAD_FILE, "%s: cannot be read: %m", path);
    int status = map_descriptor(mapping, path, descriptor, error);
    close(descriptor);
    return status;
}

void gradc_unmap(struct gradc_mapping *mapping) {
    if (mapping->data)
        munmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (struct gradc_mapping){0};
}

bool gradc_file_exists(const char *path) {
    struct stat facts;
    return stat(path, &facts) == 0;
}

char *gradc_path_with(const char *path, const char *suffix) {
    size_t length = strlen(path), more = strlen(suffix) + 1;
    char *joined = malloc(length + more);
    if (joined) {
        memcpy(joined, path, length);
        memcpy(joined + length, suffix, more);
    }
    return joined;
}

/* Free everything; what was not renamed is removed. An open descriptor means that all went well so
 * far: without one, nothing more is written. */
void gradc_writer_abandon(struct gradc_writer *writer) {
    if (writer->descriptor >= 0)
        close(writer->descriptor);
    writer->descriptor = -1;
    if (writer->partial)
        unlink(writer->partial);
    free(writer->path);
    free(writer->partial);
    free(writer->buffer);
    writer->path = writer->partial = NULL;
    writer->buffer = NULL;
}

/* Keep the error that errno tells, and give up. */
static int fail(struct gradc_writer *writer) {
    gradc_fail(writer->error, GRADC_BAD_FILE, "%s: cannot be written: %m", writer->path);
    gradc_writer_abandon(writer);
    return GRADC_BAD_FILE;
}

int gradc_writer_open(struct gradc_writer *writer, const char *path, struct gradc_error *error) {
    *writer = (struct gradc_writer){
        .path = gradc_path_with(path, ""),
        .buffer = malloc(BUFFER_BYTES),
        .descriptor = -1,
        .error = error,
    };
    char *partial = gradc_path_with(path, ".partial");
    if (!writer->path || !writer->buffer || !partial) {
        free(partial);
        gradc_writer_abandon(writer);
        return gradc_fail_memory(error);
    }
    struct stat facts; /* a device or a pipe would be replaced; a directory fails later */
    if (stat(path, &facts) == 0 && !S_ISREG(facts.st_mode) && !S_ISDIR(facts.st_mode)) {
        free(partial);
        gradc_writer_abandon(writer);
        return gradc_fail(error, GRADC_BAD_FILE, "%s: not a regular file", path);
    }
    writer->partial = partial;
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
    writer->descriptor = open(partial, flags, 0666);
    return writer->descriptor < 0 ? fail(writer) : GRADC_OK;
}

bool gradc_write_all(int descriptor, const void *data, size_t length) {
    for (const char *from = data; length;) {
        ssize_t written = write(descriptor, from, length);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            from += written;
            length -= (size_t)written;
        }
    }
    return true;
}

static int flush(struct gradc_writer *writer) {
    if (!gradc_write_all(writer->descriptor, writer->buffer, writer->used))
        return fail(writer);
    writer->used = 0;
    return GRADC_OK;
}

int gradc_writer_add(struct gradc_writer *writer, const void *data, size_t size) {
    const unsigned char *from = data;
    while (size) {
        if (writer->descriptor < 0)
            return GRADC_BAD_FILE;
        size_t room = BUFFER_BYTES - writer->used, part = size < room ? size : room;
        memcpy(writer->buffer + writer->used, from, part);
        writer->used += part;
        from += part;
        size -= part;
        if (part == room && flush(writer))
            return GRADC_BAD_FILE;
    }
    return writer->descriptor < 0 ? GRADC_BAD_FILE : GRADC_OK;
}

/* Write what is left to the disk and close the file: -1 and errno if that fails. */
static int finish(struct gradc_writer *writer) {
    while (fsync(writer->descriptor) < 0)
        if (errno != EINTR)
            return -1;
    int descriptor = writer->descriptor;
    writer->descriptor = -1;
    return close(descriptor) < 0 && errno != EINTR ? -1 : 0;
}

/* Give the file a second name, so that it never lacks its own: -1 and errno if that fails. */
static int keep_old(const char *path) {
    struct stat facts;
    if (stat(path, &facts) != 0)
        return 0;
    if (S_ISDIR(facts.st_mode)) { /* to be refused, not moved aside */
        errno = EISDIR;
        return -1;
    }
    char *previous = gradc_path_with(path, ".previous");
    if (!previous)
        return -1;
    int result = unlink(previous);
    if (result == 0 || errno == ENOENT)
        result = link(path, previous) == 0 ? 0 : rename(path, previous); /* no hard links there */
    int reason = errno;
    free(previous);
    errno = reason;
    return result;
}

/* Some file systems cannot do this, so it may fail. `path` is cut after its folder. */
static void sync_folder(char *path) {
    char *slash = strrchr(path, '/');
    if (slash)
        slash[1] = 0;
    int descriptor = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
}

int gradc_writer_commit(struct gradc_writer *writer, bool keep_previous) {
    if (writer->descriptor < 0 || flush(writer))
        return GRADC_BAD_FILE;
    if (finish(writer) < 0 || (keep_previous && keep_old(writer->path) < 0))
        return fail(writer);
    if (rename(writer->partial, writer->path) < 0) {
        if (errno != ENOENT)
            return fail(writer);
        gradc_fail(writer->error, GRADC_BAD_FILE,
                   "%s: cannot be written: %s is gone; does another process write it too?",
                   writer->path, writer->partial);
        gradc_writer_abandon(writer);
        return GRADC_BAD_FILE;
    }
    free(writer->partial);
    writer->partial = NULL;
    sync_folder(writer->path);
    gradc_writer_abandon(writer);
    return GRADC_OK;
}
