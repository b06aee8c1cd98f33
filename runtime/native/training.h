/* Training: epochs, validation, early stopping, checkpoints, the log. */
#ifndef GRADC_TRAINING_H
#define GRADC_TRAINING_H

#include "options.h"
#include "session.h"

/* Train as the options say, with the state in an open session. The last numbers go to standard
 * output. GRADC_STOPPED after SIGINT or SIGTERM, with the message in `error`. */
int gradc_train(struct gradc_session *session, const struct gradc_options *options,
                struct gradc_error *error);

#endif
