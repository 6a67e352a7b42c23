/* What a device's owner has it do by way of the cloud, beyond the clips of its events: siren, one clip now, live scores.
 *
 * The caller owns the struct (about 100 bytes). Times are samples heard. Not for use from an interrupt. */
#ifndef HK_COMMANDS_H
#define HK_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_asked_clip.h"
#include "hk_live.h"
#include "hk_messages.h"
#include "hk_siren.h"

typedef struct {
    hk_siren_t siren;
    hk_asked_clip_t asked;
    hk_live_t live;
} hk_commands_t;

/* What a command came to; a line for people is hk_commands_text. */
typedef enum {
    HK_COMMANDS_NOTHING = 0, /* stale, a duplicate, or not for here */
    HK_COMMANDS_SIREN_ON,
    HK_COMMANDS_SIREN_IGNORED, /* no trigger of this device that may sound it (any more) */
    HK_COMMANDS_SIREN_OFF,
    HK_COMMANDS_CLIP_ASKED,
    HK_COMMANDS_LIVE,
} hk_commands_result_t;

/* Nothing is under way. */
void hk_commands_init(hk_commands_t *commands);

/* Acts on a command. `boot_id` and `device_id` are those of the device's event ids. */
hk_commands_result_t hk_commands_take(hk_commands_t *commands, const hk_command_t *command,
                                      const uint8_t boot_id[HK_BOOT_ID_BYTES], const char *device_id, bool is_armed,
                                      uint64_t samples_heard);

/* To be called after each step, before hk_clip_slot_update. Whether live scores are due (hk_live_next). */
bool hk_commands_heard(hk_commands_t *commands, hk_clip_slot_t *slot, const hk_tracker_t *tracker,
                       uint64_t samples_heard);

/* Which outputs are to be on now: bit HK_OUTPUT_SIREN, bit HK_OUTPUT_RECORDING. */
uint8_t hk_commands_outputs(const hk_commands_t *commands, uint64_t samples_heard);

/* One line for whoever reads the device's console; NULL where there is nothing to tell. */
const char *hk_commands_text(hk_commands_result_t result);

#endif
