/* Signal handlers; see signals.h. The only mutable globals of the runtime are here, because a
 * handler has no other way to reach them.
 */
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common.h"
#include "signals.h"
#include "system.h"

static volatile sig_atomic_t received, received_at; /* in tenths of a second */
static const char *program_name;
static struct gradc_watched *watched; /* files that are mapped, the last one first */
static const char *read_now;
static char unfinished[PATH_MAX]; /* a copy, because the path may be freed at any moment */

static void say(const char *text) {
    ssize_t ignored = system_write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

/* A page of a mapped file could not be read: the file is shorter now, or its disk failed. Or code
 * for another CPU than this one was run: levels (see cpu.h) do not tell all CPUs apart. */
static void end_with_message(int number, siginfo_t *facts, void *context) {
    (void)context;
    const char *path = read_now ? read_now : "a mapped file";
    for (const struct gradc_watched *file = watched; file; file = file->next) {
        size_t place = (uintptr_t)facts->si_addr - (uintptr_t)file->data;
        path = place < file->size ? file->path : path;
    }
    say(program_name);
    say(": ");
    say(number == SIGBUS ? path : "this CPU lacks an instruction; build with --cpu portable\n");
    say(number == SIGBUS ? ": cannot be read to its end; was it cut short while in use?\n" : "");
    if (unfinished[0]) {
        system_unlink(unfinished);
    }
    system_exit(GRADC_BAD_FILE);
}

/* Without SA_RESTART: a call that waits returns, so that the run can look at what has come. */
GRADC_UNGUARDED
static void handle(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler}, previous;
    /* What the parent has ignored, as a shell does for jobs in the background, stays so. */
    if (sigaction(number, NULL, &previous) == 0 && previous.sa_handler != SIG_IGN) {
        sigaction(number, &action, NULL);
    }
}

/* A second interrupt ends the process at once. Not one that comes with the first: `timeout` and
 * others signal a process and then its group. */
GRADC_UNGUARDED
static void note(int number) {
    struct timespec now;
    system_clock(&now);
    sig_atomic_t tenth = (sig_atomic_t)(now.tv_sec % 10000000 * 10 + now.tv_nsec / 100000000);
    if (number == SIGINT && received == SIGINT && tenth - received_at > 3) {
        handle(SIGINT, SIG_DFL);
        system_kill(getpid(), SIGINT);
    }
    if (!received) {
        received_at = tenth;
    }
    received = number;
}

/* What an instruction raises cannot be ignored, and is told whatever the parent has set. */
GRADC_UNGUARDED
static void handle_fault(int number) {
    struct sigaction action = {.sa_sigaction = end_with_message, .sa_flags = SA_SIGINFO};
    sigaction(number, &action, NULL);
}

void gradc_signals_install(const char *name) {
    system_signals ours = system_signal(SIGINT) | system_signal(SIGTERM) | system_signal(SIGBUS) |
                          system_signal(SIGILL); /* a parent may have blocked them */
    program_name = name;
    handle(SIGINT, note);
    handle(SIGTERM, note);
    handle_fault(SIGBUS);
    handle_fault(SIGILL);
    handle(SIGXFSZ, SIG_IGN);
    handle(SIGPIPE, SIG_IGN);
    system_mask(SIG_UNBLOCK, &ours, NULL);
}

void gradc_signals_watch(struct gradc_watched *file) {
    file->next = watched;
    watched = file;
}

void gradc_signals_forget(const struct gradc_watched *file) {
    struct gradc_watched **place = &watched;
    while (*place && *place != file) {
        place = &(*place)->next;
    }
    *place = *place ? file->next : NULL;
}

void gradc_signals_reading(const char *path) {
    read_now = path;
}

const char *gradc_signals_received(void) {
    return received == SIGINT ? "SIGINT" : received ? "SIGTERM" : NULL;
}

void gradc_signals_unfinished(const char *path) {
    unfinished[0] = 0;
    if (path) {
        gradc_format(unfinished, sizeof unfinished, "%s", path);
    }
}
