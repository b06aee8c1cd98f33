/* Calls of the kernel by their numbers, which are as fixed as the functions of the C library.
 *
 * Each function that a binary takes from a shared library is a symbol in its file, with a name, a
 * version, a relocation and a place for its address: 67 bytes before it is called. Where the library
 * would but pass a call on, one function of it does so here for all. Results and errno are those of
 * the functions that are named so; none of these is a point where a thread is cancelled. x86-64 and
 * aarch64 have all of the calls, and `struct stat` there is the kernel's own.
 */
#ifndef GRADC_SYSTEM_H
#define GRADC_SYSTEM_H

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

/* The kernel's set of signals: signal n is bit n - 1. */
typedef uint64_t system_signals;

static inline system_signals system_signal(int number) {
    return UINT64_C(1) << (number - 1);
}

static inline int system_mask(int how, const system_signals *set, system_signals *before) {
    return (int)syscall(SYS_rt_sigprocmask, how, set, before, sizeof *set);
}

/* `time` is changed: what is left of it. */
static inline int system_poll(struct pollfd *what, nfds_t count, struct timespec *time,
                              const system_signals *mask) {
    return (int)syscall(SYS_ppoll, what, count, time, mask, sizeof *mask);
}

static inline int system_kill(pid_t process, int signal) {
    return (int)syscall(SYS_kill, process, signal);
}

static inline _Noreturn void system_exit(int status) {
    syscall(SYS_exit_group, status);
    __builtin_unreachable();
}

static inline int system_clock(struct timespec *now) {
    return (int)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, now);
}

/* ---------------------------------------------------------------- names of files */

static inline int system_open(const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static inline int system_stat(const char *path, struct stat *facts) {
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, facts, 0);
}

static inline int system_lstat(const char *path, struct stat *facts) {
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, facts, AT_SYMLINK_NOFOLLOW);
}

static inline ssize_t system_readlink(const char *path, char *target, size_t size) {
    return syscall(SYS_readlinkat, AT_FDCWD, path, target, size);
}

static inline int system_unlink(const char *path) {
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static inline int system_link(const char *path, const char *second) {
    return (int)syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, second, 0);
}

static inline int system_rename(const char *path, const char *new_path) {
    return (int)syscall(SYS_renameat, AT_FDCWD, path, AT_FDCWD, new_path);
}

/* ---------------------------------------------------------------- open files */

GRADC_APART_IN_HEADER
static int system_fstat(int descriptor, struct stat *facts) {
    return (int)syscall(SYS_fstat, descriptor, facts);
}

static inline int system_close(int descriptor) {
    return (int)syscall(SYS_close, descriptor);
}

static inline ssize_t system_write(int descriptor, const void *data, size_t size) {
    return syscall(SYS_write, descriptor, data, size);
}

static inline ssize_t system_read_at(int descriptor, void *data, size_t size, off_t place) {
    return syscall(SYS_pread64, descriptor, data, size, place);
}

static inline ssize_t system_write_at(int descriptor, const void *data, size_t size, off_t place) {
    return syscall(SYS_pwrite64, descriptor, data, size, place);
}

static inline off_t system_seek(int descriptor, off_t place) {
    return syscall(SYS_lseek, descriptor, place, SEEK_SET);
}

static inline int system_truncate(int descriptor, off_t size) {
    return (int)syscall(SYS_ftruncate, descriptor, size);
}

static inline int system_sync(int descriptor) {
    return (int)syscall(SYS_fsync, descriptor);
}

static inline int system_change_mode(int descriptor, mode_t mode) {
    return (int)syscall(SYS_fchmod, descriptor, mode);
}

static inline int system_change_owner(int descriptor, uid_t user, gid_t group) {
    return (int)syscall(SYS_fchown, descriptor, user, group);
}

static inline int system_lock(int descriptor, int way) {
    return (int)syscall(SYS_flock, descriptor, way);
}

/* Whether it is one. */
static inline bool system_is_open(int descriptor) {
    return syscall(SYS_fcntl, descriptor, F_GETFD) >= 0;
}

static inline int system_control(int descriptor, unsigned long request, void *facts) {
    return (int)syscall(SYS_ioctl, descriptor, request, facts);
}

/* ---------------------------------------------------------------- mapped files, memory */

/* Bytes of memory that the machine has; 0 if that cannot be told. */
static inline uint64_t system_memory(void) {
    struct sysinfo facts = {0};
    syscall(SYS_sysinfo, &facts);
    return (uint64_t)facts.totalram * facts.mem_unit;
}

/* MAP_FAILED and errno if it cannot be mapped. */
static inline void *system_map(int descriptor, size_t size) {
    return (void *)syscall(SYS_mmap, NULL, size, PROT_READ, MAP_PRIVATE, descriptor, (off_t)0);
}

static inline int system_unmap(void *data, size_t size) {
    return (int)syscall(SYS_munmap, data, size);
}

static inline int system_advise(void *data, size_t size, int advice) {
    return (int)syscall(SYS_madvise, data, size, advice);
}

#endif
