#include "hk_media_slot.h"

#include <string.h>

#include "hk_error.h"

_Static_assert(HK_PORT_MEDIA_AREAS == 2, "one in use, one to write to");
_Static_assert(HK_MEDIA_SET_MAX_BYTES <= 32 * HK_MEDIA_PIECE_BYTES, "a bit for each piece");
_Static_assert(HK_MEDIA_SET_MAX_BYTES % 4 == 0 && HK_MEDIA_PIECE_BYTES % 4 == 0, "areas and pieces are aligned");

static const uint8_t *area_at(const hk_media_slot_t *slot, uint32_t area)
{
    return slot->port->media_areas + (size_t)area * HK_MEDIA_SET_MAX_BYTES;
}

static bool may_use(const hk_media_slot_t *slot, const hk_media_set_t *set)
{
    return slot->may_use == NULL || slot->may_use(slot->context, set->blob + HK_MEDIA_SET_SEAL_AT);
}

void hk_media_slot_init(hk_media_slot_t *slot, const hk_port_t *port, hk_media_slot_may_use_t may_use_, void *context)
{
    *slot = (hk_media_slot_t){.port = port, .may_use = may_use_, .context = context};
    if (port->media_areas == NULL) {
        return;
    }
    for (uint8_t area = 0; area < HK_PORT_MEDIA_AREAS; area++) {
        hk_media_set_t kept;
        const int status = hk_media_set_open(&kept, area_at(slot, area), HK_MEDIA_SET_MAX_BYTES);
        if (status == 0 && kept.version > slot->set.version && may_use(slot, &kept)) {
            slot->set = kept;
            slot->area = area;
        }
    }
}

/* Whether a piece lies where pieces lie. */
static int check_form(const hk_media_piece_t *piece)
{
    if (piece->total > HK_MEDIA_SET_MAX_BYTES) {
        return HK_ERROR_TOO_LARGE;
    }
    if (piece->offset % HK_MEDIA_PIECE_BYTES != 0 || piece->offset >= piece->total) {
        return HK_ERROR_PROTOCOL;
    }
    const uint32_t left = (uint32_t)piece->total - piece->offset;
    return piece->data_bytes == (left < HK_MEDIA_PIECE_BYTES ? left : HK_MEDIA_PIECE_BYTES) ? HK_OK : HK_ERROR_PROTOCOL;
}

static bool is_in_use(const hk_media_slot_t *slot, const hk_media_piece_t *piece)
{
    return slot->set.blob != NULL && piece->version == slot->set.version
           && memcmp(piece->hash, slot->set.blob + HK_MEDIA_SET_SEAL_AT, HK_MEDIA_HASH_BYTES) == 0;
}

static bool is_arriving(const hk_media_slot_t *slot, const hk_media_piece_t *piece)
{
    return piece->version == slot->arriving_version && piece->total == slot->arriving_bytes
           && memcmp(piece->hash, slot->arriving_hash, HK_MEDIA_HASH_BYTES) == 0;
}

/* Makes room for the set that a piece is of. */
static int begin(hk_media_slot_t *slot, const hk_media_piece_t *piece)
{
    slot->arriving_version = 0;
    if (slot->port->media_erase(slot->port->context, 1u - slot->area) != 0) {
        return HK_ERROR_TRANSPORT;
    }
    slot->arriving_version = piece->version;
    slot->arriving_bytes = piece->total;
    memcpy(slot->arriving_hash, piece->hash, HK_MEDIA_HASH_BYTES);
    slot->received = 0;
    return HK_OK;
}

/* All pieces are there: puts the set to use if the flash holds it. */
static int use(hk_media_slot_t *slot)
{
    const uint8_t area = (uint8_t)(1u - slot->area);
    const uint8_t *blob = area_at(slot, area);
    hk_media_set_t set;
    int status = hk_media_set_open(&set, blob, slot->arriving_bytes);
    if (status == 0
        && (set.version != slot->arriving_version
            || memcmp(blob + HK_MEDIA_SET_SEAL_AT, slot->arriving_hash, HK_MEDIA_HASH_BYTES) != 0)) {
        status = HK_ERROR_MISMATCH;
    }
    if (status == 0 && !may_use(slot, &set)) {
        return HK_ERROR_SIGNATURE; /* it stays where it is, and what arrives after it may still take its place */
    }
    slot->arriving_version = 0;
    if (status == 0) {
        slot->set = set;
        slot->area = area;
    } else {
        memcpy(slot->refused_hash, slot->arriving_hash, HK_MEDIA_HASH_BYTES);
        slot->refused_status = (int16_t)status;
        (void)slot->port->media_erase(slot->port->context, area); /* so that no restart finds it */
    }
    return status;
}

static bool is_complete(const hk_media_slot_t *slot)
{
    const uint32_t pieces = ((uint32_t)slot->arriving_bytes + HK_MEDIA_PIECE_BYTES - 1) / HK_MEDIA_PIECE_BYTES;
    return slot->arriving_version != 0 && slot->received == UINT32_MAX >> (32 - pieces);
}

bool hk_media_slot_use_if_whole(hk_media_slot_t *slot)
{
    return is_complete(slot) && use(slot) == 0;
}

int hk_media_slot_take(hk_media_slot_t *slot, const hk_media_piece_t *piece, bool *is_whole)
{
    *is_whole = false;
    if (slot->port->media_areas == NULL) {
        return HK_ERROR_REFUSED;
    }
    const int form = check_form(piece);
    if (form != 0) {
        return form;
    }
    if (is_in_use(slot, piece)) {
        return HK_OK;
    }
    if (slot->refused_status != 0 && memcmp(piece->hash, slot->refused_hash, HK_MEDIA_HASH_BYTES) == 0) {
        return slot->refused_status;
    }
    if (piece->version <= slot->set.version || piece->version < slot->arriving_version) {
        return HK_ERROR_OLDER;
    }
    if (!is_arriving(slot, piece)) {
        const int status = begin(slot, piece);
        if (status != 0) {
            return status;
        }
    }
    const uint32_t bit = 1u << (piece->offset / HK_MEDIA_PIECE_BYTES);
    if ((slot->received & bit) != 0) {
        return HK_OK;
    }
    const size_t at = (1u - slot->area) * (size_t)HK_MEDIA_SET_MAX_BYTES + piece->offset;
    if (slot->port->media_write(slot->port->context, at, piece->data, piece->data_bytes) != 0) {
        slot->arriving_version = 0;
        return HK_ERROR_TRANSPORT;
    }
    slot->received |= bit;
    if (!is_complete(slot)) {
        return HK_OK;
    }
    const int status = use(slot);
    *is_whole = status == 0;
    return status;
}
