#include "hk_update_store.h"

#include <string.h>

#include "hk_catalogue.h"
#include "hk_crc32.h"
#include "hk_error.h"

enum {
    RECORD_AT = HK_PORT_UPDATE_AREA_BYTES - 128,
    MAGIC = 0x43554b48, /* "HKUC" */
    SEQUENCE_AT = 4,
    TOTAL_AT = 8,
    FLAGS_AT = 10,
    FLOOR_AT = 12,
    CRC_AT = 16,
    RECORD_BYTES = 32,
    /* Marks: each 16 bytes that are written once, which is what the flash of most processors asks for. */
    RESET_AT = 32,
    CONFIRMED_AT = 48,
    ROLLED_BACK_AT = 64,
    MARK_BYTES = 16,
    FLAG_SIGNED = 1,
    FLAG_TRIAL = 2,
    ERASED = 0xff,
};

_Static_assert(HK_UPDATE_MAX_BYTES <= RECORD_AT, "an area holds any update and its record");
_Static_assert(HK_UPDATE_MAX_BYTES <= 8 * HK_UPDATE_PIECE_BYTES, "a bit for each piece");
_Static_assert(HK_PORT_UPDATE_AREAS == HK_UPDATE_AREAS && HK_UPDATE_AREAS >= 2, "one in use, one to write to");
_Static_assert(HK_UPDATE_ENVELOPE_BYTES + HK_HEAD_MAX_BYTES <= HK_UPDATE_MAX_BYTES, "an update holds any head");

static uint32_t load_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void store_u32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

static const uint8_t *area_at(const hk_update_store_t *store, uint8_t area)
{
    return store->port->update_areas + (size_t)area * HK_PORT_UPDATE_AREA_BYTES;
}

void hk_update_store_init(hk_update_store_t *store, const hk_port_t *port)
{
    *store = (hk_update_store_t){.port = port, .area = HK_UPDATE_NO_AREA};
}

/* --- What the areas hold --- */

/* A mark that a power cut has left half written is set. */
static bool is_marked(const uint8_t *record, uint32_t at)
{
    for (uint32_t i = 0; i < MARK_BYTES; i++) {
        if (record[at + i] != ERASED) {
            return true;
        }
    }
    return false;
}

static uint32_t crc_of(const uint8_t *content, uint32_t total, const uint8_t *record)
{
    return hk_crc32(hk_crc32(0, content, total), record, CRC_AT);
}

bool hk_update_store_read(const hk_update_store_t *store, uint8_t area, hk_update_record_t *record)
{
    if (store->port->update_areas == NULL) {
        return false;
    }
    const uint8_t *content = area_at(store, area);
    const uint8_t *kept = content + RECORD_AT;
    const uint32_t total = load_u32(kept + TOTAL_AT) & UINT16_MAX;
    if (load_u32(kept) != MAGIC || total > HK_UPDATE_MAX_BYTES || crc_of(content, total, kept) != load_u32(kept + CRC_AT)
        || hk_update_envelope_open(&record->envelope, content, total) != 0) {
        return false;
    }
    const uint32_t flags = kept[FLAGS_AT];
    record->sequence = load_u32(kept + SEQUENCE_AT);
    record->floor = load_u32(kept + FLOOR_AT);
    record->is_signed = (flags & FLAG_SIGNED) != 0;
    record->is_reset = is_marked(kept, RESET_AT);
    record->fate = (flags & FLAG_TRIAL) == 0 || is_marked(kept, CONFIRMED_AT) ? HK_FATE_CONFIRMED : HK_FATE_TRIAL;
    record->code = 0;
    if (record->fate == HK_FATE_CONFIRMED && record->envelope.payload_bytes == 0) {
        record->fate = HK_FATE_WITHDRAWN;
    }
    if (is_marked(kept, ROLLED_BACK_AT)) {
        record->fate = HK_FATE_ROLLED_BACK;
        record->code = (int16_t)(load_u32(kept + ROLLED_BACK_AT) & UINT16_MAX);
    }
    return record->is_signed || !store->is_unsigned_barred;
}

/* All events that the catalogue lacks are one. */
static uint8_t place_of(const char *event)
{
    uint8_t place = HK_EVENT_COUNT;
    (void)hk_catalogue_find(event, strlen(event), &place);
    return place;
}

static bool is_of(const hk_update_record_t *record, uint8_t part, const char *event)
{
    return record->envelope.part == part && place_of(record->envelope.event) == place_of(event);
}

