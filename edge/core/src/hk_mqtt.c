#include "hk_mqtt.h"

#include <string.h>

#include "hk_error.h"

/* Packet types, in the upper half of a packet's first byte, and the flags that go with them (MQTT 3.1.1, chapter 2). */
enum {
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH = 0x30,
    PUBACK = 0x40,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
    PINGREQ = 0xC0,
    PINGRESP = 0xD0,
    DISCONNECT = 0xE0,

    TYPE_MASK = 0xF0,
    PUBLISH_RETAIN = 0x01,
    PUBLISH_QOS_SHIFT = 1,
    PUBLISH_DUPLICATE = 0x08,

    CONNECT_WILL = 0x04,
    CONNECT_WILL_QOS_1 = 0x08,
    CONNECT_WILL_RETAIN = 0x20,
    CONNECT_PASSWORD = 0x40,
    CONNECT_USERNAME = 0x80,

    SUBACK_FAILURE = 0x80,
    PROTOCOL_LEVEL = 4,
};

enum { SLOT_FREE = 0, SLOT_WAITING, SLOT_WRITING, SLOT_WRITTEN };
enum { INPUT_HEADER = 0, INPUT_SIZE, INPUT_BODY };

#define LENGTH_FIELD_MAX 4u               /* bytes of a "remaining length" */
#define REMAINING_MAX 268435455u          /* that they can tell */
#define PUBLISH_HEADER_MAX (1u + LENGTH_FIELD_MAX + 2u + HK_MQTT_TOPIC_MAX_CHARS + 2u)
#define ACK_BYTES 4u

_Static_assert(PUBLISH_HEADER_MAX < HK_MQTT_OUTPUT_BYTES, "a publish's header is built in one piece");
_Static_assert(HK_MQTT_IN_FLIGHT >= 1 && HK_MQTT_IN_FLIGHT < UINT8_MAX, "slots are counted in 8 bits");

static int fail(hk_mqtt_t *mqtt, int error)
{
    mqtt->state = HK_MQTT_FAILED;
    mqtt->error = error;
    mqtt->active = NULL;
    mqtt->output_start = 0;
    mqtt->output_end = 0;
    return error;
}

/* ---- writing packets into the output buffer ---- */

static size_t room(const hk_mqtt_t *mqtt)
{
    return sizeof mqtt->output - mqtt->output_end;
}

static void put_u8(hk_mqtt_t *mqtt, uint8_t value)
{
    mqtt->output[mqtt->output_end++] = value;
}

static void put_u16(hk_mqtt_t *mqtt, uint16_t value)
{
    put_u8(mqtt, (uint8_t)(value >> 8));
    put_u8(mqtt, (uint8_t)value);
}

static void put_remaining_length(hk_mqtt_t *mqtt, size_t length)
{
    do {
        const uint8_t digit = (uint8_t)(length & 0x7Fu);
        length >>= 7;
        put_u8(mqtt, (uint8_t)(digit | (length > 0 ? 0x80u : 0u)));
    } while (length > 0);
}

static void put_block(hk_mqtt_t *mqtt, const void *bytes, size_t n)
{
    put_u16(mqtt, (uint16_t)n);
    if (n > 0) {
        memcpy(mqtt->output + mqtt->output_end, bytes, n);
        mqtt->output_end += n;
    }
}

static size_t text_block_size(const char *text)
{
    return text == NULL ? 0 : 2u + strlen(text);
}

static size_t connect_size(const hk_mqtt_config_t *config)
{
    const size_t variable_header = 10;
    size_t size = variable_header + text_block_size(config->client_id);
    if (config->will_topic != NULL) {
        size += text_block_size(config->will_topic) + 2u + config->will_length;
    }
    return size + text_block_size(config->username) + text_block_size(config->password);
}

static size_t subscribe_size(const hk_mqtt_config_t *config)
{
    size_t size = 2;
    for (size_t i = 0; i < config->filter_count; i++) {
        size += text_block_size(config->filters[i]) + 1u;
    }
    return size;
}

