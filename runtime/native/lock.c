/* Locks on names; see lock.h. */
#include "lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>

#include "path.h"
#include "system.h"

#define TRIES 100 /* a lock that was just given back is gone from its folder */
#define NANOSECONDS_TO_NAME 10000000 /* a holder that has just come writes its number within that */

/* What flock says where a file system, one of a network for example, has no locks. */
static bool has_no_locks(int reason) {
    return reason == ENOLCK || reason == EOPNOTSUPP || reason == ENOTSUP || reason == ENOSYS ||
           reason == EINVAL;
}

static int take(int descriptor) {
    while (system_lock(descriptor, LOCK_EX | LOCK_NB) < 0)
        if (errno != EINTR)
            return errno;
    return 0;
}

bool gradc_lock_descriptor(int descriptor) {
    struct stat facts;
    if (system_fstat(descriptor, &facts) < 0 || !S_ISREG(facts.st_mode))
        return true;
    return take(descriptor) != EWOULDBLOCK;
}

/* Whether the open file is the one of this name. */
GRADC_UNGUARDED
static bool is_at(int descriptor, const char *path) {
    struct stat facts;
    return system_fstat(descriptor, &facts) == 0 && gradc_file_is(path, facts.st_dev, facts.st_ino);
}

/* -1 and errno if that fails; EINVAL for what is no regular file. */
static int open_lock(const char *path) {
    int flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int descriptor = system_open(path, O_RDWR | O_CREAT | flags, 0666);
    if (descriptor < 0 && errno == EACCES) { /* another user's; locks need no right to write */
        descriptor = system_open(path, O_RDONLY | flags, 0);
        errno = descriptor < 0 && errno == ENOENT ? EACCES : errno;
    }
    struct stat facts;
    if (descriptor >= 0 && (system_fstat(descriptor, &facts) < 0 || !S_ISREG(facts.st_mode))) {
        system_close(descriptor);
        errno = EINVAL;
        return -1;
    }
    return descriptor;
}

/* Say who has the lock. */
static int fail_held(int descriptor, const char *name, struct gradc_error *error) {
    long long number = 0;
    for (int tries = 0; tries < 3 && !number; tries++) {
        char digits[32] = {0};
        ssize_t length = system_read_at(descriptor, digits, sizeof digits - 1, 0);
        number = length > 0 ? strtoll(digits, NULL, 10) : 0;
        bool valid = number >= 1 && number <= INT32_MAX;
        if (!valid || (system_kill((pid_t)number, 0) < 0 && errno == ESRCH)) {
            number = 0; /* it was killed, and another one has the lock now */
            struct timespec pause = {.tv_nsec = NANOSECONDS_TO_NAME};
            system_poll(NULL, 0, &pause, NULL);
        }
    }
    if (number && number != getpid())
        return gradc_fail_at(error, name, "process %lld is writing this file", number);
    return gradc_fail_at(error, name, "%s process is writing this file",
                         number ? "this" : "another");
}

/* Try once; EAGAIN if the file was removed before it was locked. */
static int try_lock(struct gradc_lock *lock, const char *name, struct gradc_error *error) {
    int descriptor = open_lock(lock->path);
    if (descriptor < 0)
        return gradc_fail_write(error, name);
    int reason = take(descriptor);
    if (!reason && is_at(descriptor, lock->path)) {
        char digits[32];
        int length = gradc_format(digits, sizeof digits, "%ld\n", (long)getpid());
        /* A full disk may refuse the number; the lock holds without it. */
        int ignored = system_truncate(descriptor, 0);
        ignored |= system_write_at(descriptor, digits, (size_t)length, 0) < 0;
        (void)ignored;
        lock->descriptor = descriptor;
        return GRADC_OK;
    }
    if (reason == EWOULDBLOCK)
        fail_held(descriptor, name, error);
    system_close(descriptor);
    if (!reason)
        return EAGAIN;
    if (has_no_locks(reason)) {
        system_unlink(lock->path);
        lock->missing = reason;
        return GRADC_OK;
    }
    if (reason != EWOULDBLOCK) {
        errno = reason;
        gradc_fail_write(error, name);
    }
    return GRADC_BAD_FILE;
}

int gradc_lock_take(struct gradc_lock *lock, const char *target, const char *name,
                    struct gradc_error *error) {
    *lock = (struct gradc_lock){.descriptor = -1, .path = gradc_path_with(target, ".lock")};
    int status = lock->path ? EAGAIN : gradc_fail_memory(error);
    for (int tries = 0; status == EAGAIN && tries < TRIES; tries++)
        status = try_lock(lock, name, error);
    if (status == EAGAIN) {
        status = gradc_fail_at(error, name, "cannot be written: its lock changes all the time");
    }
    if (status)
        gradc_lock_release(lock);
    return status;
}

void gradc_lock_release(struct gradc_lock *lock) {
    if (lock->path && lock->descriptor >= 0) {
        if (is_at(lock->descriptor, lock->path))
            system_unlink(lock->path);
        system_lock(lock->descriptor, LOCK_UN); /* a child of fork has the descriptor too */
        system_close(lock->descriptor);
    }
    free(lock->path);
    *lock = (struct gradc_lock){.descriptor = -1};
}
