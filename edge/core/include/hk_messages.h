/* The messages of harken.cddl as C structs, and their topics.
 *
 * Encoders write deterministic CBOR: equal content is equal bytes, and the same bytes as edge.contracts.messages
 * writes in Python. Decoders accept exactly the schema, its fields in ascending order. Strings and byte strings of a
 * decoded message are copied, so the received buffer may be used again. A call needs up to 1 KB of stack (the largest
 * frames are 288 and 240 bytes on a Cortex-M4). Not for use from an interrupt. */
#ifndef HK_MESSAGES_H
#define HK_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_catalogue.h"
#include "hk_limits.h"
#include "hk_topics.h"
#include "hk_wire_values.h"

/* ---- event ids and topics ---- */

/* Writes boot id, seq (big-endian) and the CRC-32 of the device id (big-endian). */
void hk_event_id_make(uint8_t event_id[HK_EVENT_ID_BYTES], const uint8_t boot_id[HK_BOOT_ID_BYTES], uint32_t seq,
                      const char *device_id);

/* Finds the sequence number of an event id that hk_event_id_make has made of this boot and device.
 * Returns 0, or HK_ERROR_NOT_FOUND for another's. */
int hk_event_id_sequence(const uint8_t event_id[HK_EVENT_ID_BYTES], const uint8_t boot_id[HK_BOOT_ID_BYTES],
                         const char *device_id, uint32_t *seq);

/* True for 1 to HK_DEVICE_ID_MAX_CHARS of a-z, 0-9 and '-', zero-terminated. */
bool hk_device_id_is_valid(const char *device_id);

/* Writes "harken/v1/<device_id>/<kind>", zero-terminated. kind is HK_KIND_….
 * Returns 0, HK_ERROR_ARGUMENT or HK_ERROR_CAPACITY (HK_MQTT_TOPIC_MAX_CHARS + 1 bytes always suffice). */
int hk_topic_build(char *out, size_t capacity, const char *device_id, uint8_t kind);

/* Finds the kind of a received topic (not zero-terminated) of this device; HK_KIND_MEDIA and HK_KIND_UPDATE have a further
 * level.
 * Returns 0 and sets *kind, or HK_ERROR_UNKNOWN for another device's or an unknown topic. */
int hk_topic_kind(const char *topic, size_t length, const char *device_id, uint8_t *kind);

/* ---- device to cloud ---- */

typedef struct {
    uint8_t kind;       /* HK_CADENCE_… */
    uint8_t periods;    /* whole periods heard */
    uint8_t confidence; /* 0-255 */
    uint16_t on_ms;
    uint16_t off_ms;
    uint16_t pause_ms;
} hk_wire_cadence_t;

typedef struct {
    uint64_t first_sample;    /* of the first word's step */
    uint16_t step_samples;    /* from word to word: 640 */
    uint16_t word_count;      /* 0 to HK_TRIGGER_FINGERPRINT_WORDS */
    const uint32_t *words;    /* word_count of them, caller's */
    const uint32_t *reliable; /* as many: the bits of each that count in a match, caller's */
    const uint8_t *usable;    /* (word_count + 7) / 8 bytes: bit i%8 of byte i/8 for word i, caller's */
} hk_wire_fingerprint_t;

#define HK_MEDIA_ID_BYTES 8u

/* What the device finds among its own known media: a hint for the cloud. */
typedef struct {
    bool is_set;
    uint8_t media_id[HK_MEDIA_ID_BYTES]; /* sent as 16 hexadecimal digits */
    uint16_t z_q4;
} hk_media_hint_t;

