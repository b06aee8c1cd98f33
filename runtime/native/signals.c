/* Signal handlers; see signals.h. The only mutable globals of the runtime are here, because a
 * handler has no other way to reach them.
 */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "signals.h"

static volatile sig_atomic_t received;
static char bus_message[160], instruction_message[160];
static const char *volatile unfinished;

static void note(int number) {
    received = number;
}

/* A page of a mapped file could not be read: the file is shorter now, or its disk failed. Or code
 * for another CPU than this one was run: levels (see cpu.h) do not tell all CPUs apart. */
static void end_with_message(int number) {
    const char *message = number == SIGBUS ? bus_message : instruction_message;
    ssize_t ignored = write(STDERR_FILENO, message, strlen(message));
    (void)ignored;
    if (unfinished) {
        unlink(unfinished);
    }
    _exit(GRADC_BAD_FILE);
}

static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART | flags}, previous;
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
    handle(SIGINT, note, (int)SA_RESETHAND); /* a second one ends the process at once */
    handle(SIGTERM, note, 0);
    handle(SIGBUS, end_with_message, 0);
    handle(SIGILL, end_with_message, 0);
    handle(SIGXFSZ, SIG_IGN, 0);
    handle(SIGPIPE, SIG_IGN, 0);
}

const char *gradc_signals_received(void) {
    return received == SIGINT ? "SIGINT" : received ? "SIGTERM" : NULL;
}

void gradc_signals_unfinished(const char *path) {
    unfinished = path;
}
