/* Zephyr 4.2: the devicetree; the real macros are generated from it. */
#ifndef HARKEN_DECLARATIONS_ZEPHYR_DEVICETREE_H
#define HARKEN_DECLARATIONS_ZEPHYR_DEVICETREE_H

#include <zephyr/device.h>

#define DT_CHOSEN(prop) harken_declared_##prop

extern const struct device harken_declared_zephyr_console;

#endif
