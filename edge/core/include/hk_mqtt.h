/* An MQTT 3.1.1 client session over any byte stream. No I/O, no clock, no heap: the caller moves the bytes.
 *
 *   transport opened          hk_mqtt_open
 *   bytes received            hk_mqtt_receive, again and again until all are taken, handling one event each time
 *   now and then (< 1 s)      hk_mqtt_poll: time-outs, keep-alive
 *   transport can take bytes  hk_mqtt_output, write what it takes, hk_mqtt_output_taken with how many that were
 *   transport lost, error     hk_mqtt_close; open again later
 *
 * QoS 0 and 1 both ways. The session is persistent (clean_session = 0): the broker keeps what arrives while the
 * device is away. The session itself keeps no outgoing message beyond a connection: hk_mqtt_close forgets them, and
 * their owner (outbox, clip slot) offers them again, each known by its event id, so that a duplicate does no harm.
 *
 * What a caller passes by pointer stays the caller's and must stay unchanged: the configuration while the session is
 * used; a publish's topic, head and reader until HK_MQTT_PUBLISHED with its token, hk_mqtt_cancel or hk_mqtt_close.
 * Not for use from an interrupt. */
#ifndef HK_MQTT_H
#define HK_MQTT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_limits.h"

#define HK_MQTT_OUTPUT_BYTES 512u
#define HK_MQTT_INPUT_BYTES (2u + HK_MQTT_TOPIC_MAX_CHARS + 2u + HK_MQTT_INCOMING_MAX_BYTES)
#define HK_MQTT_ANSWER_TIMEOUT_MS 10000u /* for CONNACK, SUBACK, PINGRESP */
#define HK_MQTT_WAITING_ACKS 32u         /* PUBACKs to send; a broker has at most 20 messages under way by default */

typedef struct {
    const char *client_id; /* zero-terminated, not empty */
    const char *username;  /* NULL: none */
    const char *password;  /* NULL: none; only with a username */
    const char *will_topic; /* NULL: no last will */
    const uint8_t *will_payload;
    size_t will_length;
    bool will_is_retained; /* the will is QoS 1 */
    uint16_t keep_alive_seconds; /* 0: none */
    const char *const *filters;  /* subscribed to after each connect, QoS 1 */
    size_t filter_count;
} hk_mqtt_config_t;

/* Copies n bytes of a payload, from offset on, to out. Called from hk_mqtt_output, in order, as there is room. */
typedef void (*hk_mqtt_reader_t)(void *context, size_t offset, uint8_t *out, size_t n);

typedef struct {
    const char *topic; /* zero-terminated, up to HK_MQTT_TOPIC_MAX_CHARS */
    const uint8_t *head; /* first part of the payload; NULL when head_length is 0 */
    size_t head_length;
    hk_mqtt_reader_t reader; /* the rest of the payload; NULL when body_length is 0 */
    void *reader_context;
    size_t body_length;
    uint8_t qos; /* 0 or 1 */
    bool is_retained;
    uint32_t token; /* the caller's name for it, given back with HK_MQTT_PUBLISHED */
} hk_mqtt_publish_t;

typedef enum {
    HK_MQTT_CLOSED = 0,
    HK_MQTT_CONNECTING,  /* CONNECT is under way or waits for its CONNACK */
    HK_MQTT_SUBSCRIBING, /* SUBSCRIBE waits for its SUBACK */
    HK_MQTT_UP,          /* publish away */
    HK_MQTT_FAILED,      /* see hk_mqtt_error; close, then open again */
} hk_mqtt_state_t;

typedef enum {
    HK_MQTT_NOTHING = 0,
    HK_MQTT_CONNECTED, /* the state has become HK_MQTT_UP */
    HK_MQTT_MESSAGE,   /* topic and payload hold until the next call */
    HK_MQTT_PUBLISHED, /* the broker has acknowledged the publish with this token (QoS 1) */
} hk_mqtt_event_kind_t;

typedef struct {
    hk_mqtt_event_kind_t kind;
    uint32_t token;
    const char *topic; /* not zero-terminated */
    size_t topic_length;
    const uint8_t *payload;
    size_t payload_length;
    bool is_retained;
    bool is_duplicate;
} hk_mqtt_event_t;

/* Private: one publish between hk_mqtt_publish and its acknowledgement. */
typedef struct {
    hk_mqtt_publish_t publish;
    uint32_t order;
    uint16_t packet_id;
    uint8_t stage; /* free, waiting, being written, written */
} hk_mqtt_slot_t;

