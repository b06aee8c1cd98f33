/* Predictions: the first output for all samples, as one .npy file. */
#ifndef GRADC_PREDICT_H
#define GRADC_PREDICT_H

#include "options.h"
#include "session.h"

int gradc_predict(struct gradc_session *session, const struct gradc_options *options,
                  struct gradc_error *error);

#endif
