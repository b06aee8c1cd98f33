/* Files: mapped for reading, replaced atomically; see file.h.
 *
 * The writer does what `write_atomically` in runtime/file_write.py does, step by step. A file that
 * another process shortens while it is mapped ends this one with SIGBUS. Whoever limits the size of
 * files must have SIGXFSZ ignored; then the limit is an error like any other.
 *
 * %m in a message is the text of errno: in glibc and musl, safe with threads, unlike strerror.
 */
#include "file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system.h"

#define BUFFER_BYTES ((size_t)1 << 16)

/* Keep the error that errno tells of a file. */
static int fail_read(const char *path, struct gradc_error *error) {
    return gradc_fail_at(error, path, "cannot be read: %m");
}

static int fail_irregular(const char *path, struct gradc_error *error) {
    return gradc_fail_at(error, path, "not a regular file");
}

GRADC_UNGUARDED
static int map_descriptor(struct gradc_mapping *mapping, const char *path, int descriptor,
                          struct gradc_error *error) {
    struct stat facts;
    if (system_fstat(descriptor, &facts) < 0)
        return fail_read(path, error);
    if (!S_ISREG(facts.st_mode))
        return fail_irregular(path, error);
    mapping->size = (size_t)facts.st_size;
    if (!mapping->size)
        return GRADC_OK;
    void *data = system_map(descriptor, mapping->size);
    if (data == MAP_FAILED)
        return fail_read(path, error);
    mapping->data = data;
    return GRADC_OK;
}

GRADC_UNGUARDED
int gradc_map(struct gradc_mapping *mapping, const char *path, struct gradc_error *error) {
    struct stat facts;
    *mapping = (struct gradc_mapping){0};
    if (system_stat(path, &facts) < 0)
        return fail_read(path, error);
    if (!S_ISREG(facts.st_mode)) /* a device may do something when it is opened */
        return fail_irregular(path, error);
    /* O_NONBLOCK: what has become a pipe meanwhile is refused, not waited for. */
    int descriptor = system_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (descriptor < 0)
        return fail_read(path, error);
    int status = map_descriptor(mapping, path, descriptor, error);
    system_close(descriptor);
    return status;
}

void gradc_unmap(struct gradc_mapping *mapping) {
    if (mapping->data)
        system_unmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (struct gradc_mapping){0};
}

/* Whether the partial file is the one that this writer made: without locks another writer may have
 * replaced it. */
GRADC_UNGUARDED
static bool is_own(const struct gradc_writer *writer) {
    return writer->partial && gradc_file_is(writer->partial, writer->device, writer->number);
}

/* Free everything; what was not renamed is removed. An open descriptor means that all went well so
 * far: without one, nothing more is written. */
void gradc_writer_abandon(struct gradc_writer *writer) {
    if (writer->descriptor >= 0)
        system_close(writer->descriptor);
    writer->descriptor = -1;
    if (is_own(writer))
        system_unlink(writer->partial);
    gradc_lock_release(&writer->lock);
    free(writer->path);
    free(writer->partial);
    free(writer->buffer);
    writer->path = writer->partial = NULL;
    writer->buffer = NULL;
}

/* Keep the error that errno tells, and give up. */
static int give_up(struct gradc_writer *writer) {
    gradc_fail_write(writer->error, writer->name);
    gradc_writer_abandon(writer);
    return GRADC_BAD_FILE;
}

GRADC_UNGUARDED
static int check_target(const char *target, const char *path, struct gradc_error *error) {
    struct stat facts;
    if (system_stat(target, &facts) == 0 && !S_ISREG(facts.st_mode)) { /* it would be replaced */
        errno = EISDIR;
        return S_ISDIR(facts.st_mode) ? gradc_fail_write(error, path) : fail_irregular(path, error);
    }
    const char *suffix = gradc_path_too_long(target);
    return !suffix ? GRADC_OK
                   : gradc_fail_at(error, path, "cannot be written: with '%s' after it, its name is "
                                   "too long", suffix);
}

GRADC_UNGUARDED
int gradc_writer_target(char **target, const char *path, struct gradc_error *error) {
    *target = gradc_path_follow(path);
    if (!*target)
        return gradc_fail_write(error, path);
    int status = check_target(*target, path, error);
    if (status) {
        free(*target);
        *target = NULL;
    }
    return status;
}

/* Give the new file the old one's owner, if that is allowed. Returns the mode for it: another group
 * does not get the rights of the old one. */
GRADC_UNGUARDED
static mode_t take_owner(int descriptor, const struct stat *old) {
    struct stat new;
    mode_t mode = old->st_mode & 07777;
    if (system_fstat(descriptor, &new) < 0)
        return mode;
    if (new.st_gid != old->st_gid && system_change_owner(descriptor, (uid_t)-1, old->st_gid) < 0)
        mode &= ~(mode_t)S_IRWXG;
    if (new.st_uid != old->st_uid) {
        int ignored = system_change_owner(descriptor, old->st_uid, (gid_t)-1);
        (void)ignored;
    }
    return mode;
}

