/* Zephyr 4.2: what an image asks of MCUboot. */
#ifndef HARKEN_DECLARATIONS_ZEPHYR_DFU_MCUBOOT_H
#define HARKEN_DECLARATIONS_ZEPHYR_DFU_MCUBOOT_H

#include <stdbool.h>

bool boot_is_img_confirmed(void);
int boot_write_img_confirmed(void);

#endif
