/* The caller's thread around a call; see guard.h. The functions of <fenv.h> would need libm. The
 * x87 unit is left alone: nothing in a library computes with long double.
 *
 * Sources: Intel SDM volume 1, section 10.2.3 (MXCSR); Arm ARM for A-profile, FPCR and FPSR;
 * setrlimit(2): SIGXFSZ goes to the thread that writes.
 */
#include "guard.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "descriptors.h"

#if defined(__x86_64__)

static void set_arithmetic(struct gradc_guard *guard) {
    unsigned before, defaults = 0x1f80;
    __asm__ volatile("stmxcsr %0" : "=m"(before));
    __asm__ volatile("ldmxcsr %0" : : "m"(defaults) : "memory");
    guard->control = before;
}

static void restore_arithmetic(const struct gradc_guard *guard) {
    unsigned before = (unsigned)guard->control;
    __asm__ volatile("ldmxcsr %0" : : "m"(before) : "memory");
}

#elif defined(__aarch64__)

static void set_arithmetic(struct gradc_guard *guard) {
    __asm__ volatile("mrs %0, fpcr" : "=r"(guard->control));
    __asm__ volatile("mrs %0, fpsr" : "=r"(guard->status));
    __asm__ volatile("msr fpcr, %0" : : "r"(0ul) : "memory");
}

static void restore_arithmetic(const struct gradc_guard *guard) {
    __asm__ volatile("msr fpsr, %0" : : "r"(guard->status));
    __asm__ volatile("msr fpcr, %0" : : "r"(guard->control) : "memory");
}

#else
#error "the floating point environment of this architecture is not known"
#endif

static bool is_pending(int number) {
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, number) == 1;
}

void gradc_guard_enter(struct gradc_guard *guard, bool files) {
    set_arithmetic(guard);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &guard->cancellation);
    guard->files = files;
    if (files) {
        guard->occupied = gradc_descriptors_occupy();
        sigset_t blocked;
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGXFSZ);
        guard->pending = is_pending(SIGXFSZ);
        pthread_sigmask(SIG_BLOCK, &blocked, &guard->mask);
    }
}

void gradc_guard_leave(const struct gradc_guard *guard) {
    if (guard->files) {
        gradc_descriptors_release(guard->occupied);
        const struct timespec now = {0};
        sigset_t ours;
        sigemptyset(&ours);
        sigaddset(&ours, SIGXFSZ);
        if (!guard->pending) { /* what a write of ours raised */
            while (sigtimedwait(&ours, NULL, &now) < 0 && errno == EINTR) {
            }
        }
        pthread_sigmask(SIG_SETMASK, &guard->mask, NULL);
    }
    int ignored;
    pthread_setcancelstate(guard->cancellation, &ignored);
    restore_arithmetic(guard);
}
