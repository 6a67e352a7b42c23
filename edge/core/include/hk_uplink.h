/* What goes to the cloud, until the cloud has it: triggers, clips and the status, over one MQTT session.
 *
 * A trigger stays in the outbox, and an event among the owners of the clip slot, until the cloud's receipt; whatever
 * the connection does in between, they are offered again. No I/O and no clock: the caller moves bytes and says what
 * time it is.
 * The caller owns the struct (about 45 KB) and what it passes by pointer to hk_uplink_init. Not for use from an
 * interrupt. */
#ifndef HK_UPLINK_H
#define HK_UPLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_clip_slot.h"
#include "hk_further.h"
#include "hk_limits.h"
#include "hk_messages.h"
#include "hk_mqtt.h"
#include "hk_outbox.h"

/* A PUBACK is no receipt: with a cloud that is away, a broker acknowledges and forgets. So what has no receipt is sent
 * again even while the connection holds, first after so long and then ever more seldom. */
#define HK_UPLINK_FIRST_PATIENCE_MS 5000u
#define HK_UPLINK_LONGEST_PATIENCE_MS 80000u

/* What the uplink tells its owner of. */
typedef struct {
    /* The user's choices arrived: a config message as received, valid during the call. */
    void (*on_config)(void *context, const uint8_t *payload, size_t length);
    /* A piece of a set of known media, valid during the call. */
    void (*on_media)(void *context, const hk_media_piece_t *piece);
    /* A piece of an update, valid during the call. */
    void (*on_update)(void *context, const hk_update_piece_t *piece);
    /* `installed` is published now: what it says. */
    void (*describe)(void *context, hk_installed_t *installed);
    /* The cloud says that a recording explains the latest trigger of this event of the catalogue. */
    void (*on_explained)(void *context, uint8_t event);
    /* A command that is for no clip of an event. */
    void (*on_command)(void *context, const hk_command_t *command);
    void *context;
} hk_uplink_listener_t;

typedef struct {
    const char *device_id;
    hk_uplink_listener_t told;
    hk_further_t further;
    hk_outbox_t outbox;
    hk_clip_slot_t slot;
    hk_mqtt_t mqtt;
    hk_mqtt_config_t mqtt_config;
    hk_status_t status; /* as it is published next */
    bool is_status_due;
    bool is_status_under_way;
    bool is_trigger_under_way;
    bool is_installed_due;
    bool is_further_under_way; /* or `installed`, which is written to the same memory */
    uint32_t sent_ms;      /* when the last trigger or clip had gone out */
    uint32_t patience_ms;  /* how long to wait for receipts; doubles each time it was in vain */
    bool is_stopping;
    bool is_farewell_said; /* DISCONNECT is on its way */
    uint32_t malformed_messages; /* from the cloud: not of the schema */
    const char *filters[HK_KIND_COUNT];
    char topics[HK_KIND_COUNT][HK_MQTT_TOPIC_MAX_CHARS + 1];
    uint8_t will[HK_STATUS_MAX_BYTES];
    uint8_t status_payload[HK_STATUS_MAX_BYTES];
    uint8_t clip_prefix[HK_CLIP_PREFIX_MAX_BYTES];
    uint8_t further_payload[HK_FURTHER_WORDS_MAX_BYTES]; /* live scores', too: never both at a time */
} hk_uplink_t;

/* Sets the uplink up, not connected. `device_id`, `board` and `firmware` outlive it.
 * Returns 0, or HK_ERROR_ARGUMENT for a device id that topics do not admit. */
int hk_uplink_init(hk_uplink_t *uplink, const char *device_id, const char *board, const char *firmware,
                   const uint8_t model_hash[HK_MODEL_HASH_BYTES], const hk_uplink_listener_t *told);

/* Takes a trigger on: decides about its clip (sets trigger->clip), and keeps it until the cloud's receipt.
 * Returns 0, HK_ERROR_FULL when it was dropped (counted), or an encoder's error. */
int hk_uplink_put(hk_uplink_t *uplink, hk_trigger_t *trigger);

/* Says after each step what has been heard, so that clips are cut when they are due. */
void hk_uplink_heard(hk_uplink_t *uplink, const hk_clip_ring_t *ring, uint64_t samples_heard);

/* Offers the latest words where further ones are due (hk_uplink_wants_words): what sounds after a trigger. */
bool hk_uplink_wants_words(const hk_uplink_t *uplink, uint64_t samples_heard);
void hk_uplink_offer_words(hk_uplink_t *uplink, const hk_listener_words_t *words, uint64_t samples_heard);

/* Offers live scores, where the session has nothing else under way (hk_uplink_wants_scores): they delay no trigger and
 * no clip by more than their own hundred bytes. */
bool hk_uplink_wants_scores(const hk_uplink_t *uplink);
void hk_uplink_offer_scores(hk_uplink_t *uplink, const hk_live_scores_t *live);

/* Takes a trigger back that was not handed to the broker, with its clip; whether it could be. */
bool hk_uplink_withdraw(hk_uplink_t *uplink, const uint8_t event_id[HK_EVENT_ID_BYTES]);

void hk_uplink_set_armed(hk_uplink_t *uplink, bool is_armed);

/* What the status says of known media from now on; it is published again. */
void hk_uplink_set_media(hk_uplink_t *uplink, uint32_t set_version, int set_code, uint32_t dismissed);

/* What the status says of the siren from now on; it is published again. */
void hk_uplink_set_siren(hk_uplink_t *uplink, bool is_on);

/* What the device has installed has changed: it is published again. */
void hk_uplink_tell_installed(hk_uplink_t *uplink);

/* The broker's socket was opened or closed. */
void hk_uplink_open(hk_uplink_t *uplink, uint32_t now_ms);
void hk_uplink_close(hk_uplink_t *uplink);

/* Bytes from the broker. Returns 0, or the error that ended the session: have the socket closed and opened again. */
int hk_uplink_receive(hk_uplink_t *uplink, const uint8_t *bytes, size_t n);

/* Offers what is due to the session. Returns as hk_uplink_receive does. */
int hk_uplink_poll(hk_uplink_t *uplink, uint32_t now_ms);

/* What is to go to the broker next, and how much of it was taken. */
size_t hk_uplink_output(hk_uplink_t *uplink, const uint8_t **bytes);
void hk_uplink_output_taken(hk_uplink_t *uplink, size_t n, uint32_t now_ms);

/* Publishes that the device goes offline, then disconnects in good order. */
void hk_uplink_stop(hk_uplink_t *uplink);

/* After hk_uplink_stop: true when nothing more is to be sent. */
bool hk_uplink_is_stopped(hk_uplink_t *uplink);

/* Triggers without a receipt, plus captured clips that the cloud has not settled: one for each event that shares the
 * audio. */
uint8_t hk_uplink_pending(const hk_uplink_t *uplink);

#endif
