/* ESP-IDF 5.5: Wi-Fi provisioning. */
#ifndef HARKEN_DECLARATIONS_WIFI_PROVISIONING_MANAGER_H
#define HARKEN_DECLARATIONS_WIFI_PROVISIONING_MANAGER_H

#include <sys/types.h>

#include "esp_event.h"

typedef enum {
    WIFI_PROV_INIT,
    WIFI_PROV_START,
    WIFI_PROV_CRED_RECV,
    WIFI_PROV_CRED_FAIL,
    WIFI_PROV_CRED_SUCCESS,
    WIFI_PROV_END,
    WIFI_PROV_DEINIT,
} wifi_prov_cb_event_t;

typedef enum { WIFI_PROV_SECURITY_0 = 0, WIFI_PROV_SECURITY_1, WIFI_PROV_SECURITY_2 } wifi_prov_security_t;

typedef struct {
    void (*event_cb)(void *user_data, wifi_prov_cb_event_t event, void *event_data);
    void *user_data;
} wifi_prov_event_handler_t;

#define WIFI_PROV_EVENT_HANDLER_NONE {.event_cb = NULL, .user_data = NULL}

typedef struct wifi_prov_scheme {
    esp_err_t (*prov_stop)(void *config);
} wifi_prov_scheme_t;

typedef struct {
    wifi_prov_scheme_t scheme;
    wifi_prov_event_handler_t scheme_event_handler;
    wifi_prov_event_handler_t app_event_handler;
} wifi_prov_mgr_config_t;

typedef esp_err_t (*protocomm_req_handler_t)(uint32_t session_id, const uint8_t *inbuf, ssize_t inlen, uint8_t **outbuf,
                                             ssize_t *outlen, void *priv_data);

extern esp_event_base_t const WIFI_PROV_EVENT;

esp_err_t wifi_prov_mgr_init(wifi_prov_mgr_config_t config);
void wifi_prov_mgr_deinit(void);
esp_err_t wifi_prov_mgr_is_provisioned(bool *provisioned);
esp_err_t wifi_prov_mgr_start_provisioning(wifi_prov_security_t security, const void *wifi_prov_sec_params,
                                           const char *service_name, const char *service_key);
esp_err_t wifi_prov_mgr_endpoint_create(const char *ep_name);
esp_err_t wifi_prov_mgr_endpoint_register(const char *ep_name, protocomm_req_handler_t handler, void *user_ctx);
esp_err_t wifi_prov_mgr_reset_sm_state_on_failure(void);

#endif
