/* ESP-IDF 5.5: provisioning over the device's own access point. */
#ifndef HARKEN_DECLARATIONS_WIFI_PROVISIONING_SCHEME_SOFTAP_H
#define HARKEN_DECLARATIONS_WIFI_PROVISIONING_SCHEME_SOFTAP_H

#include "wifi_provisioning/manager.h"

extern const wifi_prov_scheme_t wifi_prov_scheme_softap;

#endif