/* The latest that was not rolled back, or of those that are not on trial. */
static uint8_t latest_of(const hk_update_store_t *store, uint8_t part, const char *event, bool is_confirmed,
                         hk_update_record_t *record)
{
    uint8_t found = HK_UPDATE_NO_AREA;
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        hk_update_record_t held;
        if (hk_update_store_read(store, area, &held) && is_of(&held, part, event) && held.fate != HK_FATE_ROLLED_BACK
            && (!is_confirmed || held.fate != HK_FATE_TRIAL)
            && (found == HK_UPDATE_NO_AREA || held.sequence > record->sequence)) {
            *record = held;
            found = area;
        }
    }
    return found;
}

uint8_t hk_update_store_latest(const hk_update_store_t *store, uint8_t part, const char *event, hk_update_record_t *record)
{
    return latest_of(store, part, event, false, record);
}

uint32_t hk_update_store_version(const hk_update_store_t *store, uint8_t part, const char *event)
{
    uint32_t version = 0;
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        hk_update_record_t held;
        if (hk_update_store_read(store, area, &held) && is_of(&held, part, event) && held.envelope.version > version) {
            version = held.envelope.version;
        }
    }
    return version;
}

/* What it holds is out of use: only its version must be remembered. */
static bool is_settled(const hk_update_record_t *held)
{
    return held->fate == HK_FATE_ROLLED_BACK || held->fate == HK_FATE_WITHDRAWN;
}

uint32_t hk_update_store_floor(const hk_update_store_t *store)
{
    uint32_t floor = 0;
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        hk_update_record_t held;
        if (hk_update_store_read(store, area, &held) && held.floor > floor) {
            floor = held.floor;
        }
    }
    return floor;
}

static bool is_needed(const hk_update_store_t *store, uint8_t area)
{
    hk_update_record_t held;
    hk_update_record_t latest;
    if (!hk_update_store_read(store, area, &held)) {
        return false;
    }
    const uint8_t part = held.envelope.part;
    const char *event = held.envelope.event;
    if (is_settled(&held)) {
        return held.envelope.version == hk_update_store_version(store, part, event)
               && held.envelope.version > hk_update_store_floor(store);
    }
    return latest_of(store, part, event, false, &latest) == area || latest_of(store, part, event, true, &latest) == area;
}

/* --- What arrives --- */

static uint8_t find_free(const hk_update_store_t *store)
{
    uint8_t area = 0;
    while (area < HK_UPDATE_AREAS && is_needed(store, area)) {
        area++;
    }
    return area < HK_UPDATE_AREAS ? area : HK_UPDATE_NO_AREA;
}

static uint8_t find_oldest_unsigned(const hk_update_store_t *store)
{
    uint8_t oldest = HK_UPDATE_NO_AREA;
    uint32_t sequence = UINT32_MAX;
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        hk_update_record_t held;
        if (hk_update_store_read(store, area, &held) && !held.is_signed && held.sequence < sequence) {
            sequence = held.sequence;
            oldest = area;
        }
    }
    return oldest;
}

bool hk_update_store_has_room_for(const hk_update_store_t *store, uint8_t part, const char *event)
{
    uint32_t in_use = 0;
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        hk_update_record_t held;
        in_use += is_needed(store, area) && hk_update_store_read(store, area, &held) && !is_settled(&held)
                          && !is_of(&held, part, event)
                      ? 1u
                      : 0u;
    }
    return in_use + 2 <= HK_UPDATE_AREAS; /* this one, and one that the next can be written to */
}

int hk_update_store_make_room(hk_update_store_t *store)
{
    const uint8_t oldest = find_free(store) == HK_UPDATE_NO_AREA ? find_oldest_unsigned(store) : HK_UPDATE_NO_AREA;
    if (oldest == HK_UPDATE_NO_AREA) {
        return HK_OK;
    }
    return store->port->update_erase(store->port->context, oldest) == 0 ? HK_OK : HK_ERROR_TRANSPORT;
}

int hk_update_store_begin(hk_update_store_t *store, uint16_t total)
{
    const hk_port_t *port = store->port;
    hk_update_store_drop(store);
    if (port->update_areas == NULL) {
        return HK_ERROR_REFUSED;
    }
    if (total > HK_UPDATE_MAX_BYTES) {
        return HK_ERROR_TOO_LARGE;
    }
    const uint8_t area = find_free(store);
    if (area == HK_UPDATE_NO_AREA) {
        return HK_ERROR_FULL;
    }
    if (port->update_erase(port->context, area) != 0) {
        return HK_ERROR_TRANSPORT;
    }
    store->area = area;
    store->total = total;
    return HK_OK;
}