static void write_connect(hk_mqtt_t *mqtt)
{
    const hk_mqtt_config_t *config = mqtt->config;
    unsigned flags = 0;
    if (config->will_topic != NULL) {
        flags |= CONNECT_WILL | CONNECT_WILL_QOS_1 | (config->will_is_retained ? CONNECT_WILL_RETAIN : 0u);
    }
    flags |= config->username != NULL ? CONNECT_USERNAME : 0u;
    flags |= config->password != NULL ? CONNECT_PASSWORD : 0u;
    put_u8(mqtt, CONNECT);
    put_remaining_length(mqtt, connect_size(config));
    put_block(mqtt, "MQTT", 4);
    put_u8(mqtt, PROTOCOL_LEVEL);
    put_u8(mqtt, (uint8_t)flags);
    put_u16(mqtt, config->keep_alive_seconds);
    put_block(mqtt, config->client_id, strlen(config->client_id));
    if (config->will_topic != NULL) {
        put_block(mqtt, config->will_topic, strlen(config->will_topic));
        put_block(mqtt, config->will_payload, config->will_length);
    }
    if (config->username != NULL) {
        put_block(mqtt, config->username, strlen(config->username));
    }
    if (config->password != NULL) {
        put_block(mqtt, config->password, strlen(config->password));
    }
}

/* Packet ids are 1 to 65535 and not those of anything that still waits for its acknowledgement. */
static uint16_t take_packet_id(hk_mqtt_t *mqtt)
{
    for (;;) {
        mqtt->next_packet_id = (uint16_t)(mqtt->next_packet_id + 1u);
        bool is_taken = mqtt->next_packet_id == 0 || mqtt->next_packet_id == mqtt->subscribe_id;
        for (size_t i = 0; i < HK_MQTT_IN_FLIGHT; i++) {
            const hk_mqtt_slot_t *slot = &mqtt->slots[i];
            is_taken = is_taken || (slot->stage != SLOT_FREE && slot->packet_id == mqtt->next_packet_id);
        }
        if (!is_taken) {
            return mqtt->next_packet_id;
        }
    }
}

static void write_subscribe(hk_mqtt_t *mqtt)
{
    mqtt->subscribe_id = take_packet_id(mqtt);
    put_u8(mqtt, SUBSCRIBE);
    put_remaining_length(mqtt, subscribe_size(mqtt->config));
    put_u16(mqtt, mqtt->subscribe_id);
    for (size_t i = 0; i < mqtt->config->filter_count; i++) {
        const char *filter = mqtt->config->filters[i];
        put_block(mqtt, filter, strlen(filter));
        put_u8(mqtt, 1);
    }
}

static void write_acks(hk_mqtt_t *mqtt)
{
    size_t written = 0;
    while (written < mqtt->ack_count && room(mqtt) >= ACK_BYTES) {
        put_u8(mqtt, PUBACK);
        put_u8(mqtt, 2);
        put_u16(mqtt, mqtt->acks[written++]);
    }
    mqtt->ack_count -= written;
    memmove(mqtt->acks, mqtt->acks + written, mqtt->ack_count * sizeof mqtt->acks[0]);
}

static size_t payload_size(const hk_mqtt_publish_t *publish)
{
    return publish->head_length + publish->body_length;
}

static void write_publish_header(hk_mqtt_t *mqtt, hk_mqtt_slot_t *slot)
{
    const hk_mqtt_publish_t *publish = &slot->publish;
    const size_t topic_length = strlen(publish->topic);
    const unsigned flags =
        (unsigned)publish->qos << PUBLISH_QOS_SHIFT | (publish->is_retained ? PUBLISH_RETAIN : 0u);
    put_u8(mqtt, (uint8_t)(PUBLISH | flags));
    put_remaining_length(mqtt, 2u + topic_length + (publish->qos > 0 ? 2u : 0u) + payload_size(publish));
    put_block(mqtt, publish->topic, topic_length);
    if (publish->qos > 0) {
        put_u16(mqtt, slot->packet_id);
    }
    slot->stage = SLOT_WRITING;
    mqtt->active = slot;
    mqtt->active_offset = 0;
}

/* As much of the payload as there is room for: first the head from memory, then the body from its reader. */
static void write_payload(hk_mqtt_t *mqtt)
{
    hk_mqtt_slot_t *slot = mqtt->active;
    const hk_mqtt_publish_t *publish = &slot->publish;
    while (mqtt->active_offset < payload_size(publish) && room(mqtt) > 0) {
        uint8_t *out = mqtt->output + mqtt->output_end;
        const size_t offset = mqtt->active_offset;
        const bool is_head = offset < publish->head_length;
        const size_t left = is_head ? publish->head_length - offset : payload_size(publish) - offset;
        const size_t n = left < room(mqtt) ? left : room(mqtt);
        if (is_head) {
            memcpy(out, publish->head + offset, n);
        } else {
            publish->reader(publish->reader_context, offset - publish->head_length, out, n);
        }
        mqtt->output_end += n;
        mqtt->active_offset += n;
    }
    if (mqtt->active_offset == payload_size(publish)) {
        slot->stage = publish->qos > 0 ? SLOT_WRITTEN : SLOT_FREE;
        mqtt->active = NULL;
    }
}

