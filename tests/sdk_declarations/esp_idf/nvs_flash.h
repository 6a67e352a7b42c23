/* ESP-IDF 5.5: NVS, the partition. */
#ifndef HARKEN_DECLARATIONS_NVS_FLASH_H
#define HARKEN_DECLARATIONS_NVS_FLASH_H

#include "esp_err.h"

esp_err_t nvs_flash_init(void);
esp_err_t nvs_flash_init_partition(const char *partition_label);
esp_err_t nvs_flash_erase(void);

#endif