int hk_update_store_write(hk_update_store_t *store, uint16_t offset, const uint8_t *bytes, size_t n)
{
    const size_t at = (size_t)store->area * HK_PORT_UPDATE_AREA_BYTES + offset;
    if (store->port->update_write(store->port->context, at, bytes, n) != 0) {
        hk_update_store_drop(store);
        return HK_ERROR_TRANSPORT;
    }
    return HK_OK;
}

static bool is_arriving(const hk_update_store_t *store, const hk_update_piece_t *piece)
{
    return store->area != HK_UPDATE_NO_AREA && piece->total == store->total
           && memcmp(piece->tag, store->tag, sizeof store->tag) == 0;
}

int hk_update_store_take(hk_update_store_t *store, const hk_update_piece_t *piece)
{
    if (piece->total > HK_UPDATE_MAX_BYTES) {
        return HK_ERROR_TOO_LARGE;
    }
    if (piece->offset % HK_UPDATE_PIECE_BYTES != 0 || piece->offset >= piece->total) {
        return HK_ERROR_PROTOCOL;
    }
    const uint32_t left = (uint32_t)piece->total - piece->offset;
    if (piece->data_bytes != (left < HK_UPDATE_PIECE_BYTES ? left : HK_UPDATE_PIECE_BYTES)) {
        return HK_ERROR_PROTOCOL;
    }
    if (!is_arriving(store, piece)) {
        if (store->is_whole) {
            return HK_ERROR_BUSY;
        }
        const int status = hk_update_store_begin(store, piece->total);
        if (status != 0) {
            return status;
        }
        memcpy(store->tag, piece->tag, sizeof store->tag);
    }
    const uint32_t bit = 1u << (piece->offset / HK_UPDATE_PIECE_BYTES);
    if ((store->received & bit) != 0) {
        return HK_OK;
    }
    const int status = hk_update_store_write(store, piece->offset, piece->data, piece->data_bytes);
    if (status != 0) {
        return status;
    }
    store->received = (uint8_t)(store->received | bit);
    const uint32_t pieces = ((uint32_t)piece->total + HK_UPDATE_PIECE_BYTES - 1) / HK_UPDATE_PIECE_BYTES;
    store->is_whole = store->received == (1u << pieces) - 1;
    return HK_OK;
}

const uint8_t *hk_update_store_arrived(const hk_update_store_t *store)
{
    return area_at(store, store->area);
}

void hk_update_store_drop(hk_update_store_t *store)
{
    store->area = HK_UPDATE_NO_AREA;
    store->received = 0;
    store->is_whole = false;
}

/* --- What counts --- */

uint8_t hk_update_store_commit(hk_update_store_t *store, bool is_signed, bool is_on_trial)
{
    uint32_t sequence = 0;
    uint32_t floor = hk_update_store_floor(store);
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        hk_update_record_t held;
        if (hk_update_store_read(store, area, &held)) {
            sequence = held.sequence > sequence ? held.sequence : sequence;
            floor = is_settled(&held) && held.envelope.version > floor ? held.envelope.version : floor;
        }
    }
    uint8_t record[RECORD_BYTES] = {0};
    store_u32(record, MAGIC);
    store_u32(record + SEQUENCE_AT, sequence + 1);
    const uint32_t flags = (is_signed ? (uint32_t)FLAG_SIGNED : 0) | (is_on_trial ? (uint32_t)FLAG_TRIAL : 0);
    store_u32(record + TOTAL_AT, store->total | flags << 16);
    store_u32(record + FLOOR_AT, floor);
    store_u32(record + CRC_AT, crc_of(hk_update_store_arrived(store), store->total, record));
    const uint8_t area = store->area;
    const bool is_written = hk_update_store_write(store, RECORD_AT, record, sizeof record) == 0;
    hk_update_store_drop(store);
    return is_written ? area : HK_UPDATE_NO_AREA;
}

static int mark(const hk_update_store_t *store, uint8_t area, uint32_t at, uint32_t value)
{
    uint8_t bytes[MARK_BYTES] = {0};
    store_u32(bytes, value);
    const size_t to = (size_t)area * HK_PORT_UPDATE_AREA_BYTES + RECORD_AT + at;
    return store->port->update_write(store->port->context, to, bytes, sizeof bytes) == 0 ? HK_OK : HK_ERROR_TRANSPORT;
}

int hk_update_store_confirm(const hk_update_store_t *store, uint8_t area)
{
    return mark(store, area, CONFIRMED_AT, 0);
}

int hk_update_store_roll_back(const hk_update_store_t *store, uint8_t area, int code)
{
    return mark(store, area, ROLLED_BACK_AT, (uint32_t)code & UINT16_MAX);
}

int hk_update_store_note_reset(const hk_update_store_t *store, uint8_t area)
{
    return mark(store, area, RESET_AT, 0);
}
