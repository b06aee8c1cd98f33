/* One writer for a file at a time, among all processes: the lock on a name.
 *
 * NAME.lock, beside NAME, is held with flock(2) and holds the number of the process. NAME itself
 * cannot be, because it is replaced with every write. The kernel lets go of the lock of a process
 * that has ended, however it did; its NAME.lock stays and the next writer takes it over. Otherwise
 * a writer removes it at its end. What file_lock.py is in runtime/; both see each other's locks.
 */
#ifndef GRADC_LOCK_H
#define GRADC_LOCK_H

#include "common.h"

struct gradc_lock {
    int descriptor;      /* -1: nothing is held */
    char *path;          /* of NAME.lock */
    int missing;         /* errno where the file system has no locks, else 0 */
};

/* Take the lock on a file: `target` at the end of symbolic links, `name` as the user wrote it.
 * Fails, naming the process, if another one has it, and where NAME.lock cannot be made. */
int gradc_lock_take(struct gradc_lock *lock, const char *target, const char *name,
                    struct gradc_error *error);
/* Let go, and remove NAME.lock; of a lock that is all zero, or was released, nothing. */
void gradc_lock_release(struct gradc_lock *lock);

/* flock alone, on an open regular file: whether it is held now, or there are no locks. */
bool gradc_lock_descriptor(int descriptor);

#endif
