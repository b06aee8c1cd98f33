/* The command line. */
#ifndef GRADC_OPTIONS_H
#define GRADC_OPTIONS_H

#include "program.h"
#include "text.h"

/* Paths are null where the option was not given. */
struct gradc_options {
    const char **data, **validation; /* one path per input of the program */
    bool validates;
    int64_t epochs, seed, threads, every, patience; /* every, patience: 0 for none */
    double rate;
    bool has_seed, has_rate;
    const char *checkpoint, *metrics, *predict, *parameters;
    bool resume, no_shuffle, drop_last, stop_on_nan, quiet, help, describe;
};

/* Read and check the arguments. */
int gradc_options_parse(struct gradc_options *options, int count, char **arguments,
                        struct gradc_error *error);
void gradc_options_free(struct gradc_options *options);

/* The text of --help. */
void gradc_options_help(struct gradc_text *text);

#endif
