/* What a device's known media say of a trigger, before anything of it leaves the device.
 *
 * A trigger that a known recording explains is dismissed, and its event is quiet for a while; all of that is counted. A
 * safety event (smoke, CO, glass) never is: it goes out with a hint, and the cloud decides by its stricter rule. For its
 * hint only words count in which no steady tone dominates, so that an alarm's own tone is no evidence.
 *
 * Time is samples heard. The caller owns the struct. Not for use from an interrupt. */
#ifndef HK_MEDIA_GUARD_H
#define HK_MEDIA_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_catalogue.h"
#include "hk_listener.h"
#include "hk_media_set.h"
#include "hk_messages.h"

typedef struct {
    uint32_t quiet_until_step[HK_EVENT_COUNT]; /* steps heard; 0: not quiet */
    uint32_t dismissed;                        /* triggers, since the start */
} hk_media_guard_t;

/* Whether the trigger of an event is dismissed; if not, `hint` says what it sounds like, where it does.
 * `words`: the latest. Takes what hk_media_set_find takes, and 400 bytes of stack more. */
bool hk_media_guard_dismisses(hk_media_guard_t *guard, const hk_media_set_t *set, uint8_t event,
                              const hk_listener_words_t *words, uint64_t samples_heard, hk_media_hint_t *hint);

/* A recording has explained an event: it is quiet from now on for HK_MEDIA_QUIET_SECONDS. Safety events never are. */
void hk_media_guard_hush(hk_media_guard_t *guard, uint8_t event, uint64_t samples_heard);

/* Looks for words in the set; for a safety event only for those that may be evidence for one. */
void hk_media_guard_look(const hk_media_set_t *set, bool is_safety, const hk_listener_words_t *words,
                         hk_media_hint_t *hint);

#endif
