/* Signals: SIGINT and SIGTERM are noted; a data file that was cut short, or an instruction that the
 * CPU does not have, ends the process with a message. */
#ifndef GRADC_SIGNALS_H
#define GRADC_SIGNALS_H

#include <stddef.h>

/* Install the handlers. SIGXFSZ and SIGPIPE are ignored, so that writes fail with an error. */
void gradc_signals_install(const char *program_name);

/* "SIGINT" or "SIGTERM" if one has arrived, else null. */
const char *gradc_signals_received(void);

/* A mapped file, so that a message can name it; not copied, and the path neither. */
struct gradc_watched {
    struct gradc_watched *next;
    const char *path;
    const unsigned char *data;
    size_t size;
};

void gradc_signals_watch(struct gradc_watched *file);
void gradc_signals_forget(const struct gradc_watched *file);

/* The file that is read now, named where the address of a fault tells none; null: none any more. */
void gradc_signals_reading(const char *path);

/* A file to be removed if the process ends because of a data file; null: none any more. */
void gradc_signals_unfinished(const char *path);

#endif
