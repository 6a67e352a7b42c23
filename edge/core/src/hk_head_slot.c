#include "hk_head_slot.h"

#include "hk_error.h"

_Static_assert(HK_HEAD_SLOT_AREAS == 2, "one in use, one to write to");
_Static_assert(HK_HEAD_MAX_BYTES == HK_PORT_HEAD_AREA_BYTES && HK_HEAD_MAX_BYTES <= UINT16_MAX,
               "an area holds any head");

void hk_head_slot_init(hk_head_slot_t *slot, const hk_port_t *port)
{
    *slot = (hk_head_slot_t){.port = port};
}

int hk_head_slot_take(hk_head_slot_t *slot, uint16_t offset, uint16_t total, const uint8_t *bytes, size_t n,
                      const uint8_t **blob)
{
    const hk_port_t *port = slot->port;
    *blob = NULL;
    if (port->head_areas == NULL) {
        return HK_ERROR_REFUSED;
    }
    if (offset == 0) {
        slot->total = total;
        slot->received = 0;
    }
    const uint16_t expected = slot->total;
    slot->total = 0; /* unless all is well */
    if (total > HK_HEAD_MAX_BYTES) {
        return HK_ERROR_TOO_LARGE;
    }
    if (n == 0 || total != expected || offset != slot->received || n > (size_t)(total - offset)) {
        return HK_ERROR_PROTOCOL;
    }
    const size_t at = (size_t)slot->arriving * HK_HEAD_MAX_BYTES;
    if (port->head_write(port->context, at + offset, bytes, n) != 0) {
        return HK_ERROR_TRANSPORT;
    }
    slot->received = (uint16_t)(slot->received + n);
    if (slot->received == total) {
        *blob = port->head_areas + at;
    } else {
        slot->total = total;
    }
    return HK_OK;
}

void hk_head_slot_use(hk_head_slot_t *slot)
{
    slot->arriving = (uint8_t)(1u - slot->arriving);
}
