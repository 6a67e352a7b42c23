#include "hk_vault.h"

#include <string.h>

#include "hk_crc32.h"
#include "hk_error.h"
#include "hk_sha256.h"

enum { COPIES = 2, FORMAT = 1 };

static const uint8_t magic[4] = {'H', 'K', 'V', 'T'};

_Static_assert((int)HK_PORT_VAULT_1 == (int)HK_PORT_VAULT_0 + 1, "a copy's number gives its record's");
_Static_assert(offsetof(hk_vault_record_t, device_id) == 12 && offsetof(hk_vault_record_t, key) == 208
                   && offsetof(hk_vault_record_t, crc) == 252,
               "the record lies as described");

static uint32_t read_u32(const uint8_t bytes[4])
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void store_u32(uint8_t bytes[4], uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint32_t crc_of(const hk_vault_record_t *record)
{
    return hk_crc32(0, record, offsetof(hk_vault_record_t, crc));
}

static bool is_whole(const hk_vault_record_t *record, size_t n)
{
    return n == sizeof *record && memcmp(record->magic, magic, sizeof magic) == 0 && record->format == FORMAT
           && read_u32(record->crc) == crc_of(record);
}

/* Whether nothing was ever written: no bytes, or those of erased flash. */
static bool is_empty(const hk_vault_record_t *record, size_t n)
{
    const uint8_t *bytes = (const uint8_t *)record;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != 0xff) {
            return false;
        }
    }
    return true;
}

static size_t load(const hk_port_t *port, unsigned copy, hk_vault_record_t *record)
{
    return port->settings_load(port->context, (hk_port_record_t)(HK_PORT_VAULT_0 + copy), (uint8_t *)record,
                               sizeof *record);
}

/* Writes a copy and reads it back into `record`; 0, or a negative hk_error.h value. */
static int save(const hk_port_t *port, unsigned copy, hk_vault_record_t *record)
{
    const uint32_t crc = read_u32(record->crc);
    const int status = port->settings_save(port->context, (hk_port_record_t)(HK_PORT_VAULT_0 + copy),
                                           (const uint8_t *)record, sizeof *record);
    if (status != 0) {
        return status;
    }
    const size_t n = load(port, copy, record);
    return is_whole(record, n) && read_u32(record->crc) == crc ? HK_OK : HK_ERROR_TRANSPORT;
}

void hk_vault_open(hk_vault_t *vault, const hk_port_t *port)
{
    hk_vault_record_t record;
    bool is_damaged = false;
    *vault = (hk_vault_t){.port = port, .state = HK_VAULT_EMPTY};
    for (uint8_t copy = 0; copy < COPIES; copy++) {
        const size_t n = load(port, copy, &record);
        if (is_whole(&record, n)) {
            const uint32_t writes = read_u32(record.writes);
            if (vault->writes == 0 || writes > vault->writes) {
                vault->writes = writes;
                vault->copy = copy;
            }
        } else if (!is_empty(&record, n)) {
            is_damaged = true;
        }
    }
    hk_vault_forget(&record);
    if (vault->writes > 0) {
        vault->state = is_damaged ? HK_VAULT_REPAIRED : HK_VAULT_HELD;
    } else if (is_damaged) {
        vault->state = HK_VAULT_DAMAGED;
    }
}

bool hk_vault_read(const hk_vault_t *vault, hk_vault_record_t *record)
{
    if (vault->writes > 0 && is_whole(record, load(vault->port, vault->copy, record))) {
        return true;
    }
    memset(record, 0, sizeof *record);
    return false;
}

void hk_vault_forget(hk_vault_record_t *record)
{
    volatile uint8_t *bytes = (volatile uint8_t *)record; /* the compiler may not leave it out */
    for (size_t i = 0; i < sizeof *record; i++) {
        bytes[i] = 0;
    }
}

uint16_t hk_vault_broker_port(const hk_vault_record_t *record)
{
    return (uint16_t)(record->broker_port[0] | (unsigned)record->broker_port[1] << 8);
}

bool hk_vault_key(const hk_vault_t *vault, uint8_t key[HK_UPDATE_KEY_BYTES])
{
    hk_vault_record_t record;
    const bool has_key = hk_vault_read(vault, &record) && record.has_key != 0;
    memcpy(key, record.key, HK_UPDATE_KEY_BYTES);
    hk_vault_forget(&record);
    return has_key;
}

bool hk_vault_device_id(const hk_vault_t *vault, char device_id[HK_DEVICE_ID_MAX_CHARS + 1])
{
    hk_vault_record_t record;
    (void)hk_vault_read(vault, &record);
    memcpy(device_id, record.device_id, sizeof record.device_id);
    hk_vault_forget(&record);
    return device_id[0] != '\0';
}