/* A new file with owner and mode of the one to be replaced; else the umask decides. -1 and errno if
 * that fails. */
GRADC_UNGUARDED
static int open_partial(const char *partial, const char *path) {
    struct stat old;
    bool replaces = system_stat(path, &old) == 0;
    if (system_unlink(partial) < 0 && errno != ENOENT) /* of a process that was killed */
        return -1;
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int descriptor = system_open(partial, flags, replaces ? 0600 : 0666);
    if (descriptor >= 0 && replaces &&
        system_change_mode(descriptor, take_owner(descriptor, &old)) < 0) {
        int reason = errno;
        system_close(descriptor);
        system_unlink(partial);
        errno = reason;
        return -1;
    }
    return descriptor;
}

GRADC_UNGUARDED
int gradc_writer_open_locked(struct gradc_writer *writer, const char *path,
                             struct gradc_error *error) {
    struct stat facts;
    *writer = (struct gradc_writer){
        .name = path,
        .buffer = calloc(1, BUFFER_BYTES),
        .descriptor = -1,
        .error = error,
    };
    int status = writer->buffer ? gradc_writer_target(&writer->path, path, error)
                                : gradc_fail_memory(error);
    writer->partial = status ? NULL : gradc_path_with(writer->path, ".partial");
    if (!status && !writer->partial)
        status = gradc_fail_memory(error);
    if (status) {
        gradc_writer_abandon(writer);
        return status;
    }
    writer->descriptor = open_partial(writer->partial, writer->path);
    if (writer->descriptor < 0 || system_fstat(writer->descriptor, &facts) < 0)
        return give_up(writer);
    writer->device = facts.st_dev;
    writer->number = facts.st_ino;
    return GRADC_OK;
}

GRADC_UNGUARDED
int gradc_writer_open(struct gradc_writer *writer, const char *path, struct gradc_error *error) {
    struct gradc_lock lock = {0};
    char *target;
    *writer = (struct gradc_writer){.descriptor = -1, .error = error};
    int status = gradc_writer_target(&target, path, error);
    if (!status)
        status = gradc_lock_take(&lock, target, path, error);
    free(target);
    if (!status)
        status = gradc_writer_open_locked(writer, path, error);
    if (status)
        gradc_lock_release(&lock);
    else
        writer->lock = lock;
    return status;
}

bool gradc_write_all(int descriptor, const void *data, size_t length) {
    for (const char *from = data; length;) {
        ssize_t written = system_write(descriptor, from, length);
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
        return give_up(writer);
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
    while (system_sync(writer->descriptor) < 0)
        if (errno != EINTR)
            return -1;
    int descriptor = writer->descriptor;
    writer->descriptor = -1;
    return system_close(descriptor) < 0 && errno != EINTR ? -1 : 0;
}

/* Give the file a second name, so that it never lacks its own: -1 and errno if that fails. Somebody
 * may take it away at any moment; then there is none to keep. */
GRADC_UNGUARDED
static int keep_old(const char *path) {
    struct stat facts;
    if (system_stat(path, &facts) != 0)
        return 0;
    char *previous = gradc_path_with(path, ".previous");
    if (!previous)
        return -1;
    int result = system_unlink(previous);
    if (result == 0 || errno == ENOENT)
        result = system_link(path, previous) == 0
                     ? 0
                     : system_rename(path, previous); /* no hard links there */
    int reason = errno;
    free(previous);
    errno = reason;
    return result < 0 && reason == ENOENT ? 0 : result;
}

/* Some file systems cannot do this, so it may fail. `path` is cut after its folder. */
static void sync_folder(char *path) {
    size_t folder = gradc_path_folder(path);
    path[folder] = 0;
    int descriptor = system_open(folder ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (descriptor >= 0) {
        system_sync(descriptor);
        system_close(descriptor);
    }
}

static bool folder_exists(char *path) {
    size_t folder = gradc_path_folder(path);
    if (!folder)
        return true;
    char next = path[folder];
    path[folder] = 0;
    bool exists = gradc_file_exists(path);
    path[folder] = next;
    return exists;
}

GRADC_UNGUARDED
int gradc_writer_commit(struct gradc_writer *writer, bool keep_previous) {
    if (writer->descriptor < 0 || flush(writer))
        return GRADC_BAD_FILE;
    if (finish(writer) < 0)
        return give_up(writer);
    if (!is_own(writer)) {
        if (!folder_exists(writer->partial)) /* which errno tells */
            return give_up(writer);
        gradc_fail_at(writer->error, writer->name, "cannot be written: its .partial is gone; does "
                      "another process write it too?");
        gradc_writer_abandon(writer);
        return GRADC_BAD_FILE;
    }
    if ((keep_previous && keep_old(writer->path) < 0) ||
        system_rename(writer->partial, writer->path) < 0)
        return give_up(writer);
    free(writer->partial);
    writer->partial = NULL;
    sync_folder(writer->path);
    gradc_writer_abandon(writer);
    return GRADC_OK;
}
