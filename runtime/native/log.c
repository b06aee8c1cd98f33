/* Writing what people read; see log.h.
 *
 * A signal that comes between a look at the flag and a call that waits would be missed: so waiting
 * is done in ppoll() alone, which takes the signal mask with it, and what is then written fits in.
 */
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>

#include "signals.h"
#include "system.h"

#define NANOSECONDS_BETWEEN_LOOKS 50000000

/* ppoll(), at the end of its time at once where a signal to stop has come. `time` null: no end. */
GRADC_UNGUARDED
static int wait_for(struct pollfd *what, nfds_t count, struct timespec *time) {
    struct timespec now = {0};
    system_signals stops = system_signal(SIGINT) | system_signal(SIGTERM), before;
    system_mask(SIG_BLOCK, &stops, &before);
    int result = system_poll(what, count, gradc_signals_received() ? &now : time, &before);
    int reason = errno;
    system_mask(SIG_SETMASK, &before, NULL);
    errno = reason;
    return result;
}

GRADC_UNGUARDED
bool gradc_log_write(int descriptor, const void *data, size_t length) {
    for (const char *from = data; length;) {
        struct pollfd place = {.fd = descriptor, .events = POLLOUT};
        int ready = wait_for(&place, 1, NULL);
        if (ready == 0) {
            errno = EINTR;
            return false;
        }
        size_t part = length < PIPE_BUF ? length : PIPE_BUF;
        ssize_t written = ready < 0 ? -1 : system_write(descriptor, from, part);
        if (written < 0 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
        if (written > 0) {
            from += written;
            length -= (size_t)written;
        }
    }
    return true;
}

int gradc_log_open(const char *path) {
    const int flags = O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct stat facts;
    int descriptor = system_open(path, flags, 0666);
    while (descriptor < 0 && errno == ENXIO && system_stat(path, &facts) == 0 &&
           S_ISFIFO(facts.st_mode)) {
        if (gradc_signals_received()) {
            errno = EINTR;
            return -1;
        }
        struct timespec pause = {.tv_nsec = NANOSECONDS_BETWEEN_LOOKS};
        wait_for(NULL, 0, &pause);
        descriptor = system_open(path, flags, 0666);
    }
    if (descriptor < 0 || system_fstat(descriptor, &facts) < 0) {
        return -1;
    }
    /* Not a disk as a device: its file system would be overwritten. */
    if (!S_ISREG(facts.st_mode) && !S_ISFIFO(facts.st_mode) && !S_ISCHR(facts.st_mode)) {
        system_close(descriptor);
        errno = ENODEV;
        return -1;
    }
    return descriptor;
}
