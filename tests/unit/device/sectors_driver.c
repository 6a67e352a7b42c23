/* The vault over stm32f405_sectors.c and a chip that obeys this program: it takes nothing that is not unlocked, writes only ones
 * to zeros, is busy for a while, and loses its power at any step. Prints how often the old and the new settings were found. */
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HK_SECTORS_ON_HOST

enum { CHIP_SECTOR_BYTES = 128 * 1024, CHIP_FLASH = 0x080c0000, BUSY_READS = 3 };

static uint8_t chip_flash[2 * CHIP_SECTOR_BYTES];
static uint32_t chip_cr, chip_keys, chip_errors;
static unsigned chip_busy, chip_faults;
static uint32_t chip_lock = 1u << 31;
static long chip_power; /* steps until the power fails */
static jmp_buf cut;

static void step(void)
{
    if (chip_power-- == 0) {
        longjmp(cut, 1);
    }
}

static void write_register(uint32_t address, uint32_t value)
{
    step();
    if (address == 0x40023c04u) {
        chip_keys = value == 0x45670123u ? 1 : value == 0xcdef89abu && chip_keys == 1 ? 2 : 0;
        chip_lock = chip_keys == 2 ? 0 : chip_lock;
    } else if (address == 0x40023c10u) {
        if (chip_lock != 0) {
            chip_faults++;
            return;
        }
        chip_cr = value;
        chip_lock = value & 1u << 31;
        if ((value & 1u << 16) != 0) {
            const unsigned sector = (value >> 3 & 0xfu) - 10;
            if ((value & 2u) == 0 || sector > 1) {
                chip_faults++;
                return;
            }
            for (size_t i = 0; i < CHIP_SECTOR_BYTES; i += 4096) { /* it may stop half-way */
                step();
                memset(chip_flash + sector * (size_t)CHIP_SECTOR_BYTES + i, 0xff, 4096);
            }
            chip_busy = BUSY_READS;
        }
    } else if (address == 0x40023c0cu) {
        chip_errors &= ~value;
    }
}

static uint32_t read_register(uint32_t address)
{
    if (address == 0x40023c0cu) {
        const bool is_busy = chip_busy > 0;
        chip_busy -= is_busy;
        return chip_errors | (is_busy ? 1u << 16 : 0u);
    }
    return 0;
}

static void write_flash(uint32_t address, uint32_t word)
{
    step();
    if (chip_lock != 0 || (chip_cr & 1u) == 0 || chip_busy > 0 || address % 4 != 0) {
        chip_faults++;
        chip_errors |= 1u << 7;
        return;
    }
    uint32_t before;
    uint8_t *at = chip_flash + (address - CHIP_FLASH);
    memcpy(&before, at, sizeof before);
    before &= word;
    memcpy(at, &before, sizeof before);
    chip_busy = 1;
}

static const uint8_t *flash_at(uint32_t address) { return chip_flash + (address - CHIP_FLASH); }

#include "stm32f405_sectors.c"

#include "hk_vault.h"

static size_t load(void *context, hk_port_record_t record, uint8_t *bytes, size_t capacity)
{
    (void)context;
    return hk_sector_load(record == HK_PORT_VAULT_1, bytes, capacity);
}
static int save(void *context, hk_port_record_t record, const uint8_t *bytes, size_t n)
{
    (void)context;
    return hk_sector_save(record == HK_PORT_VAULT_1, bytes, n);
}
static const hk_port_t port = {.settings_load = load, .settings_save = save};

static hk_provision_t named(const char *device_id)
{
    return (hk_provision_t){.device_id = {.bytes = (const uint8_t *)device_id, .n = strlen(device_id)}};
}

int main(void)
{
    static uint8_t provisioned[sizeof chip_flash];
    hk_vault_t vault;
    hk_provision_t old = named("old"), new = named("new");
    memset(chip_flash, 0xff, sizeof chip_flash);
    chip_power = -1;
    hk_vault_open(&vault, &port);
    if (hk_vault_write(&vault, &old) != 0 || chip_lock == 0 || chip_faults != 0) {
        return 1;
    }
    memcpy(provisioned, chip_flash, sizeof chip_flash);
    unsigned found_old = 0, found_new = 0;
    for (long power = 0, is_cut = 1; is_cut; power++) {
        memcpy(chip_flash, provisioned, sizeof chip_flash);
        chip_lock = 1u << 31; /* after a reset */
        chip_busy = chip_keys = 0;
        hk_vault_open(&vault, &port);
        chip_power = power;
        is_cut = setjmp(cut);
        if (!is_cut && hk_vault_write(&vault, &new) != 0) {
            return 2;
        }
        char device_id[HK_DEVICE_ID_MAX_CHARS + 1];
        hk_vault_open(&vault, &port);
        if (!hk_vault_device_id(&vault, device_id)) {
            return 3;
        }
        found_old += strcmp(device_id, "old") == 0;
        found_new += strcmp(device_id, "new") == 0;
        if (power > 100000) {
            return 4;
        }
    }
    printf("old %u new %u faults %u\n", found_old, found_new, chip_faults);
    return 0;
}
