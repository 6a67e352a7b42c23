/* ESP-IDF 5.5: random numbers. */
#ifndef HARKEN_DECLARATIONS_ESP_RANDOM_H
#define HARKEN_DECLARATIONS_ESP_RANDOM_H

#include <stddef.h>
#include <stdint.h>

uint32_t esp_random(void);
void esp_fill_random(void *buf, size_t len);

#endif
