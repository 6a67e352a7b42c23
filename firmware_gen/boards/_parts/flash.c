#include "hk_flash.h"

#include <string.h>

#include "hk_files.h"

/* In sections of their own, which image.ld puts into flash. */
uint8_t hk_flash_update_areas[HK_PORT_UPDATE_AREAS * HK_PORT_UPDATE_AREA_BYTES]
    __attribute__((section(".update_areas"), aligned(4)));
uint8_t hk_flash_media_areas[HK_PORT_MEDIA_AREAS * HK_MEDIA_SET_MAX_BYTES]
    __attribute__((section(".media_areas"), aligned(4)));

static int write_to(uint8_t *to, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; ++i) {
        to[i] &= bytes[i];
    }
    return memcmp(to, bytes, n) == 0 ? 0 : -1;
}

/* --- Updates --- */

static uint8_t *update_area(unsigned area) {
    return hk_flash_update_areas + area * (size_t)HK_PORT_UPDATE_AREA_BYTES;
}

static int keep_area(unsigned area) {
    return hk_files_update_save(area, update_area(area), HK_PORT_UPDATE_AREA_BYTES);
}

void hk_flash_load(void) {
    for (unsigned area = 0; area < HK_PORT_UPDATE_AREAS; ++area) {
        hk_files_update_load(area, update_area(area), HK_PORT_UPDATE_AREA_BYTES);
    }
}

int hk_flash_update_erase(void *context, unsigned area) {
    (void)context;
    memset(update_area(area), 0xff, HK_PORT_UPDATE_AREA_BYTES);
    return keep_area(area);
}

int hk_flash_update_write(void *context, size_t at, const uint8_t *bytes, size_t n) {
    (void)context;
    const int status = write_to(hk_flash_update_areas + at, bytes, n);
    return status == 0 ? keep_area((unsigned)(at / HK_PORT_UPDATE_AREA_BYTES)) : status;
}

/* --- Known media --- */

int hk_flash_media_erase(void *context, unsigned area) {
    (void)context;
    memset(hk_flash_media_areas + area * (size_t)HK_MEDIA_SET_MAX_BYTES, 0xff, HK_MEDIA_SET_MAX_BYTES);
    return 0;
}

int hk_flash_media_write(void *context, size_t at, const uint8_t *bytes, size_t n) {
    (void)context;
    return write_to(hk_flash_media_areas + at, bytes, n);
}
