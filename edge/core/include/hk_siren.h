/* When the device's own siren sounds: for an intruder that the cloud has confirmed, until its owner's word, until the
 * device is disarmed, or for HK_SIREN_SECONDS of sound heard.
 *
 * A command is no reason by itself: the siren sounds only for a trigger that this device made itself, since its start,
 * while armed, less than HK_SIREN_CAUSE_SECONDS ago. Each trigger is a cause once. So a command that comes twice, late,
 * after the owner's word or after a restart does nothing.
 *
 * The siren and the device's own ears:
 *  - Nothing is taken from what the device listens for while it sounds. A smoke or CO alarm may be genuine then as at any
 *    time: its trigger goes out with its clip, and the cloud, which knows from the status that the siren is on, says so
 *    beside its verdict and lets it silence nothing.
 *  - Beside a siren no microphone hears much. So it pauses: HK_SIREN_SOUNDS_SECONDS of sound, then
 *    HK_SIREN_PAUSES_SECONDS in which a T3 alarm sounds at least once and a T4 alarm begins.
 *  - What the siren itself may be mistaken for must not keep it up: triggers made while it is on, pauses included, are
 *    no causes. An intruder who goes on is a new event once it has ended.
 *
 * Time is samples heard. The caller owns the struct (44 bytes). Not for use from an interrupt. */
#ifndef HK_SIREN_H
#define HK_SIREN_H

#include <stdbool.h>
#include <stdint.h>

/* Triggers of late that may be confirmed: those of two seconds in a home, as in the clip slot. */
#define HK_SIREN_CAUSES 4u

/* A trigger that may yet be confirmed. */
typedef struct {
    uint32_t seq; /* of its event id */
    uint32_t step;
} hk_siren_cause_t;

typedef struct {
    hk_siren_cause_t causes[HK_SIREN_CAUSES]; /* the oldest first */
    uint32_t since_step;
    uint8_t cause_count;
    bool is_on;
} hk_siren_t;

/* Silent, with no cause. */
void hk_siren_init(hk_siren_t *siren);

/* An event that is reported only while armed has triggered, and was handed to the uplink. */
void hk_siren_note(hk_siren_t *siren, uint32_t seq, uint64_t samples_heard);

/* The cloud has confirmed the trigger `seq` of this device. Whether the siren is on for it now. */
bool hk_siren_on(hk_siren_t *siren, uint32_t seq, uint64_t samples_heard);

/* The owner's word, or the device was disarmed: silent, and nothing that has triggered so far is a cause. */
void hk_siren_off(hk_siren_t *siren);

/* To be called after each step: ends what has lasted long enough. */
void hk_siren_heard(hk_siren_t *siren, uint64_t samples_heard);

/* Whether the output is on at this moment: not in a pause. */
bool hk_siren_is_sounding(const hk_siren_t *siren, uint64_t samples_heard);

#endif
