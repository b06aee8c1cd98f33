/* The log of a run as CSV (RFC 4180, with newlines alone); see metrics.h.
 *
 * The rows follow from the training position: a resumed run writes all of them again, and a log
 * never depends on when a run was stopped.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "metrics.h"
#include "progress.h"

#define NANOSECONDS_BETWEEN_WRITES 100000000
#define TEXT_BYTES_MAXIMUM 65536

/* In quotes where the name holds a comma, a quote or the end of a line. */
static void add_name(struct gradc_text *text, const char *name) {
    const char *quote = "";
    for (const char *at = name; *at; at++) {
        quote = strchr(",\"\r\n", *at) ? "\"" : quote;
    }
    gradc_text_print(text, ",%s", quote);
    for (; *name; name++) {
        gradc_text_print(text, "%s%c", *name == '"' ? quote : "", *name);
    }
    gradc_text_add(text, quote);
}

/* The shortest of three forms that reads back as the same number. */
static void add_number(struct gradc_text *text, double value) {
    char form[32];
    int digits = 14;
    value = isnan(value) ? fabs(value) : value; /* C would print the sign of a NaN */
    do {
        snprintf(form, sizeof form, ",%.*g", ++digits, value);
    } while (digits < 17 && strtod(form + 1, NULL) != value);
    gradc_text_add(text, form);
}

int gradc_metrics_open(struct gradc_metrics *metrics, const char *path,
                       const struct gradc_record *record, int64_t steps_per_epoch,
                       struct gradc_error *error) {
    const struct gradc_program *program = record->program;
    bool same = record->step == record->epoch * steps_per_epoch + record->position;
    *metrics = (struct gradc_metrics){.path = path, .counted = same ? 0 : record->epoch};
    if (!path) {
        return GRADC_OK;
    }
    metrics->descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (metrics->descriptor < 0) {
        return gradc_fail(error, GRADC_BAD_FILE, "%s: cannot be written: %m", path);
    }
    gradc_text_add(&metrics->text, "epoch,step,split");
    for (int64_t k = 0; k < program->result_count; k++) {
        add_name(&metrics->text, program->results[k].name);
    }
    gradc_text_add(&metrics->text, "\n");
    return GRADC_OK;
}

/* The row of one epoch, out of the columns from `first` on, of which the epoch is at `i`. A step
 * below 0 is unknown. */
static void add_row(struct gradc_text *text, const struct gradc_record *record, int64_t first,
                    int64_t i, int64_t epoch, int64_t step) {
    const struct gradc_column *column = &record->columns[first];
    if (i < 0 || i >= column->length) {
        return;
    }
    gradc_text_print(text, "%" PRId64 ",", epoch + 1);
    if (step >= 0) {
        gradc_text_print(text, "%" PRId64, step);
    }
    gradc_text_add(text, first ? ",validation" : ",train");
    for (int64_t k = 0; k < record->program->result_count; k++, column++) {
        add_number(text, i < column->length ? column->values[i] : NAN);
    }
    gradc_text_add(text, "\n");
}

static int flush(struct gradc_metrics *metrics, struct gradc_error *error) {
    struct gradc_text *text = &metrics->text;
    if (text->failed || !gradc_write_all(metrics->descriptor, text->data, text->length)) {
        return gradc_fail(error, GRADC_BAD_FILE, "%s: cannot be written: %m", metrics->path);
    }
    gradc_text_clear(text);
    return GRADC_OK;
}

int gradc_metrics_add(struct gradc_metrics *metrics, const struct gradc_record *record,
                      int64_t steps_per_epoch, bool validates, int64_t now,
                      struct gradc_error *error) {
    int64_t results = record->program->result_count;
    /* Columns end with the last epoch, but for those of a validation that is no longer done. */
    int64_t before = record->epoch - record->columns[0].length;
    int64_t before_validation = validates ? record->epoch - record->columns[results].length : 0;
    if (!metrics->path) {
        return GRADC_OK;
    }
    for (int64_t epoch = metrics->epochs > before ? metrics->epochs : before;
         epoch < record->epoch; epoch++) {
        int64_t step = record->step - record->position -
                       (record->epoch - 1 - epoch) * steps_per_epoch;
        step = epoch < metrics->counted ? -1 : step;
        add_row(&metrics->text, record, 0, epoch - before, epoch, step);
        add_row(&metrics->text, record, results, epoch - before_validation, epoch, step);
        metrics->epochs = epoch + 1;
        if (metrics->text.length > TEXT_BYTES_MAXIMUM && flush(metrics, error)) {
            return GRADC_BAD_FILE;
        }
    }
    if (now - metrics->written_at < NANOSECONDS_BETWEEN_WRITES) {
        return GRADC_OK;
    }
    metrics->written_at = now;
    return flush(metrics, error);
}

int gradc_metrics_close(struct gradc_metrics *metrics, struct gradc_error *error) {
    if (!metrics->path) {
        return GRADC_OK;
    }
    int status = flush(metrics, error);
    gradc_text_free(&metrics->text);
    return close(metrics->descriptor) < 0 && !status
               ? gradc_fail(error, GRADC_BAD_FILE, "%s: cannot be written: %m", metrics->path)
               : status;
}