/* Takes over a text, the rest of its room being zeros; whether it was another one. The schema bounds its length. */
static bool put(char *field, size_t room, const hk_span_t *text)
{
    if (text->bytes == NULL || (strlen(field) == text->n && memcmp(field, text->bytes, text->n) == 0)) {
        return false;
    }
    memset(field, 0, room);
    memcpy(field, text->bytes, text->n);
    return true;
}

static bool put_key(hk_vault_record_t *record, const hk_span_t *key)
{
    if (key->bytes == NULL || (record->has_key != 0 && memcmp(record->key, key->bytes, sizeof record->key) == 0)) {
        return false;
    }
    memcpy(record->key, key->bytes, sizeof record->key);
    record->has_key = 1;
    return true;
}

static bool put_port(hk_vault_record_t *record, const hk_provision_t *provision)
{
    if (!provision->has_broker_port || hk_vault_broker_port(record) == provision->broker_port) {
        return false;
    }
    record->broker_port[0] = (uint8_t)provision->broker_port;
    record->broker_port[1] = (uint8_t)(provision->broker_port >> 8);
    return true;
}

static bool has_zero(const hk_span_t *text)
{
    return text->bytes != NULL && text->n > 0 && memchr(text->bytes, 0, text->n) != NULL;
}

/* Writes both copies, first the one that is not in force. */
static int write_copies(hk_vault_t *vault, hk_vault_record_t *record)
{
    const uint8_t first = (uint8_t)(vault->writes > 0 ? 1u - vault->copy : 0u);
    int status = save(vault->port, first, record);
    if (status == 0) {
        vault->writes = read_u32(record->writes);
        vault->copy = first;
        vault->state = HK_VAULT_HELD;
        if (save(vault->port, 1u - first, record) != 0) {
            vault->state = HK_VAULT_REPAIRED; /* the new settings hold all the same */
        }
    } else {
        const hk_port_t *port = vault->port;
        hk_vault_open(vault, port);
    }
    return status;
}

int hk_vault_write(hk_vault_t *vault, const hk_provision_t *provision)
{
    if (has_zero(&provision->ssid) || has_zero(&provision->wifi_password) || has_zero(&provision->broker_host)) {
        return HK_ERROR_FORMAT;
    }
    hk_vault_record_t record;
    (void)hk_vault_read(vault, &record);
    bool is_changed = put(record.device_id, sizeof record.device_id, &provision->device_id);
    is_changed |= put(record.ssid, sizeof record.ssid, &provision->ssid);
    is_changed |= put(record.wifi_password, sizeof record.wifi_password, &provision->wifi_password);
    is_changed |= put(record.broker_host, sizeof record.broker_host, &provision->broker_host);
    is_changed |= put_port(&record, provision);
    is_changed |= put_key(&record, &provision->update_key);
    int status = HK_OK;
    if (is_changed || vault->state != HK_VAULT_HELD) {
        memcpy(record.magic, magic, sizeof magic);
        record.format = FORMAT;
        store_u32(record.writes, vault->writes + 1);
        store_u32(record.crc, crc_of(&record));
        status = write_copies(vault, &record);
    }
    hk_vault_forget(&record);
    return status;
}

void hk_vault_tell(const hk_vault_t *vault, int code, hk_vault_record_t *record, hk_device_control_t *told)
{
    *told = (hk_device_control_t){
        .kind = HK_DEVICE_VAULT,
        .u.vault = {.code = (int16_t)code, .state = vault->state, .writes = vault->writes},
    };
    (void)hk_vault_read(vault, record);
    told->u.vault.device_id = record->device_id;
    told->u.vault.ssid = record->ssid;
    told->u.vault.broker_host = record->broker_host;
    told->u.vault.broker_port = hk_vault_broker_port(record);
    if (record->has_key != 0) {
        uint8_t digest[HK_SHA256_BYTES];
        hk_sha256_t sha;
        hk_sha256_init(&sha);
        hk_sha256_update(&sha, record->key, sizeof record->key);
        hk_sha256_finish(&sha, digest);
        memcpy(told->u.vault.key_fingerprint, digest, HK_KEY_FINGERPRINT_BYTES);
        told->u.vault.key_fingerprint_bytes = HK_KEY_FINGERPRINT_BYTES;
    }
    memset(record->wifi_password, 0, sizeof record->wifi_password);
    memset(record->key, 0, sizeof record->key);
}
