/* ESP-IDF 5.5: restart. */
#ifndef HARKEN_DECLARATIONS_ESP_SYSTEM_H
#define HARKEN_DECLARATIONS_ESP_SYSTEM_H

void esp_restart(void) __attribute__((__noreturn__));

#endif
