/* The command line: one table for parsing and for --help; see options.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataset.h"
#include "options.h"
#include "path.h"

/* What values are, and the kinds of options as their places in it. */
#define INTEGERS "an integer of 64 bits"
#define POSITIVES "a positive integer"
#define NUMBERS "a finite number of at least 0"
#define TEXTS "a file name"

static const char expected[] = INTEGERS "\0" POSITIVES "\0" NUMBERS "\0" TEXTS "\0NAME=FILE";

enum option_kind {
    INTEGER,
    POSITIVE = sizeof INTEGERS,
    NUMBER = POSITIVE + sizeof POSITIVES,
    TEXT = NUMBER + sizeof NUMBERS,
    ARRAYS = TEXT + sizeof TEXTS,
    FLAG = sizeof expected, /* has none */
};

/* Every option: its field of struct gradc_options, name, metavariable, kind, whether it is not to be
 * given with --predict, help. */
#define ALL_OPTIONS(OPTION) \
    OPTION(data, "data", "NAME=FILE", ARRAYS, false, "a .npy file for each input") \
    OPTION(validation, "validate", "NAME=FILE", ARRAYS, true, \
           "the same for data to evaluate after every epoch") \
    OPTION(epochs, "epochs", "N", POSITIVE, true, "in all, resumed runs included (default 10)") \
    OPTION(rate, "lr", "RATE", NUMBER, true, "learning rate (default: as built)") \
    OPTION(seed, "seed", "N", INTEGER, false, \
           "for parameters, order, random numbers (default 0)") \
    OPTION(threads, "threads", "N", POSITIVE, false, "default: one for every CPU") \
    OPTION(checkpoint, "checkpoint", "FILE", TEXT, false, \
           "written after every epoch and at the end") \
    OPTION(every, "every", "N", POSITIVE, true, "write the checkpoint every N steps instead") \
    OPTION(resume, "resume", "", FLAG, true, "go on from the checkpoint, if it is there") \
    OPTION(parameters, "parameters", "FILE", TEXT, true, \
           "safetensors file of parameters to begin with") \
    OPTION(metrics, "metrics", "FILE", TEXT, true, "write a CSV file, a row per epoch") \
    OPTION(no_shuffle, "no-shuffle", "", FLAG, true, "the samples in the order of the files") \
    OPTION(drop_last, "drop-last", "", FLAG, true, "full batches only") \
    OPTION(patience, "patience", "N", POSITIVE, true, \
           "stop after N epochs without a better (validation) loss") \
    OPTION(stop_on_nan, "stop-on-nan", "", FLAG, true, \
           "end at the first loss that is not finite") \
    OPTION(predict, "predict", "FILE", TEXT, false, \
           "do not train: write the output for --data as .npy") \
    OPTION(quiet, "quiet", "", FLAG, false, "no progress and no notes") \
    OPTION(describe, "describe", "", FLAG, false, "print what the program is, as JSON") \
    OPTION(help, "help", "", FLAG, false, "print this")

/* The number of each. */
#define NUMBER_OF(field, name, metavariable, kind, training, help) NUMBER_OF_##field,

enum { ALL_OPTIONS(NUMBER_OF) OPTIONS };

/* A bit for each that is not to be given with --predict. */
#define TRAINING(field, name, metavariable, kind, training, help) \
    | (uint32_t)training << NUMBER_OF_##field

static const uint32_t training_alone = 0 ALL_OPTIONS(TRAINING);

/* Name, metavariable and help of each, and where they are: places as in program.h, not pointers. */
#define MEMBER(field, name, metavariable, kind, training, help) \
    char field[sizeof name "\0" metavariable "\0" help];
#define STRINGS(field, name, metavariable, kind, training, help) \
    name "\0" metavariable "\0" help,
#define ENTRY(field, name, metavariable, kind, training, help) \
    {offsetof(struct strings, field), offsetof(struct gradc_options, field), kind},

static const struct strings {
    ALL_OPTIONS(MEMBER)
} strings = {ALL_OPTIONS(STRINGS)};

static const struct option {
    uint16_t name;
    uint8_t offset, kind;
} table[] = {ALL_OPTIONS(ENTRY)};