typedef struct {
    uint8_t event_id[HK_EVENT_ID_BYTES];
    uint32_t device_seq; /* triggers made since boot, from 0 */
    uint8_t event;       /* HK_EVENT_…: index in the catalogue */
    uint64_t event_start_sample;
    uint64_t trigger_sample;
    uint8_t score;
    uint8_t scores[HK_EVENT_COUNT]; /* in catalogue order */
    uint8_t sensitivity;            /* HK_SENSITIVITY_… */
    bool is_armed;
    hk_wire_cadence_t cadence;
    hk_wire_fingerprint_t fingerprint;
    uint8_t model_hash[HK_MODEL_HASH_BYTES];
    uint32_t head_version;
    uint8_t clip; /* HK_CLIP_… */
    hk_media_hint_t media;
} hk_trigger_t;

/* What sounds after a trigger, for each event that is not judged yet. */
typedef struct {
    const uint8_t *event_ids[HK_FURTHER_EVENTS_MAX]; /* caller's */
    uint8_t event_count;                             /* 1 to HK_FURTHER_EVENTS_MAX */
    hk_wire_fingerprint_t fingerprint;               /* up to HK_FURTHER_WORDS_MAX words */
    hk_media_hint_t media;
} hk_further_words_t;

typedef struct {
    uint8_t event_id[HK_EVENT_ID_BYTES];
    uint64_t first_sample;
    uint32_t sample_count;
    uint32_t trigger_offset; /* samples from first_sample to the trigger */
    uint32_t sample_rate_hz;
    uint16_t block_bytes;
    uint32_t data_bytes; /* of the ADPCM blocks that follow the prefix */
} hk_clip_t;

typedef struct {
    bool is_online;
    bool is_armed;
    uint8_t outbox_depth;
    uint8_t model_hash[HK_MODEL_HASH_BYTES];
    uint64_t samples_heard;
    uint32_t triggers_dropped;
    uint32_t clips_dropped;
    const char *board;    /* 1 to HK_NAME_MAX_CHARS, caller's */
    const char *firmware; /* 1 to HK_VERSION_MAX_CHARS, caller's */
    uint32_t set_version; /* of the known media in use; 0: none */
    int16_t set_code;     /* of the last set that was offered: 0 or HK_ERROR_… */
    uint32_t dismissed;   /* triggers that known media explained */
    bool is_siren_on;     /* sounding, or in one of its pauses */
} hk_status_t;

/* What the device hears now, for whoever looks. */
typedef struct {
    uint64_t samples_heard;
    uint8_t scores[HK_EVENT_COUNT];     /* smoothed, in catalogue order */
    uint8_t thresholds[HK_EVENT_COUNT]; /* that they are compared with; 0: the event is not listened for now */
} hk_live_scores_t;

#define HK_UPDATE_TAG_BYTES 8u

/* What has become of one update. */
typedef struct {
    const char *event; /* whose head it is; empty for other parts; caller's */
    uint32_t version;
    int16_t code; /* why it was rolled back or refused: HK_ERROR_… */
    uint8_t part; /* HK_PART_… */
    uint8_t fate; /* HK_FATE_… */
} hk_update_told_t;

typedef struct {
    uint8_t model_hash[HK_MODEL_HASH_BYTES];
    hk_update_told_t updates[HK_UPDATES_TOLD_MAX];
    uint8_t count;
    bool has_key;
} hk_installed_t;

#define HK_CLIP_PREFIX_MAX_BYTES 96u
#define HK_STATUS_MAX_BYTES 136u
#define HK_LIVE_SCORES_MAX_BYTES (24u + 8u * HK_EVENT_COUNT)
#define HK_FURTHER_WORDS_MAX_BYTES 352u
#define HK_INSTALLED_MAX_BYTES 352u
#define HK_CONTROL_MAX_BYTES 192u /* any link control message */

/* All encoders return 0 and set *length; HK_ERROR_CAPACITY (HK_TRIGGER_MAX_BYTES and the sizes above always suffice);
 * HK_ERROR_ARGUMENT for a value out of the schema's range. */
int hk_message_encode_trigger(const hk_trigger_t *trigger, uint8_t *out, size_t capacity, size_t *length);
int hk_message_encode_status(const hk_status_t *status, uint8_t *out, size_t capacity, size_t *length);
int hk_message_encode_live_scores(const hk_live_scores_t *live, uint8_t *out, size_t capacity, size_t *length);