static hk_mqtt_slot_t *next_waiting(hk_mqtt_t *mqtt)
{
    hk_mqtt_slot_t *next = NULL;
    for (size_t i = 0; i < HK_MQTT_IN_FLIGHT; i++) {
        hk_mqtt_slot_t *slot = &mqtt->slots[i];
        if (slot->stage == SLOT_WAITING && (next == NULL || (int32_t)(slot->order - next->order) < 0)) {
            next = slot;
        }
    }
    return next;
}

/* Fills the empty output buffer with what is to go out next. A packet is never begun inside another. */
static void refill(hk_mqtt_t *mqtt)
{
    mqtt->output_start = 0;
    mqtt->output_end = 0;
    if (mqtt->is_connect_due) {
        write_connect(mqtt);
        mqtt->is_connect_due = false;
        return;
    }
    if (mqtt->active != NULL) {
        write_payload(mqtt);
        return;
    }
    if (mqtt->state != HK_MQTT_SUBSCRIBING && mqtt->state != HK_MQTT_UP) {
        return;
    }
    if (mqtt->is_subscribe_due) {
        write_subscribe(mqtt);
        mqtt->is_subscribe_due = false;
        return;
    }
    write_acks(mqtt);
    if (mqtt->is_ping_due && room(mqtt) >= 2) {
        put_u8(mqtt, PINGREQ);
        put_u8(mqtt, 0);
        mqtt->is_ping_due = false;
    }
    if (mqtt->is_disconnect_due) {
        if (room(mqtt) >= 2) {
            put_u8(mqtt, DISCONNECT);
            put_u8(mqtt, 0);
            mqtt->is_disconnect_due = false;
            mqtt->is_leaving = true;
        }
        return;
    }
    hk_mqtt_slot_t *slot = mqtt->is_leaving ? NULL : next_waiting(mqtt);
    if (slot != NULL && room(mqtt) >= PUBLISH_HEADER_MAX) {
        write_publish_header(mqtt, slot);
        write_payload(mqtt);
    }
}

size_t hk_mqtt_output(hk_mqtt_t *mqtt, const uint8_t **bytes)
{
    if (mqtt->state == HK_MQTT_CLOSED || mqtt->state == HK_MQTT_FAILED) {
        *bytes = mqtt->output;
        return 0;
    }
    if (mqtt->output_start == mqtt->output_end) {
        refill(mqtt);
    }
    *bytes = mqtt->output + mqtt->output_start;
    return mqtt->output_end - mqtt->output_start;
}

void hk_mqtt_output_taken(hk_mqtt_t *mqtt, size_t n, uint32_t now_ms)
{
    const size_t waiting = mqtt->output_end - mqtt->output_start;
    mqtt->output_start += n < waiting ? n : waiting;
    if (n > 0) {
        mqtt->last_output_ms = now_ms;
    }
}

/* ---- the session ---- */

int hk_mqtt_init(hk_mqtt_t *mqtt, const hk_mqtt_config_t *config)
{
    const bool is_usable = config->client_id != NULL && config->client_id[0] != '\0'
                           && (config->password == NULL || config->username != NULL)
                           && (config->will_payload != NULL || config->will_length == 0);
    memset(mqtt, 0, sizeof *mqtt);
    mqtt->config = config;
    if (!is_usable || 1u + LENGTH_FIELD_MAX + connect_size(config) > sizeof mqtt->output
        || 1u + LENGTH_FIELD_MAX + subscribe_size(config) > sizeof mqtt->output) {
        return HK_ERROR_ARGUMENT;
    }
    return HK_OK;
}

int hk_mqtt_open(hk_mqtt_t *mqtt, uint32_t now_ms)
{
    if (mqtt->state != HK_MQTT_CLOSED) {
        return HK_ERROR_STATE;
    }
    mqtt->state = HK_MQTT_CONNECTING;
    mqtt->error = HK_OK;
    mqtt->is_connect_due = true;
    mqtt->opened_ms = now_ms;
    mqtt->last_output_ms = now_ms;
    mqtt->last_input_ms = now_ms;
    return HK_OK;
}

