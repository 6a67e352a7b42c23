/* ESP-IDF 5.5: what Kconfig writes, with the project's defaults. */
#ifndef HARKEN_DECLARATIONS_SDKCONFIG_H
#define HARKEN_DECLARATIONS_SDKCONFIG_H

#define CONFIG_HARKEN_BROKER_URI "mqtts://harken.local:8883"
#define CONFIG_HARKEN_MIC_BCLK_GPIO 5
#define CONFIG_HARKEN_MIC_WS_GPIO 4
#define CONFIG_HARKEN_MIC_DIN_GPIO 6
#define CONFIG_HARKEN_MIC_SHIFT 13

#endif