int hk_message_encode_further_words(const hk_further_words_t *further, uint8_t *out, size_t capacity, size_t *length);

int hk_message_encode_installed(const hk_installed_t *installed, uint8_t *out, size_t capacity, size_t *length);

/* Writes everything of a clip up to its data: append clip->data_bytes bytes of ADPCM and the message is whole. */
int hk_message_encode_clip_prefix(const hk_clip_t *clip, uint8_t *out, size_t capacity, size_t *length);

/* ---- cloud to device ---- */

typedef struct {
    uint8_t event_id[HK_EVENT_ID_BYTES];
    uint8_t kind; /* HK_RECEIPT_… */
} hk_receipt_t;

typedef struct {
    uint8_t event_id[HK_EVENT_ID_BYTES];
    uint8_t verdict; /* HK_VERDICT_… */
    char reason[HK_REASON_MAX_CHARS + 1];
    char media_id[HK_MEDIA_MAX_CHARS + 1];    /* empty when absent */
    char media_title[HK_MEDIA_MAX_CHARS + 1]; /* empty when absent */
} hk_verdict_t;

typedef struct {
    bool is_set; /* false: the message does not name this event, which keeps its default */
    bool is_enabled;
    uint8_t sensitivity; /* HK_SENSITIVITY_… */
} hk_event_setting_t;

typedef struct {
    bool is_armed;
    uint8_t unknown_events; /* named, but not in this device's catalogue: ignored */
    hk_event_setting_t events[HK_EVENT_COUNT];
} hk_config_t;

typedef struct {
    uint8_t event_id[HK_EVENT_ID_BYTES];
    uint8_t command; /* HK_COMMAND_… */
} hk_command_t;

/* A piece of a set of known media. */
typedef struct {
    const uint8_t *data; /* in the bytes that were decoded */
    uint16_t data_bytes; /* 1 to HK_MEDIA_PIECE_BYTES */
    uint16_t offset;
    uint16_t total;
    uint32_t version;
    const uint8_t *hash; /* HK_MEDIA_HASH_BYTES, in the bytes that were decoded */
} hk_media_piece_t;

#define HK_MEDIA_HASH_BYTES 8u

/* A piece of a signed update. */
typedef struct {
    const uint8_t *data; /* in the bytes that were decoded */
    uint16_t data_bytes; /* 1 to HK_UPDATE_PIECE_BYTES */
    uint16_t offset;
    uint16_t total;
    const uint8_t *tag; /* HK_UPDATE_TAG_BYTES, in the bytes that were decoded */
} hk_update_piece_t;

/* All decoders return 0, or HK_ERROR_FORMAT for bytes that are not of the schema (the struct is then undefined). */
int hk_message_decode_receipt(const uint8_t *bytes, size_t n, hk_receipt_t *receipt);
int hk_message_decode_verdict(const uint8_t *bytes, size_t n, hk_verdict_t *verdict);
int hk_message_decode_config(const uint8_t *bytes, size_t n, hk_config_t *config);
int hk_message_decode_command(const uint8_t *bytes, size_t n, hk_command_t *command);
int hk_message_decode_media(const uint8_t *bytes, size_t n, hk_media_piece_t *piece);
int hk_message_decode_update(const uint8_t *bytes, size_t n, hk_update_piece_t *piece);

/* ---- link control ---- */

/* Bytes of a message, in the bytes that were decoded. NULL: the message does not name them. */
typedef struct {
    const uint8_t *bytes;
    size_t n;
} hk_span_t;

/* What a device is to keep over a restart; lengths are within the schema's bounds. */
typedef struct {
    hk_span_t device_id; /* checked */
    hk_span_t ssid;
    hk_span_t wifi_password;
    hk_span_t broker_host;
    hk_span_t update_key; /* HK_UPDATE_KEY_BYTES */
    bool has_broker_port;
    uint16_t broker_port;
} hk_provision_t;

