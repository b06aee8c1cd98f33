/* Writing what people read: messages, progress, results, the log. Unlike the writing of a checkpoint
 * it may wait for ever, for a pipe that nobody reads: a signal to stop ends the waiting. */
#ifndef GRADC_LOG_H
#define GRADC_LOG_H

#include "common.h"

/* Write all of it; false at an error, which errno tells. Once SIGINT or SIGTERM has arrived, only
 * what can be written without waiting is, and the rest is dropped: EINTR. */
bool gradc_log_write(int descriptor, const void *data, size_t length);

/* Open a log as it is. A regular file is made where nothing is; a pipe or a terminal is written to and
 * never replaced. For a pipe its reader is waited for. -1 and errno at an error: EINTR where a
 * signal to stop came first. */
int gradc_log_open(const char *path);

#endif