struct parser {
    struct gradc_options *options;
    uint32_t given; /* a bit for each */
    struct gradc_error *error;
};

static const char *name_of(const struct option *option) {
    return (const char *)&strings + option->name;
}

/* Refuse the name of an option or of an input, and propose the one with the longest common
 * beginning. */
static int fail_unknown(const struct parser *parser, bool is_option, const char *name) {
    const char *nearest = NULL, *dashes = is_option ? "--" : "";
    int64_t count = is_option ? OPTIONS : gradc_program.input_count;
    size_t most = 1;
    for (int64_t n = 0; n < count; n++) {
        const char *known = is_option ? name_of(&table[n]) : gradc_string(gradc_inputs[n].name);
        size_t common = gradc_common(name, known);
        if (common > most) {
            most = common;
            nearest = known;
        }
    }
    return gradc_fail(parser->error, GRADC_IN_ARGUMENTS "unknown %s %s%s%s%s%s",
                      is_option ? "option" : "input", dashes, gradc_shown(parser->error, 0, name),
                      nearest ? "; did you mean " : "", nearest ? dashes : "",
                      nearest ? nearest : "");
}

/* NAME=FILE; false if it is not that. Any other mistake is in parser->error. */
static bool set_array(struct parser *parser, const char **paths, char *value) {
    char *path = strchr(value, '=');
    if (!path) {
        return false;
    }
    *path++ = 0;
    for (int64_t n = 0; n < gradc_program.input_count; n++) {
        if (gradc_equal(gradc_string(gradc_inputs[n].name), value)) {
            if (paths[n]) {
                gradc_fail(parser->error, GRADC_IN_ARGUMENTS "two files for input %s: %s, %s",
                           value, gradc_shown(parser->error, 0, paths[n]),
                           gradc_shown(parser->error, 1, path));
            }
            paths[n] = path;
            return true;
        }
    }
    fail_unknown(parser, false, value);
    return true;
}

static int set_value(struct parser *parser, const struct option *option, char *value) {
    char *end = value;
    void *place = (char *)parser->options + option->offset;
    bool valid = true;
    errno = 0;
    switch (option->kind) {
    case ARRAYS:
        valid = set_array(parser, *(const char ***)place, value);
        break;
    case TEXT:
        *(const char **)place = value;
        valid = *value != 0;
        break;
    case NUMBER:
        *(double *)place = strtod(value, &end);
        valid = end != value && !*end && gradc_is_finite(*(double *)place) && *(double *)place >= 0;
        break;
    default:
        *(int64_t *)place = strtoll(value, &end, 10);
        valid = end != value && !*end && !errno &&
                (option->kind == INTEGER || *(int64_t *)place > 0);
    }
    return valid ? parser->error->status
                 : gradc_fail(parser->error, GRADC_IN_ARGUMENTS "--%s takes %s, not '%s'",
                              name_of(option), expected + option->kind,
                              gradc_shown(parser->error, 0, value));
}

static const char *metavariable(const struct option *option) {
    return name_of(option) + strlen(name_of(option)) + 1;
}

/* One option at arguments[*i], which is left at its last part. */
static int parse_option(struct parser *parser, int count, char **arguments, int *i) {
    char *name = arguments[*i], *value;
    int n = 0;
    if (name[0] != '-' || name[1] != '-') {
        return gradc_fail(parser->error, GRADC_IN_ARGUMENTS
                          "unexpected argument '%s'; --help lists the options",
                          gradc_shown(parser->error, 0, name));
    }
    name += 2;
    value = strchr(name, '=');
    if (value) {
        *value++ = 0;
    }
    while (n < OPTIONS && !gradc_equal(name, name_of(&table[n]))) {
        n++;
    }
    if (n == OPTIONS) {
        return fail_unknown(parser, true, name);
    }
    parser->given |= UINT32_C(1) << n;
    if (table[n].kind == FLAG && !value) {
        *((bool *)parser->options + table[n].offset) = true;
        return GRADC_OK;
    }
    if (table[n].kind != FLAG && !value && *i + 1 < count) {
        value = arguments[++*i];
    }
    if (table[n].kind == FLAG || !value) {
        return gradc_fail(parser->error, GRADC_IN_ARGUMENTS "--%s takes %s", name,
                          value ? "no value" : metavariable(&table[n]));
    }
    return set_value(parser, &table[n], value);
}

