/* Writing what people read; see log.h.
 *
 * A signal that comes between a look at the flag and a call that waits would be missed: so waiting
 * is done in ppoll() alone, which takes the signal mask with it, and what is then written fits in.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "signals.h"

#define NANOSECONDS_BETWEEN_LOOKS 50000000

/* ppoll(), at the end of its time at once where a signal to stop has come. `time` null: no end. */
static int wait_for(struct pollfd *what, nfds_t count, const struct timespec *time) {
    const struct timespec now = {0};
    sigset_t stops, before;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stops, &before);
    int result = ppoll(what, count, gradc_signals_received() ? &now : time, &before);
    int reason = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = reason;
    return result;
}

bool gradc_log_write(int descriptor, const void *data, size_t length) {
    for (const char *from = data; length;) {
        struct pollfd place = {.fd = descriptor, .events = POLLOUT};
        int ready = wait_for(&place, 1, NULL);
        if (ready == 0) {
            errno = EINTR;
            return false;
        }
        size_t part = length < PIPE_BUF ? length : PIPE_BUF;
        ssize_t written = ready < 0 ? -1 : write(descriptor, from, part);
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
    const struct timespec pause = {.tv_nsec = NANOSECONDS_BETWEEN_LOOKS};
    const int flags = O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct stat facts;
    int descriptor = open(path, flags, 0666);
    while (descriptor < 0 && errno == ENXIO && stat(path, &facts) == 0 && S_ISFIFO(facts.st_mode)) {
        if (gradc_signals_received()) {
            errno = EINTR;
            return -1;
        }
        wait_for(NULL, 0, &pause);
        descriptor = open(path, flags, 0666);
    }
    if (descriptor < 0 || fstat(descriptor, &facts) < 0) {
        return -1;
    }
    /* Not a disk as a device: its file system would be overwritten. */
    if (!S_ISREG(facts.st_mode) && !S_ISFIFO(facts.st_mode) && !S_ISCHR(facts.st_mode)) {
        close(descriptor);
        errno = ENODEV;
        return -1;
    }
    return descriptor;
}
