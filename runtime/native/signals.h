/* Signals: SIGINT and SIGTERM are noted; a data file that was cut short, or an instruction that the
 * CPU does not have, ends the process with a message. */
#ifndef GRADC_SIGNALS_H
#define GRADC_SIGNALS_H

/* Install the handlers. SIGXFSZ and SIGPIPE are ignored, so that writes fail with an error. */
void gradc_signals_install(const char *program_name);

/* "SIGINT" or "SIGTERM" if one has arrived, else null. */
const char *gradc_signals_received(void);

/* A file to be removed if the process ends because of a data file; null: none any more. */
void gradc_signals_unfinished(const char *path);

#endif
