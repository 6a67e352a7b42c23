/* ESP-IDF 5.5: what an image says of itself. */
#ifndef HARKEN_DECLARATIONS_ESP_APP_DESC_H
#define HARKEN_DECLARATIONS_ESP_APP_DESC_H

#include <stdint.h>

typedef struct {
    uint32_t magic_word;
    uint32_t secure_version;
    char version[32];
    char project_name[32];
} esp_app_desc_t;

const esp_app_desc_t *esp_app_get_description(void);

#endif