#define USES_MAXIMUM 13 /* of files, beside those of the inputs */

/* A file that a run reads or writes. */
struct use {
    const char *path;   /* as the user wrote it */
    const char *suffix; /* after it, "" for the file itself */
    const char *what;   /* the option, or what else it is for */
    bool written;
    struct gradc_place place;
};

struct uses {
    struct use *items;
    size_t count;
};

static struct use *add_use(struct uses *uses, const char *path, const char *suffix,
                           const char *what, bool written) {
    struct use *use = &uses->items[uses->count++];
    use->path = path;
    use->suffix = suffix;
    use->what = what;
    use->written = written;
    if (path) {
        gradc_place_find(&use->place, path, suffix);
    }
    return use;
}

static void add_descriptor(struct uses *uses, int descriptor, const char *what) {
    gradc_place_find_descriptor(&add_use(uses, NULL, "", what, false)->place, descriptor);
}

/* A file that is replaced, and those beside it. */
static void add_output(struct uses *uses, const char *path, const char *what, bool keeps_previous) {
    add_use(uses, path, "", what, true);
    add_use(uses, path, ".partial", what, true);
    add_use(uses, path, ".lock", what, true);
    add_use(uses, keeps_previous ? path : NULL, ".previous", what, true);
}

/* "run.partial (--checkpoint)", "standard output" */
static void add_name_of(struct gradc_text *text, const struct use *use,
                        struct gradc_error *error) {
    if (use->path) {
        gradc_text_print(text, "%s%s (%s)", gradc_shown(error, 0, use->path), use->suffix, use->what);
    } else {
        gradc_text_add(text, use->what);
    }
}

/* Say that one is written where the other is too. */
GRADC_APART GRADC_UNGUARDED
static int fail_clash(const struct use *one, const struct use *other, struct gradc_error *error) {
    struct gradc_text text = {0};
    if (one->path && other->path && !*one->suffix && !*other->suffix) {
        return gradc_fail(error, GRADC_IN_ARGUMENTS "%s is named twice; it would be overwritten",
                          gradc_shown(error, 0, one->written ? one->path : other->path));
    }
    add_name_of(&text, one, error);
    gradc_text_add(&text, " and ");
    add_name_of(&text, other, error);
    gradc_fail(error, GRADC_IN_ARGUMENTS "%s are one file; it would be overwritten",
               text.failed ? "two" : text.data);
    gradc_text_free(&text);
    return GRADC_BAD_ARGUMENT;
}

/* No file may be written that has another use too, however the names are spelled. */
static int compare_uses(const struct uses *uses, struct gradc_error *error) {
    for (size_t n = 0; n < uses->count; n++) {
        for (size_t m = 0; m < n; m++) {
            const struct use *one = &uses->items[n], *other = &uses->items[m];
            bool own = one->path == other->path && one->what == other->what;
            if (!own && (one->written || other->written) &&
                gradc_same_place(&one->place, &other->place)) {
                return fail_clash(one, other, error);
            }
        }
    }
    return GRADC_OK;
}

static int check_outputs(const struct parser *parser) {
    const struct gradc_options *options = parser->options;
    size_t inputs = 2 * (size_t)gradc_program.input_count; /* of --data, then of --validate */
    struct uses uses = {.items = calloc(inputs + USES_MAXIMUM, sizeof *uses.items)};
    if (!uses.items) {
        return gradc_fail_memory(parser->error);
    }
    for (size_t n = 0; n < inputs; n++) {
        add_use(&uses, options->data[n], "", "a data file", false);
    }
    add_use(&uses, "/proc/self/exe", "", "this program", false);
    add_descriptor(&uses, STDOUT_FILENO, "standard output");
    add_descriptor(&uses, STDERR_FILENO, "standard error");
    add_use(&uses, options->parameters, "", "--parameters", false);
    add_use(&uses, options->metrics, "", "--metrics", true);
    add_output(&uses, options->checkpoint, "--checkpoint", true);
    add_output(&uses, options->predict, "--predict", false);
    int status = compare_uses(&uses, parser->error);
    for (size_t n = 0; n < uses.count; n++) {
        free(uses.items[n].place.name);
    }
    free(uses.items);
    return status;
}

