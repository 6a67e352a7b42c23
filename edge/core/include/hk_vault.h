/* What a device was provisioned with: its id, Wi-Fi, broker, and the key that updates are signed by. Kept over a restart.
 *
 * Two copies of one record of HK_VAULT_RECORD_BYTES, each a record of the board's own (hk_port.h):
 *
 *     0  "HKVT", u8 format, u8 1 where there is a key, u16 broker's port, u32 how often it was written
 *    12  device id, SSID, Wi-Fi password, broker's host: zero-terminated, of the longest text that each may have
 *   208  u8[32] key
 *   252  u32 CRC-32 of all before it: what a write ends with
 *
 * Numbers are little-endian. The copy that is not in force is written first and read back, then the other one. So a power
 * cut at any byte leaves a whole copy, of what was there before or of what is new, and a copy that was cut short is known
 * by its CRC. After a whole write both copies are alike: no older key is left, and damage to one of them costs nothing.
 *
 * The caller owns the struct (about 20 bytes) and the port; a record lies on the stack while it is read or written. Not for
 * use from an interrupt. */
#ifndef HK_VAULT_H
#define HK_VAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_limits.h"
#include "hk_messages.h"
#include "hk_port.h"

#define HK_VAULT_RECORD_BYTES 256u

/* A record as it is kept; only bytes, so that it has no gaps. */
typedef struct {
    uint8_t magic[4];
    uint8_t format;
    uint8_t has_key;
    uint8_t broker_port[2];
    uint8_t writes[4];
    char device_id[HK_DEVICE_ID_MAX_CHARS + 1];
    char ssid[HK_SSID_MAX_CHARS + 1];
    char wifi_password[HK_WIFI_PASSWORD_MAX_CHARS + 1];
    char broker_host[HK_BROKER_HOST_MAX_CHARS + 1];
    uint8_t key[HK_UPDATE_KEY_BYTES];
    uint8_t spare[12];
    uint8_t crc[4];
} hk_vault_record_t;

_Static_assert(sizeof(hk_vault_record_t) == HK_VAULT_RECORD_BYTES, "what is kept has no gaps");

typedef struct {
    const hk_port_t *port;
    uint32_t writes; /* of the copy in force, 0: none is */
    uint8_t copy;    /* in force */
    uint8_t state;   /* HK_VAULT_EMPTY, _HELD, _REPAIRED or _DAMAGED, of harken.cddl */
} hk_vault_t;

/* Finds the copy that holds. Nothing is written. */
void hk_vault_open(hk_vault_t *vault, const hk_port_t *port);

/* The record in force; false where there is none. It holds secrets: wipe it by hk_vault_forget after use. */
bool hk_vault_read(const hk_vault_t *vault, hk_vault_record_t *record);
void hk_vault_forget(hk_vault_record_t *record);

uint16_t hk_vault_broker_port(const hk_vault_record_t *record);

/* The key by which updates are signed; false where none was ever written. */
bool hk_vault_key(const hk_vault_t *vault, uint8_t key[HK_UPDATE_KEY_BYTES]);

/* The id that the device was provisioned with; false, and an empty text, where it was not. */
bool hk_vault_device_id(const hk_vault_t *vault, char device_id[HK_DEVICE_ID_MAX_CHARS + 1]);

/* Writes what `provision` names, and keeps the rest. What is there already is not written again.
 * Returns 0; HK_ERROR_FORMAT for a text with a zero in it; HK_ERROR_REFUSED on a board that keeps nothing;
 * HK_ERROR_TRANSPORT where the new record does not read back: the one before holds then. */
int hk_vault_write(hk_vault_t *vault, const hk_provision_t *provision);

/* What the host is told: no secret is among it. Texts point into *record, which is filled here. */
void hk_vault_tell(const hk_vault_t *vault, int code, hk_vault_record_t *record, hk_device_control_t *told);

#endif
