/* Signal handlers; see signals.h. The only mutable globals of the runtime are here, because a
 * handler has no other way to reach them.
 */
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "signals.h"

static volatile sig_atomic_t received, received_at; /* in tenths of a second */
static char bus_message[160], instruction_message[160];
static char unfinished[PATH_MAX]; /* a copy, because the path may be freed at any moment */

/* A second interrupt ends the process at once. Not one that comes with the first: `timeout` and
 * others signal a process and then its group. */
static void note(int number) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sig_atomic_t tenth = (sig_atomic_t)(now.tv_sec % 10000000 * 10 + now.tv_nsec / 100000000);
    if (number == SIGINT && received == SIGINT && tenth - received_at > 3) {
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    if (!received) {
        received_at = tenth;
    }
    received = number;
}

/* A page of a mapped file could not be read: the file is shorter now, or its disk failed. Or code
 * for another CPU than this one was run: levels (see cpu.h) do not tell all CPUs apart. */
static void end_with_message(int number) {
    const char *message = number == SIGBUS ? bus_message : instruction_message;
    ssize_t ignored = write(STDERR_FILENO, message, strlen(message));
    (void)ignored;
    if (unfinished[0]) {
        unlink(unfinished);
    }
    _exit(GRADC_BAD_FILE);
}

static void handle(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, previous;
    /* What the parent has ignored, as a shell does for jobs in the background, stays so. */
    if (sigaction(number, NULL, &previous) == 0 && previous.sa_handler != SIG_IGN) {
        sigaction(number, &action, NULL);
    }
}

void gradc_signals_install(const char *program_name) {
    snprintf(bus_message, sizeof bus_message,
             "%s: a data file could not be read to its end; was it cut short while in use?\n",
             program_name);
    snprintf(instruction_message, sizeof instruction_message,
             "%s: this CPU lacks an instruction; build with --cpu portable\n", program_name);
    handle(SIGINT, note);
    handle(SIGTERM, note);
    handle(SIGBUS, end_with_message);
    handle(SIGILL, end_with_message);
    handle(SIGXFSZ, SIG_IGN);
    handle(SIGPIPE, SIG_IGN);
}

const char *gradc_signals_received(void) {
    return received == SIGINT ? "SIGINT" : received ? "SIGTERM" : NULL;
}

void gradc_signals_unfinished(const char *path) {
    snprintf(unfinished, sizeof unfinished, "%s", path ? path : "");
}
