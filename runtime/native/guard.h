/* What a library's function does for its caller's thread before and after its work.
 *
 * Whatever the caller's thread is set to, the arithmetic is that of C's start (round to nearest, no
 * flushing of denormals, no traps); a write past a limit on the size of files is an error and no
 * signal; no cancellation takes effect in between. Afterwards everything is as it was.
 */
#ifndef GRADC_GUARD_H
#define GRADC_GUARD_H

#include <signal.h>
#include <stdbool.h>

struct gradc_guard {
    unsigned long control, status; /* MXCSR, which holds both; FPCR and FPSR */
    int cancellation;
    bool writes;
    bool pending; /* SIGXFSZ was already on its way */
    sigset_t mask;
};

/* writes: files will be written until `leave`. */
void gradc_guard_enter(struct gradc_guard *guard, bool writes);
void gradc_guard_leave(const struct gradc_guard *guard);

#endif
