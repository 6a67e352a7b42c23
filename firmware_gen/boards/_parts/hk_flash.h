/* Areas of updates and of known media for hk_port_t, as flash that an emulator or a process has: memory that is erased to ones
 * and in which writing leaves what both have. Areas of updates are kept over a restart by hk_files.h. */
#ifndef HK_FLASH_H
#define HK_FLASH_H

#include <stddef.h>
#include <stdint.h>

#include "hk_port.h"

extern uint8_t hk_flash_update_areas[HK_PORT_UPDATE_AREAS * HK_PORT_UPDATE_AREA_BYTES];
extern uint8_t hk_flash_media_areas[HK_PORT_MEDIA_AREAS * HK_MEDIA_SET_MAX_BYTES];

/* Reads what files beside the settings keep of the areas of updates. Call it after hk_files_keep_settings. */
void hk_flash_load(void);

/* For hk_port_t. */
int hk_flash_update_erase(void *context, unsigned area);
int hk_flash_update_write(void *context, size_t at, const uint8_t *bytes, size_t n);
int hk_flash_media_erase(void *context, unsigned area);
int hk_flash_media_write(void *context, size_t at, const uint8_t *bytes, size_t n);

#endif
