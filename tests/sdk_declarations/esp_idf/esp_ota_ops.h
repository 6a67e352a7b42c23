/* ESP-IDF 5.5: firmware slots. */
#ifndef HARKEN_DECLARATIONS_ESP_OTA_OPS_H
#define HARKEN_DECLARATIONS_ESP_OTA_OPS_H

#include "esp_err.h"

esp_err_t esp_ota_mark_app_valid_cancel_rollback(void);
esp_err_t esp_ota_mark_app_invalid_rollback_and_reboot(void);

#endif