void hk_mqtt_close(hk_mqtt_t *mqtt)
{
    const hk_mqtt_config_t *config = mqtt->config;
    const uint32_t messages_too_large = mqtt->messages_too_large;
    const uint16_t next_packet_id = mqtt->next_packet_id;
    memset(mqtt, 0, sizeof *mqtt);
    mqtt->config = config;
    mqtt->messages_too_large = messages_too_large;
    mqtt->next_packet_id = next_packet_id;
}

int hk_mqtt_disconnect(hk_mqtt_t *mqtt)
{
    if (mqtt->state != HK_MQTT_UP) {
        return HK_ERROR_STATE;
    }
    mqtt->is_disconnect_due = !mqtt->is_leaving;
    return HK_OK;
}

int hk_mqtt_poll(hk_mqtt_t *mqtt, uint32_t now_ms)
{
    if (mqtt->has_input) {
        mqtt->last_input_ms = now_ms;
        mqtt->has_input = false;
    }
    if (mqtt->state == HK_MQTT_CONNECTING || mqtt->state == HK_MQTT_SUBSCRIBING) {
        if (now_ms - mqtt->opened_ms > HK_MQTT_ANSWER_TIMEOUT_MS) {
            return fail(mqtt, HK_ERROR_TIMEOUT);
        }
        return HK_OK;
    }
    if (mqtt->state != HK_MQTT_UP || mqtt->config->keep_alive_seconds == 0) {
        return HK_OK;
    }
    if (mqtt->is_ping_unanswered) {
        if (now_ms - mqtt->ping_sent_ms > HK_MQTT_ANSWER_TIMEOUT_MS) {
            return fail(mqtt, HK_ERROR_TIMEOUT);
        }
        return HK_OK;
    }
    /* Silence of either side calls for a ping: ours would end the session at the broker, the broker's may be death. */
    const uint32_t quiet_ms = mqtt->config->keep_alive_seconds * 750u;
    if (now_ms - mqtt->last_output_ms >= quiet_ms || now_ms - mqtt->last_input_ms >= quiet_ms) {
        mqtt->is_ping_due = true;
        mqtt->is_ping_unanswered = true;
        mqtt->ping_sent_ms = now_ms;
    }
    return HK_OK;
}

size_t hk_mqtt_room(const hk_mqtt_t *mqtt)
{
    size_t n = 0;
    if (mqtt->state != HK_MQTT_UP || mqtt->is_disconnect_due || mqtt->is_leaving) {
        return 0;
    }
    for (size_t i = 0; i < HK_MQTT_IN_FLIGHT; i++) {
        n += mqtt->slots[i].stage == SLOT_FREE ? 1u : 0u;
    }
    return n;
}

static bool is_publishable(const hk_mqtt_publish_t *publish)
{
    if (publish->topic == NULL || publish->qos > 1) {
        return false;
    }
    const size_t topic_length = strlen(publish->topic);
    return topic_length > 0 && topic_length <= HK_MQTT_TOPIC_MAX_CHARS
           && (publish->head != NULL || publish->head_length == 0)
           && (publish->reader != NULL || publish->body_length == 0)
           && publish->head_length <= REMAINING_MAX / 2
           && publish->body_length <= REMAINING_MAX / 2 - PUBLISH_HEADER_MAX;
}

int hk_mqtt_publish(hk_mqtt_t *mqtt, const hk_mqtt_publish_t *publish)
{
    if (!is_publishable(publish)) {
        return HK_ERROR_ARGUMENT;
    }
    if (mqtt->state != HK_MQTT_UP || mqtt->is_disconnect_due || mqtt->is_leaving) {
        return HK_ERROR_STATE;
    }
    for (size_t i = 0; i < HK_MQTT_IN_FLIGHT; i++) {
        hk_mqtt_slot_t *slot = &mqtt->slots[i];
        if (slot->stage == SLOT_FREE) {
            slot->publish = *publish;
            slot->packet_id = publish->qos > 0 ? take_packet_id(mqtt) : 0;
            slot->order = mqtt->next_order++;
            slot->stage = SLOT_WAITING;
            return HK_OK;
        }
    }
    return HK_ERROR_BUSY;
}

