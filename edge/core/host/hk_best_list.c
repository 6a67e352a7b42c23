#include "hk_best_list.h"

#include <string.h>

void hk_best_list_keep(const hk_best_list_kind_t *kind, void *items, uint32_t most, uint32_t *count, const void *found)
{
    const size_t bytes = kind->bytes;
    uint8_t *list = items;
    const uint32_t identity = kind->identity(found);
    const double worth = kind->worth(found);
    uint32_t place = 0;
    while (place < *count && kind->identity(list + place * bytes) != identity) {
        place++;
    }
    if (place == *count && *count < most) {
        (*count)++; /* a new one, and room for it */
    } else {
        place = place < *count ? place : most - 1; /* instead of what was kept of it, or of the last */
        if (kind->worth(list + place * bytes) >= worth) {
            return;
        }
    }
    for (; place > 0 && kind->worth(list + (place - 1) * bytes) < worth; place--) {
        memcpy(list + place * bytes, list + (place - 1) * bytes, bytes);
    }
    memcpy(list + place * bytes, found, bytes);
}