/* The options together. */
static int check_options(struct parser *parser) {
    struct gradc_options *options = parser->options;
    const char *needing = options->predict ? "predict" : options->resume ? "resume" : NULL;
    uint32_t wrong = options->predict ? parser->given & training_alone : 0;
    if (wrong) {
        return gradc_fail(parser->error, GRADC_IN_ARGUMENTS
                          "--predict does not train: --%s has no meaning with it",
                          name_of(&table[__builtin_ctz(wrong)]));
    }
    if ((needing || options->every) && !options->checkpoint) {
        return gradc_fail(parser->error, GRADC_IN_ARGUMENTS "--%s needs --checkpoint",
                          needing ? needing : "every");
    }
    if (options->has_rate && gradc_program.rate_state < 0) {
        return gradc_fail(parser->error, GRADC_IN_ARGUMENTS
                          "--lr: the learning rate is fixed in this program");
    }
    return check_outputs(parser);
}

GRADC_APART GRADC_UNGUARDED
int gradc_options_parse(struct gradc_options *options, int count, char **arguments,
                        struct gradc_error *error) {
    struct parser parser = {.options = options, .error = error};
    size_t inputs = (size_t)gradc_program.input_count;
    *options = (struct gradc_options){.epochs = 10};
    options->data = calloc(2 * inputs + 1, sizeof *options->data);
    if (!options->data) {
        return gradc_fail_memory(error);
    }
    options->validation = options->data + inputs;
    int status = GRADC_OK;
    for (int i = 1; !status && i < count; i++) {
        status = parse_option(&parser, count, arguments, &i);
    }
    options->validates = parser.given >> NUMBER_OF_validation & 1;
    options->has_seed = parser.given >> NUMBER_OF_seed & 1;
    options->has_rate = parser.given >> NUMBER_OF_rate & 1;
    return status || options->help || options->describe ? status : check_options(&parser);
}

void gradc_options_free(struct gradc_options *options) {
    free(options->data);
    options->data = NULL;
}

static void add_fields(struct gradc_text *text, const char *title,
                       const struct gradc_field *fields, int64_t count) {
    for (int64_t n = 0; n < count; n++) {
        char extents[GRADC_EXTENTS];
        gradc_text_print(text, "%-9s %-12s %-8s [%s]\n", n ? "" : title,
                         gradc_string(fields[n].name), gradc_facts(fields[n].dtype)->name,
                         gradc_extents(extents, ", ", fields[n].rank,
                                       gradc_numbers + fields[n].shape));
    }
}

void gradc_options_help(struct gradc_text *text) {
    gradc_text_print(text, "usage: %s", gradc_string(gradc_program.name));
    for (int64_t n = 0; n < gradc_program.input_count; n++) {
        gradc_text_print(text, " --data %s=FILE.npy", gradc_string(gradc_inputs[n].name));
    }
    gradc_text_add(text, " [OPTION]...\n\n"
                         "Trains a compiled model; a stopped run goes on bit for bit.\n\n");
    add_fields(text, "inputs", gradc_inputs, gradc_program.input_count);
    add_fields(text, "results", gradc_results, gradc_program.result_count);
    add_fields(text, "outputs", gradc_outputs, gradc_program.output_count);
    if (gradc_program.batch) {
        gradc_text_print(text, "batch     %" PRId64 " samples\n", gradc_program.batch);
    }
    gradc_text_add(text, "\n");
    for (int n = 0; n < OPTIONS; n++) {
        const char *name = name_of(&table[n]), *form = metavariable(&table[n]);
        gradc_text_print(text, "  --%s %*s %s\n", name, (int)strlen(name) - 22, form,
                         form + strlen(form) + 1);
    }
    gradc_text_add(text, "\nExit status: 0 done; 1 a bad or missing file, or a failed write; 2 bad "
                         "arguments;\n3 stopped by SIGINT or SIGTERM after a checkpoint.\n");
}
