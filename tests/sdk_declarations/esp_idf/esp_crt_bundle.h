/* ESP-IDF 5.5: the certificate bundle. */
#ifndef HARKEN_DECLARATIONS_ESP_CRT_BUNDLE_H
#define HARKEN_DECLARATIONS_ESP_CRT_BUNDLE_H

#include "esp_err.h"

esp_err_t esp_crt_bundle_attach(void *conf);

#endif
