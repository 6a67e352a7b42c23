/* ESP-IDF 5.5: time since start. */
#ifndef HARKEN_DECLARATIONS_ESP_TIMER_H
#define HARKEN_DECLARATIONS_ESP_TIMER_H

#include <stdint.h>

int64_t esp_timer_get_time(void);

#endif
