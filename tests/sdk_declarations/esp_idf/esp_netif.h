/* ESP-IDF 5.5: network interfaces. */
#ifndef HARKEN_DECLARATIONS_ESP_NETIF_H
#define HARKEN_DECLARATIONS_ESP_NETIF_H

#include "esp_err.h"

typedef struct esp_netif_obj esp_netif_t;

esp_err_t esp_netif_init(void);

#endif
