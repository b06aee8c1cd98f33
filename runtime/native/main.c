/* A training binary: options, then training or prediction; the exit status is enum gradc_status. */
#include "descriptors.h"
#include "options.h"
#include "predict.h"
#include "progress.h"
#include "signals.h"
#include "training.h"

static int run(const struct gradc_options *options,
               struct gradc_error *error) {
    struct gradc_session session;
    struct gradc_text text = {0};
    if (options->help) {
        gradc_options_help(&text);
        return gradc_print(&text, error);
    }
    if (options->describe) {
        gradc_text_add(&text, gradc_string(gradc_program.description));
        return gradc_print(&text, error);
    }
    int status = gradc_session_open(&session, options->threads, error);
    if (status) {
        return status;
    }
    status = (options->predict ? gradc_predict : gradc_train)(&session, options, error);
    gradc_session_close(&session);
    return status;
}

int main(int count, char **arguments) {
    struct gradc_options options;
    struct gradc_error error = {0};
    gradc_descriptors_occupy();
    gradc_signals_install(gradc_string(gradc_program.name));
    int status = gradc_options_parse(&options, count, arguments, &error);
    if (!status) {
        status = run(&options, &error);
    }
    if (status) {
        gradc_say(&error);
    }
    gradc_options_free(&options);
    return status;
}