typedef struct {
    /* To be read freely. */
    uint32_t messages_too_large; /* incoming, skipped and acknowledged */
    uint8_t connack_code;        /* the broker's reason when a connect was refused */
    bool had_session;            /* the broker still knew this client */

    /* Private. */
    const hk_mqtt_config_t *config;
    hk_mqtt_state_t state;
    int error;
    uint32_t opened_ms;
    uint32_t ping_sent_ms;
    uint32_t last_output_ms;
    uint32_t last_input_ms;
    bool has_input; /* since the last poll */
    bool is_connect_due;
    bool is_subscribe_due;
    bool is_ping_due;
    bool is_ping_unanswered;
    bool is_disconnect_due;
    bool is_leaving;
    uint16_t next_packet_id;
    uint16_t subscribe_id;
    uint32_t next_order;
    hk_mqtt_slot_t slots[HK_MQTT_IN_FLIGHT];
    hk_mqtt_slot_t *active; /* whose payload is being written */
    size_t active_offset;   /* of its payload, head and body */
    uint16_t acks[HK_MQTT_WAITING_ACKS];
    size_t ack_count;
    size_t output_start;
    size_t output_end;
    uint8_t output[HK_MQTT_OUTPUT_BYTES];
    uint8_t input_stage;
    uint8_t input_header;
    uint8_t input_shift;
    uint32_t input_size;   /* of the packet's body */
    uint32_t input_length; /* of it received so far */
    uint8_t input[HK_MQTT_INPUT_BYTES];
} hk_mqtt_t;

/* Sets a session up, closed. Returns 0, or HK_ERROR_ARGUMENT where the configuration cannot be used (client id empty,
 * password without username, CONNECT or SUBSCRIBE longer than HK_MQTT_OUTPUT_BYTES). */
int hk_mqtt_init(hk_mqtt_t *mqtt, const hk_mqtt_config_t *config);

/* The transport is open: begin with CONNECT. Returns 0, or HK_ERROR_STATE unless closed. */
int hk_mqtt_open(hk_mqtt_t *mqtt, uint32_t now_ms);

/* The transport is gone or to be dropped: forget everything of this connection, publishes included. */
void hk_mqtt_close(hk_mqtt_t *mqtt);

/* Ends the session in good order, so that the broker does not publish the will: DISCONNECT follows the publish that is
 * being written, others are not begun. Returns 0 or HK_ERROR_STATE unless up; close when hk_mqtt_output gives 0. */
int hk_mqtt_disconnect(hk_mqtt_t *mqtt);

/* Takes bytes until something has happened or none are left; advances *bytes and reduces *n by what it took.
 * Returns 0 with *event set (HK_MQTT_NOTHING when all are taken), or the error that made the session fail:
 * HK_ERROR_REFUSED by the broker, HK_ERROR_PROTOCOL, HK_ERROR_STATE when it is closed or had failed. */
int hk_mqtt_receive(hk_mqtt_t *mqtt, const uint8_t **bytes, size_t *n, hk_mqtt_event_t *event);

/* Watches the clock. Returns 0, or HK_ERROR_TIMEOUT when the broker has not answered and the session fails. */
int hk_mqtt_poll(hk_mqtt_t *mqtt, uint32_t now_ms);

/* Takes a publish on, to be written in the order of the calls. The struct itself is copied.
 * Returns 0; HK_ERROR_STATE unless up; HK_ERROR_BUSY while HK_MQTT_IN_FLIGHT are under way; HK_ERROR_ARGUMENT. */
int hk_mqtt_publish(hk_mqtt_t *mqtt, const hk_mqtt_publish_t *publish);

/* Publishes that hk_mqtt_publish would take now. */
size_t hk_mqtt_room(const hk_mqtt_t *mqtt);

/* Forgets a publish, so that its payload may change; its acknowledgement is then no event. Returns 0; HK_ERROR_BUSY
 * while it is half written (try again later, or close); HK_ERROR_NOT_FOUND. */
int hk_mqtt_cancel(hk_mqtt_t *mqtt, uint32_t token);

/* What is to go out next: returns how many bytes and sets *bytes to them; 0 when nothing waits. */
size_t hk_mqtt_output(hk_mqtt_t *mqtt, const uint8_t **bytes);

/* Says that the transport took the first n bytes of hk_mqtt_output's. */
void hk_mqtt_output_taken(hk_mqtt_t *mqtt, size_t n, uint32_t now_ms);

hk_mqtt_state_t hk_mqtt_state(const hk_mqtt_t *mqtt);

/* Why the session failed: a negative hk_error.h value; 0 while it has not. */
int hk_mqtt_error(const hk_mqtt_t *mqtt);

#endif /* HK_MQTT_H */
