/* The last two of the STM32F405's twelve sectors of flash (ST RM0090, chapter 3), 128 KB each: a copy of the vault in either.
 * Erasing one takes a second or two, during which the core stands still: nothing is heard while a device is provisioned. */
#include <string.h>

#include "hk_board.h"
#include "hk_error.h"
#include "hk_parts.h"

#define FLASH 0x40023c00u
#define ACR (FLASH + 0x00u)
#define KEYR (FLASH + 0x04u)
#define SR (FLASH + 0x0cu)
#define CR (FLASH + 0x10u)

enum {
    FIRST_SECTOR = 10,
    FIRST_ADDRESS = 0x080c0000,
    SECTOR_BYTES = 128 * 1024,
    SECTORS = 2,
    KEY_1 = 0x45670123,
    ACR_DATA_CACHE = 1u << 10,
    ACR_RESET_DATA_CACHE = 1u << 12,
    SR_ERRORS = 0xf2,
    SR_BUSY = 1u << 16,
    CR_PROGRAM = 1u << 0,
    CR_ERASE_SECTOR = 1u << 1,
    CR_SECTOR_SHIFT = 3,
    CR_BY_WORDS = 2u << 8, /* at 2.7 V and more */
    CR_START = 1u << 16,
    BUSY_POLLS_MAX = 200000000, /* some seconds: an erased sector takes 2 s at most */
};
static const uint32_t key_2 = 0xcdef89abu;
static const uint32_t cr_lock = 1u << 31;

#ifndef HK_SECTORS_ON_HOST /* where a test stands in for the chip */
static void write_register(uint32_t address, uint32_t value) { HK_REGISTER(address) = value; }
static uint32_t read_register(uint32_t address) { return HK_REGISTER(address); }
static void write_flash(uint32_t address, uint32_t word) { HK_REGISTER(address) = word; }
static const uint8_t *flash_at(uint32_t address) { return (const uint8_t *)(uintptr_t)address; }
#endif

static uint32_t address_of(unsigned sector) { return (uint32_t)FIRST_ADDRESS + sector * (uint32_t)SECTOR_BYTES; }

/* Waits for the flash; 0, or -1 where it reports an error or never ends. */
static int settle(void) {
    for (uint32_t polls = 0; polls < BUSY_POLLS_MAX; ++polls) {
        const uint32_t status = read_register(SR);
        if ((status & SR_BUSY) == 0) {
            return (status & SR_ERRORS) == 0 ? 0 : -1;
        }
    }
    return -1;
}

static int erase(unsigned sector) {
    write_register(CR, CR_ERASE_SECTOR | (FIRST_SECTOR + sector) << CR_SECTOR_SHIFT | CR_BY_WORDS);
    write_register(CR, CR_ERASE_SECTOR | (FIRST_SECTOR + sector) << CR_SECTOR_SHIFT | CR_BY_WORDS | CR_START);
    const int status = settle();
    /* What was read before is still in the data cache. */
    const uint32_t access = read_register(ACR);
    write_register(ACR, access & ~(uint32_t)ACR_DATA_CACHE);
    write_register(ACR, (access & ~(uint32_t)ACR_DATA_CACHE) | ACR_RESET_DATA_CACHE);
    write_register(ACR, access);
    return status;
}

static int program(uint32_t address, const uint8_t *bytes, size_t n) {
    write_register(CR, CR_PROGRAM | CR_BY_WORDS);
    for (size_t i = 0; i < n; i += sizeof(uint32_t)) {
        uint32_t word = 0xffffffffu;
        memcpy(&word, bytes + i, n - i < sizeof word ? n - i : sizeof word);
        write_flash(address + (uint32_t)i, word);
        if (settle() != 0) {
            return -1;
        }
    }
    return 0;
}

size_t hk_sector_load(unsigned sector, uint8_t *bytes, size_t capacity) {
    memcpy(bytes, flash_at(address_of(sector)), capacity);
    return capacity;
}

int hk_sector_save(unsigned sector, const uint8_t *bytes, size_t n) {
    if (sector >= SECTORS || n > SECTOR_BYTES) {
        return HK_ERROR_ARGUMENT;
    }
    write_register(KEYR, KEY_1);
    write_register(KEYR, key_2);
    write_register(SR, SR_ERRORS); /* of an earlier run */
    const bool is_written = settle() == 0 && erase(sector) == 0 && program(address_of(sector), bytes, n) == 0;
    write_register(CR, cr_lock);
    return is_written && memcmp(flash_at(address_of(sector)), bytes, n) == 0 ? HK_OK : HK_ERROR_TRANSPORT;
}
