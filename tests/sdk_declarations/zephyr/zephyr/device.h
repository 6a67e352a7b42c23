/* Zephyr 4.2: devices. */
#ifndef HARKEN_DECLARATIONS_ZEPHYR_DEVICE_H
#define HARKEN_DECLARATIONS_ZEPHYR_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device {
    const char *name;
};

/* The real one finds the device of a devicetree node. */
#define DEVICE_DT_GET(node_id) (&node_id)

bool device_is_ready(const struct device *dev);

#endif