int hk_mqtt_cancel(hk_mqtt_t *mqtt, uint32_t token)
{
    for (size_t i = 0; i < HK_MQTT_IN_FLIGHT; i++) {
        hk_mqtt_slot_t *slot = &mqtt->slots[i];
        if (slot->stage == SLOT_FREE || slot->publish.token != token) {
            continue;
        }
        if (slot->stage == SLOT_WRITING) {
            return HK_ERROR_BUSY;
        }
        slot->stage = SLOT_FREE;
        return HK_OK;
    }
    return HK_ERROR_NOT_FOUND;
}

hk_mqtt_state_t hk_mqtt_state(const hk_mqtt_t *mqtt)
{
    return mqtt->state;
}

int hk_mqtt_error(const hk_mqtt_t *mqtt)
{
    return mqtt->error;
}

/* ---- reading packets ---- */

static uint16_t load_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void become_up(hk_mqtt_t *mqtt, hk_mqtt_event_t *event)
{
    mqtt->state = HK_MQTT_UP;
    event->kind = HK_MQTT_CONNECTED;
}

static int take_connack(hk_mqtt_t *mqtt, hk_mqtt_event_t *event)
{
    if (mqtt->state != HK_MQTT_CONNECTING || mqtt->input_size != 2) {
        return fail(mqtt, HK_ERROR_PROTOCOL);
    }
    mqtt->connack_code = mqtt->input[1];
    if (mqtt->connack_code != 0) {
        return fail(mqtt, HK_ERROR_REFUSED);
    }
    mqtt->had_session = (mqtt->input[0] & 1u) != 0;
    if (mqtt->config->filter_count == 0) {
        become_up(mqtt, event);
    } else {
        mqtt->state = HK_MQTT_SUBSCRIBING;
        mqtt->is_subscribe_due = true;
    }
    return HK_OK;
}

static int take_suback(hk_mqtt_t *mqtt, hk_mqtt_event_t *event)
{
    if (mqtt->state != HK_MQTT_SUBSCRIBING || mqtt->input_size != 2 + mqtt->config->filter_count
        || load_u16(mqtt->input) != mqtt->subscribe_id) {
        return fail(mqtt, HK_ERROR_PROTOCOL);
    }
    for (size_t i = 0; i < mqtt->config->filter_count; i++) {
        if (mqtt->input[2 + i] == SUBACK_FAILURE) {
            return fail(mqtt, HK_ERROR_REFUSED);
        }
    }
    mqtt->subscribe_id = 0;
    become_up(mqtt, event);
    return HK_OK;
}

/* An acknowledgement of what was cancelled finds no slot, which is no fault. */
static int take_puback(hk_mqtt_t *mqtt, hk_mqtt_event_t *event)
{
    if (mqtt->input_size != 2) {
        return fail(mqtt, HK_ERROR_PROTOCOL);
    }
    for (size_t i = 0; i < HK_MQTT_IN_FLIGHT; i++) {
        hk_mqtt_slot_t *slot = &mqtt->slots[i];
        if (slot->stage == SLOT_WRITTEN && slot->packet_id == load_u16(mqtt->input)) {
            slot->stage = SLOT_FREE;
            event->kind = HK_MQTT_PUBLISHED;
            event->token = slot->publish.token;
        }
    }
    return HK_OK;
}

static int take_publish(hk_mqtt_t *mqtt, hk_mqtt_event_t *event)
{
    const unsigned qos = (mqtt->input_header >> PUBLISH_QOS_SHIFT) & 3u;
    const size_t held = mqtt->input_size < sizeof mqtt->input ? mqtt->input_size : sizeof mqtt->input;
    if (qos > 1 || held < 2) {
        return fail(mqtt, HK_ERROR_PROTOCOL);
    }
    const size_t topic_length = load_u16(mqtt->input);
    const size_t start = 2u + topic_length + (qos > 0 ? 2u : 0u);
    if (start > held) {
        return fail(mqtt, HK_ERROR_PROTOCOL);
    }
    if (qos > 0) {
        if (mqtt->ack_count == HK_MQTT_WAITING_ACKS) {
            return fail(mqtt, HK_ERROR_PROTOCOL);
        }
        mqtt->acks[mqtt->ack_count++] = load_u16(mqtt->input + start - 2);
    }
    if (mqtt->input_size - start > HK_MQTT_INCOMING_MAX_BYTES || mqtt->input_size > sizeof mqtt->input) {
        /* Acknowledged all the same: the broker would send it again for ever. */
        mqtt->messages_too_large++;
        return HK_OK;
    }
    event->kind = HK_MQTT_MESSAGE;
    event->topic = (const char *)mqtt->input + 2;
    event->topic_length = topic_length;
    event->payload = mqtt->input + start;
    event->payload_length = mqtt->input_size - start;
    event->is_retained = (mqtt->input_header & PUBLISH_RETAIN) != 0;
    event->is_duplicate = (mqtt->input_header & PUBLISH_DUPLICATE) != 0;
    return HK_OK;
}

