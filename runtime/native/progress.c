/* What a run tells people; see progress.h. The texts of lines are those of runtime/progress.py. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "log.h"
#include "progress.h"
#include "signals.h"
#include "system.h"

#define NANOSECONDS_BETWEEN_LINES 500000000
#define NANOSECONDS_BETWEEN_DISPLAYS 100000000
#define BAR "################----------------"
#define BAR_WIDTH 16
#define DEFAULT_COLUMNS 80

void gradc_say(struct gradc_error *message) {
    gradc_fail_in(message, gradc_string(gradc_program.name));
    size_t length = strlen(message->text);
    message->text[length] = '\n';
    gradc_log_write(STDERR_FILENO, message->text, length + 1);
}

int gradc_print(struct gradc_text *text, struct gradc_error *error) {
    bool written = !text->failed && gradc_log_write(STDOUT_FILENO, text->data, text->length);
    bool stopped = !written && errno == EINTR;
    if (stopped) {
        gradc_fail(error, GRADC_ON_STOP "stopped by %s while nobody reads standard output",
                   gradc_signals_received());
    } else if (!written) {
        gradc_fail_write(error, "standard output");
    }
    gradc_text_free(text);
    return written ? GRADC_OK : error->status;
}

GRADC_UNGUARDED
int64_t gradc_clock(void) {
    struct timespec time;
    system_clock(&time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

void gradc_describe(struct gradc_text *text, const struct gradc_record *record, int digits) {
    int64_t results = gradc_program.result_count;
    const char *separator = "";
    for (int64_t k = 0; k < 2 * results; k++) {
        const struct gradc_column *column = &record->columns[k];
        if (column->count) {
            double value = column->values[column->count - 1];
            /* C would print the sign of a NaN. */
            gradc_text_print(text, "%s%s%s %.*g", separator, k < results ? "" : GRADC_VALIDATION,
                             gradc_record_result(k), digits,
                             isnan(value) ? NAN : value);
            separator = "  ";
        }
    }
}

/* Columns of the terminal that standard error is, 0 if it is none. */
GRADC_UNGUARDED
static int terminal_columns(void) {
    struct winsize size;
    if (system_control(STDERR_FILENO, TIOCGWINSZ, &size) < 0) {
        return 0;
    }
    return size.ws_col > 1 ? size.ws_col : DEFAULT_COLUMNS;
}

void gradc_progress_open(struct gradc_progress *progress, const struct gradc_record *record,
                         int64_t epochs, int64_t steps_per_epoch, bool quiet) {
    *progress = (struct gradc_progress){
        .quiet = quiet,
        .terminal = terminal_columns() > 0,
        .epochs = epochs,
        .steps_per_epoch = steps_per_epoch,
        .begun_at = gradc_clock(),
        .begun_step = record->step,
        .shown_epoch = record->epoch,
    };
}

/* The time that is left, the rate, the numbers, and a bar: what matters first, as lines are cut. */
static void add_display(struct gradc_text *text, const struct gradc_progress *progress,
                        const struct gradc_record *record, int64_t now) {
    double steps = (double)(record->step - progress->begun_step);
    double rate = steps / (1e-9 * (double)(now - progress->begun_at));
    double all = (double)progress->epochs * (double)progress->steps_per_epoch;
    double done = (double)record->epoch * (double)progress->steps_per_epoch +
                  (double)record->position;
    double share = done < all ? done / all : 1;
    int64_t samples = record->batches.batch_size ? record->batches.batch_size : 1;
    if (rate > 0) {
        gradc_text_print(text, "%.0f s left  %.4g samples/s  ", (all - done) / rate,
                         rate * (double)samples);
    }
    gradc_describe(text, record, 4);
    gradc_text_print(text, "  %.*s", BAR_WIDTH, &BAR[BAR_WIDTH - (int)(BAR_WIDTH * share)]);
}

/* Cut to the terminal's width, not inside a character of UTF-8. The first byte takes no column,
 * the last column stays free. */
static void cut(struct gradc_text *text) {
    size_t columns = (size_t)terminal_columns();
    if (!text->failed && text->length > columns) {
        for (text->length = columns; (text->data[text->length] & 0xc0) == 0x80;) {
            text->length--;
        }
    }
}

GRADC_UNGUARDED
static void show(struct gradc_progress *progress, const struct gradc_record *record, int64_t now) {
    struct gradc_text text = {0};
    if (!progress->terminal && record->epoch == progress->shown_epoch) {
        return;
    }
    progress->shown_at = now;
    progress->shown_epoch = record->epoch;
    gradc_text_print(&text, "%sepoch %" PRId64 "/%" PRId64 "  ", progress->terminal ? "\r" : "",
                     record->epoch, progress->epochs);
    if (progress->terminal) {
        add_display(&text, progress, record, now);
        cut(&text);
    } else {
        gradc_describe(&text, record, 4);
    }
    gradc_text_add(&text, progress->terminal ? "\x1b[K" : "\n");
    if (!text.failed) {
        gradc_log_write(STDERR_FILENO, text.data, text.length);
    }
    gradc_text_free(&text);
}

void gradc_progress_update(struct gradc_progress *progress, const struct gradc_record *record,
                           int64_t now) {
    int64_t pause = progress->terminal ? NANOSECONDS_BETWEEN_DISPLAYS : NANOSECONDS_BETWEEN_LINES;
    if (!progress->quiet && (!progress->shown_at || now - progress->shown_at >= pause)) {
        show(progress, record, now);
    }
}

void gradc_progress_close(struct gradc_progress *progress, const struct gradc_record *record) {
    if (!progress->quiet) {
        show(progress, record, gradc_clock());
        gradc_log_write(STDERR_FILENO, "\n", progress->terminal);
    }
}
