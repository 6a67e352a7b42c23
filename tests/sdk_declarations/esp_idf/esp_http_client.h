/* ESP-IDF 5.5: the HTTP client's configuration, those of its fields that are set. */
#ifndef HARKEN_DECLARATIONS_ESP_HTTP_CLIENT_H
#define HARKEN_DECLARATIONS_ESP_HTTP_CLIENT_H

#include "esp_err.h"

typedef struct {
    const char *url;
    const char *cert_pem;
    const char *client_cert_pem;
    const char *client_key_pem;
    int timeout_ms;
    bool keep_alive_enable;
    esp_err_t (*crt_bundle_attach)(void *conf);
} esp_http_client_config_t;

#endif
