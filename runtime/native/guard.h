/* What a library's function does for its caller's thread before and after its work.
 *
 * Whatever the caller's thread is set to, the arithmetic is that of C's start (round to nearest, no
 * flushing of denormals, no traps); a write past a limit on the size of files is an error and no
 * signal; no file gets the number of a standard descriptor that is closed; no cancellation takes
 * effect in between. Afterwards everything is as it was.
 */
#ifndef GRADC_GUARD_H
#define GRADC_GUARD_H

#include <signal.h>
#include <stdbool.h>

struct gradc_guard {
    unsigned long control, status; /* MXCSR, which holds both; FPCR and FPSR */
    int cancellation;
    bool files;
    bool pending; /* SIGXFSZ was already on its way */
    unsigned occupied;
    sigset_t mask;
};

/* files: some will be read or written until `leave`. */
void gradc_guard_enter(struct gradc_guard *guard, bool files);
void gradc_guard_leave(const struct gradc_guard *guard);

#endif
