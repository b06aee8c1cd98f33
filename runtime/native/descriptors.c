/* The standard descriptors; see descriptors.h. */
#include "descriptors.h"

#include "system.h"

unsigned gradc_descriptors_occupy(void) {
    unsigned occupied = 0;
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
        int way = descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY;
        if (!system_is_open(descriptor) &&
            system_open("/dev/null", way | O_CLOEXEC, 0) == descriptor) {
            occupied |= 1u << descriptor;
        }
    }
    return occupied;
}

void gradc_descriptors_release(unsigned occupied) {
    for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
        if (occupied >> descriptor & 1) {
            system_close(descriptor);
        }
    }
}
