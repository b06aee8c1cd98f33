/* What a run tells people: notes, results, and how it goes, as a line rewritten in place on a
 * terminal, as plain lines elsewhere. */
#ifndef GRADC_PROGRESS_H
#define GRADC_PROGRESS_H

#include "record.h"

/* "NAME: MESSAGE" and a newline on standard error, in one piece. */
void gradc_say(struct gradc_error *message);

/* Write a text to standard output and free it. */
int gradc_print(struct gradc_text *text, struct gradc_error *error);

/* Nanoseconds of a clock that only goes forward. */
int64_t gradc_clock(void);

/* "loss 0.25  accuracy 0.91": the last number of every column that has one, to so many digits. */
void gradc_describe(struct gradc_text *text, const struct gradc_record *record, int digits);

struct gradc_progress {
    bool quiet, terminal;
    int64_t epochs, steps_per_epoch;
    int64_t begun_at, begun_step; /* when the run began or was resumed */
    int64_t shown_at, shown_epoch;
};

void gradc_progress_open(struct gradc_progress *progress, const struct gradc_record *record,
                         int64_t epochs, int64_t steps_per_epoch, bool quiet);
/* Show the record, if it is time. */
void gradc_progress_update(struct gradc_progress *progress, const struct gradc_record *record,
                           int64_t now);
/* Show what was not shown yet. */
void gradc_progress_close(struct gradc_progress *progress, const struct gradc_record *record);

#endif
