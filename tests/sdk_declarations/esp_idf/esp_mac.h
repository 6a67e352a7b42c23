/* ESP-IDF 5.5: the chip's addresses. */
#ifndef HARKEN_DECLARATIONS_ESP_MAC_H
#define HARKEN_DECLARATIONS_ESP_MAC_H

#include "esp_err.h"

typedef enum { ESP_MAC_WIFI_STA } esp_mac_type_t;

esp_err_t esp_read_mac(uint8_t *mac, esp_mac_type_t type);

#endif
