/* The standard descriptors. Where one is closed, the next file that is opened would get its number,
 * and with it whatever anybody writes to standard output or error. */
#ifndef GRADC_DESCRIPTORS_H
#define GRADC_DESCRIPTORS_H

/* Open something in the place of those that are closed. It fails as the closed one does. Returns
 * which, a bit for each. */
unsigned gradc_descriptors_occupy(void);
/* Close them again. */
void gradc_descriptors_release(unsigned occupied);

#endif
