#include "hk_commands.h"

#include <stddef.h>

void hk_commands_init(hk_commands_t *commands)
{
    hk_siren_init(&commands->siren);
    hk_asked_clip_init(&commands->asked);
    hk_live_init(&commands->live);
}

hk_commands_result_t hk_commands_take(hk_commands_t *commands, const hk_command_t *command,
                                      const uint8_t boot_id[HK_BOOT_ID_BYTES], const char *device_id, bool is_armed,
                                      uint64_t samples_heard)
{
    uint32_t seq;
    switch (command->command) {
    case HK_COMMAND_SIREN_ON:
        return is_armed && hk_event_id_sequence(command->event_id, boot_id, device_id, &seq) == 0
                       && hk_siren_on(&commands->siren, seq, samples_heard)
                   ? HK_COMMANDS_SIREN_ON
                   : HK_COMMANDS_SIREN_IGNORED;
    case HK_COMMAND_SIREN_OFF:
        hk_siren_off(&commands->siren);
        return HK_COMMANDS_SIREN_OFF;
    case HK_COMMAND_CLIP_NOW:
        return hk_asked_clip_take(&commands->asked, command->event_id, samples_heard) ? HK_COMMANDS_CLIP_ASKED
                                                                                      : HK_COMMANDS_NOTHING;
    case HK_COMMAND_SCORES_ON:
        hk_live_on(&commands->live, samples_heard);
        return HK_COMMANDS_LIVE;
    case HK_COMMAND_SCORES_OFF:
        hk_live_off(&commands->live);
        return HK_COMMANDS_LIVE;
    default:
        return HK_COMMANDS_NOTHING;
    }
}

bool hk_commands_heard(hk_commands_t *commands, hk_clip_slot_t *slot, const hk_tracker_t *tracker,
                       uint64_t samples_heard)
{
    hk_siren_heard(&commands->siren, samples_heard);
    hk_asked_clip_heard(&commands->asked, slot, samples_heard);
    return hk_live_heard(&commands->live, tracker, samples_heard);
}

uint8_t hk_commands_outputs(const hk_commands_t *commands, uint64_t samples_heard)
{
    const unsigned siren = hk_siren_is_sounding(&commands->siren, samples_heard) ? 1u << HK_OUTPUT_SIREN : 0u;
    const unsigned lamp = hk_asked_clip_is_shown(&commands->asked, samples_heard) ? 1u << HK_OUTPUT_RECORDING : 0u;
    return (uint8_t)(siren | lamp);
}

const char *hk_commands_text(hk_commands_result_t result)
{
    switch (result) {
    case HK_COMMANDS_SIREN_ON:
        return "the siren is on: an intruder was confirmed";
    case HK_COMMANDS_SIREN_IGNORED:
        return "the siren stays as it is: the command is for no trigger of late, or the device is not armed";
    case HK_COMMANDS_SIREN_OFF:
        return "the siren is off: its owner's word";
    case HK_COMMANDS_CLIP_ASKED:
        return "an owner asked for one clip: four seconds from now are recorded and sent";
    default:
        return NULL;
    }
}