static int take_packet(hk_mqtt_t *mqtt, hk_mqtt_event_t *event)
{
    switch (mqtt->input_header & TYPE_MASK) {
    case CONNACK:
        return take_connack(mqtt, event);
    case SUBACK:
        return take_suback(mqtt, event);
    case PUBACK:
        return take_puback(mqtt, event);
    case PUBLISH:
        return take_publish(mqtt, event);
    case PINGRESP:
        mqtt->is_ping_unanswered = false;
        return HK_OK;
    default:
        return fail(mqtt, HK_ERROR_PROTOCOL);
    }
}

/* A first byte that no broker sends here ends the session at once, not when all that it announces has come. */
static int take_header(hk_mqtt_t *mqtt, uint8_t byte)
{
    const bool is_early = mqtt->state == HK_MQTT_CONNECTING;
    const bool is_answer = byte == SUBACK || byte == PUBACK || byte == PINGRESP || (byte & TYPE_MASK) == PUBLISH;
    if (is_early ? byte != CONNACK : !is_answer) {
        return fail(mqtt, HK_ERROR_PROTOCOL);
    }
    mqtt->input_header = byte;
    mqtt->input_size = 0;
    mqtt->input_length = 0;
    mqtt->input_shift = 0;
    mqtt->input_stage = INPUT_SIZE;
    return HK_OK;
}

/* One byte of a "remaining length": seven bits each, the lowest first, the eighth says that more follow. */
static int take_size_byte(hk_mqtt_t *mqtt, uint8_t byte)
{
    mqtt->input_size |= (uint32_t)(byte & 0x7Fu) << mqtt->input_shift;
    mqtt->input_shift = (uint8_t)(mqtt->input_shift + 7u);
    if ((byte & 0x80u) == 0) {
        const bool is_publish = (mqtt->input_header & TYPE_MASK) == PUBLISH;
        if (!is_publish && mqtt->input_size > sizeof mqtt->input) {
            return fail(mqtt, HK_ERROR_PROTOCOL);
        }
        mqtt->input_stage = INPUT_BODY;
    } else if (mqtt->input_shift == 7u * LENGTH_FIELD_MAX) {
        return fail(mqtt, HK_ERROR_PROTOCOL);
    }
    return HK_OK;
}

/* Stores what fits of the packet's body and passes over the rest. */
static void take_body(hk_mqtt_t *mqtt, const uint8_t **bytes, size_t *n)
{
    const size_t missing = mqtt->input_size - mqtt->input_length;
    const size_t taken = *n < missing ? *n : missing;
    if (mqtt->input_length < sizeof mqtt->input) {
        const size_t space = sizeof mqtt->input - mqtt->input_length;
        memcpy(mqtt->input + mqtt->input_length, *bytes, taken < space ? taken : space);
    }
    mqtt->input_length += (uint32_t)taken;
    *bytes += taken;
    *n -= taken;
}

int hk_mqtt_receive(hk_mqtt_t *mqtt, const uint8_t **bytes, size_t *n, hk_mqtt_event_t *event)
{
    memset(event, 0, sizeof *event);
    if (mqtt->state == HK_MQTT_CLOSED || mqtt->state == HK_MQTT_FAILED) {
        return HK_ERROR_STATE;
    }
    mqtt->has_input = mqtt->has_input || *n > 0;
    while (event->kind == HK_MQTT_NOTHING && *n > 0) {
        int status = HK_OK;
        if (mqtt->input_stage == INPUT_HEADER) {
            status = take_header(mqtt, **bytes);
            (*bytes)++;
            (*n)--;
        } else if (mqtt->input_stage == INPUT_SIZE) {
            status = take_size_byte(mqtt, **bytes);
            (*bytes)++;
            (*n)--;
        } else {
            take_body(mqtt, bytes, n);
        }
        if (status == HK_OK && mqtt->input_stage == INPUT_BODY && mqtt->input_length == mqtt->input_size) {
            mqtt->input_stage = INPUT_HEADER;
            status = take_packet(mqtt, event);
        }
        if (status != HK_OK) {
            return status;
        }
    }
    return HK_OK;
}