typedef struct {
    uint8_t kind; /* HK_HOST_…: says which member holds */
    union {
        struct {
            uint16_t protocol;
        } hello;
        struct {
            char device_id[HK_DEVICE_ID_MAX_CHARS + 1]; /* checked; empty: the one that the device was provisioned with */
            uint8_t boot_id[HK_BOOT_ID_BYTES];
            bool has_utc_ms;
            uint64_t utc_ms;
        } configure;
        struct {
            uint64_t samples_available; /* since boot */
        } microphone;
        struct {
            bool is_open;
        } network;
        struct {
            bool is_on;
        } scores;
        struct {
            const uint8_t *data; /* in the bytes that were decoded */
            uint16_t data_bytes;
            uint16_t offset;
            uint16_t total;
        } head;
        hk_media_piece_t media;
        hk_provision_t provision;
        struct {
            const uint8_t *data; /* in the bytes that were decoded */
            uint16_t data_bytes;
            uint16_t offset;
            uint16_t total;
        } credentials;
    } u;
} hk_host_control_t;

/* Returns 0 or HK_ERROR_FORMAT (also for a device id that is not allowed). */
int hk_message_decode_host_control(const uint8_t *bytes, size_t n, hk_host_control_t *control);

typedef struct {
    uint8_t kind; /* HK_DEVICE_…: says which member holds */
    union {
        struct {
            uint16_t protocol;
            uint16_t max_payload;
            uint8_t model_hash[HK_MODEL_HASH_BYTES];
            const char *board;
            const char *firmware;
        } hello;
        struct {
            uint8_t channel;
            uint64_t total;
        } credit;
        struct {
            uint64_t samples_heard;
            uint8_t pending; /* triggers without receipt and clips not yet settled */
        } heard;
        struct {
            bool want_open;
        } network;
        struct {
            uint8_t event_id[HK_EVENT_ID_BYTES];
            uint8_t event;    /* index in the catalogue, or beyond it */
            const char *name; /* of an event beyond the catalogue; else not looked at */
            uint64_t event_start_sample;
            uint64_t trigger_sample;
            uint8_t score;
            hk_wire_cadence_t cadence;
            uint8_t clip;
        } event;
        struct {
            uint64_t samples_heard;
            uint32_t triggers_made;
            uint32_t triggers_dropped;
            uint32_t clips_dropped;
            uint8_t outbox_depth;
            uint32_t frames_received;
            uint32_t frames_lost;
            uint32_t crc_errors;
            uint32_t oversize_frames;
            uint32_t garbage_bytes;
        } stats;
        struct {
            int16_t code;     /* HK_ERROR_… */
            const char *text; /* up to HK_REASON_MAX_CHARS are sent */
        } error;
        struct {
            const char *event; /* empty after an error */
            uint32_t head_version;
            int16_t code; /* 0 or HK_ERROR_… */
        } head;
        struct {
            uint32_t set_version;
            int16_t set_code;
            uint32_t dismissed;
        } media;
        struct {
            uint8_t output; /* HK_OUTPUT_… */
            bool is_on;
        } output;
        struct {
            int16_t code; /* 0 or HK_ERROR_…: why nothing was written */
            uint8_t state; /* HK_VAULT_… */
            uint32_t writes;
            const char *device_id; /* texts are empty where there is nothing; so is a fingerprint of 0 bytes */
            const char *ssid;
            const char *broker_host;
            uint16_t broker_port;
            uint8_t key_fingerprint_bytes;
            uint8_t credentials_fingerprint_bytes;
            uint8_t key_fingerprint[HK_KEY_FINGERPRINT_BYTES];
            uint8_t credentials_fingerprint[HK_KEY_FINGERPRINT_BYTES];
        } vault;
    } u;
} hk_device_control_t;

int hk_message_encode_device_control(const hk_device_control_t *control, uint8_t *out, size_t capacity,
                                     size_t *length);

#endif /* HK_MESSAGES_H */
