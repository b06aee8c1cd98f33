/* A program that owns its loop: it reads a sensor, predicts, and learns from every reading.
 *
 *     gradc build examples/aot/sensor.py --kind library --batch 1 -o libsensor.so
 *     cc -O2 -I. examples/aot/sensor_loop.c -L. -lsensor -lm -Wl,-rpath,'$ORIGIN' -o sensor_loop
 *     ./sensor_loop sensor.safetensors
 *
 * Half way the sensor changes. The model is never told; its error shows that it follows. With a file
 * name, what was learned is kept there, and taken up again by the next run.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sensor.h"

enum { PAST = 8, READINGS = 20000, REPORT = 2000 };

/* The reading at time t; after the change the same sensor answers differently. */
static float read_sensor(int t) {
    double fast = t < READINGS / 2 ? 0.83 : 1.21;
    return (float)(0.6 * sin(0.31 * t) + 0.4 * sin(fast * t));
}

static int fail(const gradc_sensor *session, const char *what) {
    fprintf(stderr, "%s: %s\n", what, gradc_sensor_error(session));
    return 1;
}

/* Learn from READINGS readings, one at a time, and tell how well they were foreseen. */
static int run(gradc_sensor *session) {
    float past[PAST] = {0};
    double squares = 0;
    for (int t = 0; t < READINGS; t++) {
        float reading = read_sensor(t), predicted;
        double loss[GRADC_SENSOR_RESULTS];
        if (gradc_sensor_predict(session, 1, past, &predicted)) {
            return fail(session, "predict");
        }
        if (gradc_sensor_step(session, 1, past, &reading, loss)) {
            return fail(session, "step");
        }
        squares += (predicted - reading) * (predicted - reading);
        memmove(past, past + 1, sizeof past - sizeof *past);
        past[PAST - 1] = reading;
        if ((t + 1) % REPORT == 0) {
            printf("readings %5d to %5d  error %.5f%s\n", t + 1 - REPORT, t, sqrt(squares / REPORT),
                   t + 1 - REPORT == READINGS / 2 ? "  the sensor has changed" : "");
            squares = 0;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    gradc_sensor *session;
    if (gradc_sensor_init(&session, 0, 1)) {
        return fail(session, "init");
    }
    FILE *kept = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (kept) {
        fclose(kept);
        if (gradc_sensor_load(session, argv[1])) {
            return fail(session, "load");
        }
        printf("going on from %s\n", argv[1]);
    }
    int status = run(session);
    if (!status && argc > 1 && gradc_sensor_save(session, argv[1])) {
        status = fail(session, "save");
    }
    gradc_sensor_free(session);
    return status;
}
