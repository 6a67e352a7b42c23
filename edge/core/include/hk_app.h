/* The application: listens, reports to the host on the link, and to the cloud through it.
 *
 * Turn the crank with hk_app_poll. Each turn takes a bounded amount of work: some bytes of the link, at most one step
 * of audio, some bytes of MQTT. So the link stays served while audio is heard, and audio is heard while the link is
 * full: what then cannot be reported is counted and said as soon as there is room.
 *
 * The caller owns the struct (about 90 KB) and the port. Not for use from an interrupt. */
#ifndef HK_APP_H
#define HK_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_commands.h"
#include "hk_limits.h"
#include "hk_link.h"
#include "hk_media_guard.h"
#include "hk_media_slot.h"
#include "hk_listener.h"
#include "hk_messages.h"
#include "hk_port.h"
#include "hk_step.h"
#include "hk_update.h"
#include "hk_uplink.h"
#include "hk_vault.h"

#define HK_FIRMWARE_VERSION "0.1.0"

/* `heard` is sent at least once in so many steps of audio: 100 ms. */
#define HK_APP_HEARD_STEPS 5u
/* Events that may wait for room on the link. */
#define HK_APP_EVENTS_WAITING 4u

typedef enum {
    HK_APP_IDLE = 0, /* nothing to do until the link or the microphone brings something */
    HK_APP_BUSY,     /* there is more to do: poll again at once */
    HK_APP_STOPPED,  /* shut down in good order */
} hk_app_state_t;

typedef struct {
    const hk_port_t *port;
    hk_listener_t listener;
    hk_uplink_t uplink;

    hk_update_t update;
    hk_media_slot_t media_slot;
    hk_media_guard_t media_guard;
    hk_commands_t commands;
    hk_vault_t vault;

    hk_link_receiver_t receiver;
    hk_link_sender_t sender;
    hk_link_credit_t pcm_credit;
    hk_link_credit_t mqtt_credit;

    char device_id[HK_DEVICE_ID_MAX_CHARS + 1];
    uint8_t boot_id[HK_BOOT_ID_BYTES];
    uint32_t triggers_made;
    uint32_t added_events_made; /* of an event that the catalogue lacks: they are told on the link alone */
    uint64_t samples_available; /* announced for the microphone */
    uint64_t next_pcm_sample;   /* that the host's PCM channel continues with */
    hk_step_t step; /* what has come of the next one */

    bool is_greeted;
    bool is_configured;
    bool has_cloud; /* the session is to be kept up */
    bool is_scores_on;
    bool is_stopping;
    uint32_t stopping_since_ms;
    uint32_t retry_since_ms; /* after a failed session */
    bool is_retry_waiting;

    /* What is to be said to the host as soon as the link has room. */
    bool is_hello_due;
    bool is_network_due;
    bool is_heard_due;
    bool is_stats_due;
    bool is_head_due; /* a head has come whole, or wrong */
    int16_t head_status;
    bool is_media_due; /* a set has come whole, or wrong, or a trigger was dismissed */
    int16_t media_status; /* of the last set that was offered, */
    uint8_t media_told[HK_MEDIA_HASH_BYTES]; /* which was this one */
    bool is_vault_due; /* the host has asked what the device was provisioned with, or has written it */
    int16_t vault_status; /* of what was last to be written */
    bool is_vault_loss_due; /* a copy is half-written or damaged, which a new host is told */
    uint8_t said_pending; /* in the last `heard` */
    uint32_t steps_since_heard;
    bool is_up_said;      /* that the MQTT session is up */
    uint8_t outputs;      /* as they are switched: bit HK_OUTPUT_… */
    uint8_t outputs_said;
    const char *command_text; /* what a command came to, NULL when it is said */
    int error_due;        /* 0: none */
    const char *error_text;
    hk_device_control_t events[HK_APP_EVENTS_WAITING];
    uint8_t event_count;
    uint32_t events_unreported;      /* not said on the link for want of room; the cloud has them all the same */
    uint32_t events_unreported_said; /* of these, told on the log channel */
    uint32_t malformed_said;         /* of uplink.malformed_messages */
} hk_app_t;

/* Sets everything up; `port` outlives the app. Returns 0, or an error of the image itself (its heads, its parameters). */
int hk_app_init(hk_app_t *app, const hk_port_t *port);

/* Hears PCM of any length, for boards whose microphone pushes. Nothing is heard before the host has configured the
 * device's identity: HK_ERROR_STATE. */
int hk_app_push(hk_app_t *app, const int16_t *pcm, size_t n);

/* Takes one turn. */
hk_app_state_t hk_app_poll(hk_app_t *app);

#endif
