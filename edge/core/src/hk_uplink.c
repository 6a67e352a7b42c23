#include "hk_uplink.h"

#include <string.h>

#include "hk_error.h"
#include "hk_frontend_tables.h"

enum { TOKEN_TRIGGER = 1, TOKEN_CLIP = 2, TOKEN_STATUS = 3, TOKEN_FURTHER = 4, TOKEN_SCORES = 5, TOKEN_INSTALLED = 6 };

_Static_assert(HK_MQTT_IN_FLIGHT >= 4, "a trigger, a clip, further words and the status may be under way together");
_Static_assert(HK_LIVE_SCORES_MAX_BYTES <= HK_FURTHER_WORDS_MAX_BYTES, "they share a buffer");
_Static_assert(HK_OUTBOX_TRIGGERS + HK_CLIP_SLOT_OWNERS <= UINT8_MAX, "pending is a byte");

static const uint8_t subscribed_kinds[] = {HK_KIND_RECEIPT, HK_KIND_VERDICT, HK_KIND_CONFIG, HK_KIND_COMMAND,
                                           HK_KIND_MEDIA, HK_KIND_UPDATE};
#define ALL_PIECES "/+" /* of media, of an update */
_Static_assert(HK_INSTALLED_MAX_BYTES <= HK_FURTHER_WORDS_MAX_BYTES, "they share their memory");

static int init_session(hk_uplink_t *uplink)
{
    for (uint8_t kind = 0; kind < HK_KIND_COUNT; kind++) {
        const int status = hk_topic_build(uplink->topics[kind], sizeof uplink->topics[kind], uplink->device_id, kind);
        if (status != 0) {
            return status;
        }
    }
    strcat(uplink->topics[HK_KIND_MEDIA], ALL_PIECES); /* nothing is published there */
    strcat(uplink->topics[HK_KIND_UPDATE], ALL_PIECES);
    for (size_t i = 0; i < sizeof subscribed_kinds; i++) {
        uplink->filters[i] = uplink->topics[subscribed_kinds[i]];
    }
    size_t will_length = 0;
    const int status = hk_message_encode_status(&uplink->status, uplink->will, sizeof uplink->will, &will_length);
    if (status != 0) {
        return status;
    }
    uplink->mqtt_config = (hk_mqtt_config_t){
        .client_id = uplink->device_id,
        .will_topic = uplink->topics[HK_KIND_STATUS],
        .will_payload = uplink->will,
        .will_length = will_length,
        .will_is_retained = true,
        .keep_alive_seconds = HK_MQTT_KEEP_ALIVE_SECONDS,
        .filters = uplink->filters,
        .filter_count = sizeof subscribed_kinds,
    };
    return hk_mqtt_init(&uplink->mqtt, &uplink->mqtt_config);
}

int hk_uplink_init(hk_uplink_t *uplink, const char *device_id, const char *board, const char *firmware,
                   const uint8_t model_hash[HK_MODEL_HASH_BYTES], const hk_uplink_listener_t *told)
{
    memset(uplink, 0, sizeof *uplink);
    uplink->device_id = device_id;
    uplink->told = *told;
    uplink->status.board = board;
    uplink->status.firmware = firmware;
    memcpy(uplink->status.model_hash, model_hash, HK_MODEL_HASH_BYTES);
    hk_outbox_init(&uplink->outbox);
    hk_clip_slot_init(&uplink->slot);
    hk_further_init(&uplink->further);
    uplink->patience_ms = HK_UPLINK_FIRST_PATIENCE_MS;
    const int status = init_session(uplink); /* while the status still says offline: it becomes the last will */
    uplink->status.is_online = true;
    return status;
}

/* --- Triggers and their clips --- */

static void claim_clip(hk_uplink_t *uplink, hk_trigger_t *trigger)
{
    const hk_event_spec_t *spec = &hk_catalogue[trigger->event];
    uint8_t displaced = 0;
    trigger->clip = spec->clip;
    const int status = hk_clip_slot_claim(&uplink->slot, trigger->event_id, trigger->trigger_sample,
                                          spec->is_safety != 0, spec->clip == HK_CLIP_ALWAYS, &displaced);
    if (status != 0) {
        trigger->clip = HK_CLIP_NONE;
        uplink->status.clips_dropped++;
    }
    uplink->status.clips_dropped += displaced;
}

int hk_uplink_put(hk_uplink_t *uplink, hk_trigger_t *trigger)
{
    uint8_t payload[HK_TRIGGER_MAX_BYTES];
    size_t length = 0;
    claim_clip(uplink, trigger);
    int status = hk_message_encode_trigger(trigger, payload, sizeof payload, &length);
    if (status == 0) {
        status = hk_outbox_put(&uplink->outbox, trigger->event_id, hk_catalogue[trigger->event].is_safety != 0,
                               payload, length, NULL, NULL);
    }
    if (status != 0) {
        (void)hk_clip_slot_discard(&uplink->slot, trigger->event_id); /* audio of nothing that the cloud will know */
    } else {
        const hk_wire_fingerprint_t *words = &trigger->fingerprint;
        hk_further_open(&uplink->further, trigger,
                        words->first_sample + (uint64_t)words->word_count * words->step_samples, trigger->trigger_sample);
    }
    return status;
}

bool hk_uplink_withdraw(hk_uplink_t *uplink, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    const hk_outbox_entry_t *entry = hk_outbox_find(&uplink->outbox, event_id);
    if (entry == NULL || entry->is_sent) {
        return false;
    }
    (void)hk_outbox_receipt(&uplink->outbox, event_id);
    (void)hk_clip_slot_discard(&uplink->slot, event_id);
    (void)hk_further_close(&uplink->further, event_id);
    return true;
}

bool hk_uplink_wants_words(const hk_uplink_t *uplink, uint64_t samples_heard)
{
    return hk_mqtt_state(&uplink->mqtt) == HK_MQTT_UP && !uplink->is_further_under_way && !uplink->is_stopping
           && hk_further_is_due(&uplink->further, samples_heard);
}

void hk_uplink_offer_words(hk_uplink_t *uplink, const hk_listener_words_t *words, uint64_t samples_heard)
{
    if (hk_mqtt_cancel(&uplink->mqtt, TOKEN_SCORES) == HK_ERROR_BUSY) {
        return; /* live scores are just being written from the same buffer */
    }
    uint8_t usable[(HK_FURTHER_WORDS_MAX + 7) / 8];
    hk_further_words_t message;
    if (!hk_further_next(&uplink->further, words, samples_heard, usable, &message)) {
        return;
    }
    hk_mqtt_publish_t publish = {
        .topic = uplink->topics[HK_KIND_FINGERPRINT],
        .head = uplink->further_payload,
        .qos = 1,
        .token = TOKEN_FURTHER,
    };
    const int status = hk_message_encode_further_words(&message, uplink->further_payload,
                                                       sizeof uplink->further_payload, &publish.head_length);
    uplink->is_further_under_way = status == 0 && hk_mqtt_publish(&uplink->mqtt, &publish) == 0;
}

bool hk_uplink_wants_scores(const hk_uplink_t *uplink)
{
    return hk_mqtt_state(&uplink->mqtt) == HK_MQTT_UP && !uplink->is_stopping
           && hk_mqtt_room(&uplink->mqtt) == HK_MQTT_IN_FLIGHT;
}

void hk_uplink_offer_scores(hk_uplink_t *uplink, const hk_live_scores_t *live)
{
    hk_mqtt_publish_t publish = {
        .topic = uplink->topics[HK_KIND_SCORES],
        .head = uplink->further_payload,
        .qos = 0,
        .token = TOKEN_SCORES,
    };
    if (hk_message_encode_live_scores(live, uplink->further_payload, sizeof uplink->further_payload,
                                      &publish.head_length)
        == 0) {
        (void)hk_mqtt_publish(&uplink->mqtt, &publish);
    }
}

void hk_uplink_heard(hk_uplink_t *uplink, const hk_clip_ring_t *ring, uint64_t samples_heard)
{
    uplink->status.samples_heard = samples_heard;
    uplink->status.clips_dropped += (uint32_t)hk_clip_slot_update(&uplink->slot, ring, samples_heard);
}

void hk_uplink_set_armed(hk_uplink_t *uplink, bool is_armed)
{
    uplink->status.is_armed = is_armed;
    uplink->is_status_due = true;
}

void hk_uplink_set_media(hk_uplink_t *uplink, uint32_t set_version, int set_code, uint32_t dismissed)
{
    hk_status_t *status = &uplink->status;
    status->set_version = set_version;
    status->set_code = (int16_t)set_code;
    status->dismissed = dismissed;
    uplink->is_status_due = true;
}

void hk_uplink_set_siren(hk_uplink_t *uplink, bool is_on)
{
    uplink->status.is_siren_on = is_on;
    uplink->is_status_due = true;
}

void hk_uplink_tell_installed(hk_uplink_t *uplink)
{
    uplink->is_installed_due = true;
}

uint8_t hk_uplink_pending(const hk_uplink_t *uplink)
{
    return (uint8_t)(hk_outbox_depth(&uplink->outbox) + hk_clip_slot_pending(&uplink->slot));
}

/* --- What the cloud says --- */

static int handle_receipt(hk_uplink_t *uplink, const uint8_t *payload, size_t n)
{
    hk_receipt_t receipt;
    const int status = hk_message_decode_receipt(payload, n, &receipt);
    if (status == 0) {
        uplink->patience_ms = HK_UPLINK_FIRST_PATIENCE_MS; /* somebody is there */
    }
    if (status == 0 && receipt.kind == HK_RECEIPT_TRIGGER) {
        (void)hk_outbox_receipt(&uplink->outbox, receipt.event_id); /* late and double ones are counted there */
    } else if (status == 0) {
        (void)hk_clip_slot_receipt(&uplink->slot, receipt.event_id);
    }
    return status;
}

static int handle_verdict(hk_uplink_t *uplink, const uint8_t *payload, size_t n)
{
    hk_verdict_t verdict;
    const int status = hk_message_decode_verdict(payload, n, &verdict);
    if (status == 0) {
        (void)hk_clip_slot_settle(&uplink->slot, verdict.event_id);
        const uint8_t event = hk_further_close(&uplink->further, verdict.event_id);
        if (verdict.verdict == HK_VERDICT_MEDIA && event < HK_EVENT_COUNT) {
            uplink->told.on_explained(uplink->told.context, event);
        }
    }
    return status;
}

static int handle_command(hk_uplink_t *uplink, const uint8_t *payload, size_t n)
{
    hk_command_t command;
    const int status = hk_message_decode_command(payload, n, &command);
    /* A command for a clip that is gone is stale, not wrong. */
    if (status == 0 && command.command == HK_COMMAND_SEND_CLIP) {
        (void)hk_clip_slot_request(&uplink->slot, command.event_id);
    } else if (status == 0 && command.command == HK_COMMAND_DISCARD_CLIP) {
        (void)hk_clip_slot_discard(&uplink->slot, command.event_id);
    } else if (status == 0) {
        uplink->told.on_command(uplink->told.context, &command);
    }
    return status;
}

static int handle_media(hk_uplink_t *uplink, const uint8_t *payload, size_t n)
{
    if (n == 0) {
        return HK_OK; /* a retained piece was taken away */
    }
    hk_media_piece_t piece;
    const int status = hk_message_decode_media(payload, n, &piece);
    if (status == 0) {
        uplink->told.on_media(uplink->told.context, &piece);
    }
    return status;
}

static int handle_update(hk_uplink_t *uplink, const uint8_t *payload, size_t n)
{
    if (n == 0) {
        return HK_OK; /* a retained piece was taken away */
    }
    hk_update_piece_t piece;
    const int status = hk_message_decode_update(payload, n, &piece);
    if (status == 0) {
        uplink->told.on_update(uplink->told.context, &piece);
    }
    return status;
}

static void handle_message(hk_uplink_t *uplink, const hk_mqtt_event_t *event)
{
    uint8_t kind;
    int status = hk_topic_kind(event->topic, event->topic_length, uplink->device_id, &kind);
    if (status == 0) {
        switch (kind) {
        case HK_KIND_RECEIPT:
            status = handle_receipt(uplink, event->payload, event->payload_length);
            break;
        case HK_KIND_VERDICT:
            status = handle_verdict(uplink, event->payload, event->payload_length);
            break;
        case HK_KIND_COMMAND:
            status = handle_command(uplink, event->payload, event->payload_length);
            break;
        case HK_KIND_CONFIG:
            uplink->told.on_config(uplink->told.context, event->payload, event->payload_length);
            break;
        case HK_KIND_MEDIA:
            status = handle_media(uplink, event->payload, event->payload_length);
            break;
        case HK_KIND_UPDATE:
            status = handle_update(uplink, event->payload, event->payload_length);
            break;
        default:
            status = HK_ERROR_UNKNOWN;
        }
    }
    if (status != 0) {
        uplink->malformed_messages++;
    }
}

static void handle_published(hk_uplink_t *uplink, uint32_t token)
{
    switch (token) {
    case TOKEN_TRIGGER:
        uplink->is_trigger_under_way = false;
        hk_outbox_release(&uplink->outbox);
        break;
    case TOKEN_CLIP:
        hk_clip_slot_mark_sent(&uplink->slot);
        break;
    case TOKEN_STATUS:
        uplink->is_status_under_way = false;
        break;
    case TOKEN_FURTHER:
    case TOKEN_INSTALLED:
        uplink->is_further_under_way = false;
        break;
    default:
        break;
    }
}

int hk_uplink_receive(hk_uplink_t *uplink, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        hk_mqtt_event_t event;
        const int status = hk_mqtt_receive(&uplink->mqtt, &bytes, &n, &event);
        if (status != 0) {
            return status;
        }
        switch (event.kind) {
        case HK_MQTT_CONNECTED:
            hk_outbox_reconnected(&uplink->outbox);
            uplink->is_status_due = true;
            uplink->is_installed_due = true;
            break;
        case HK_MQTT_MESSAGE:
            handle_message(uplink, &event);
            break;
        case HK_MQTT_PUBLISHED:
            handle_published(uplink, event.token);
            break;
        case HK_MQTT_NOTHING:
            break;
        }
    }
    return 0;
}

/* --- What the device says --- */

static void publish_trigger(hk_uplink_t *uplink)
{
    const hk_outbox_entry_t *entry = hk_outbox_next_to_send(&uplink->outbox);
    if (entry == NULL || uplink->is_trigger_under_way) {
        return;
    }
    const hk_mqtt_publish_t publish = {
        .topic = uplink->topics[HK_KIND_TRIGGER],
        .head = entry->payload,
        .head_length = entry->length,
        .qos = 1,
        .token = TOKEN_TRIGGER,
    };
    if (hk_mqtt_publish(&uplink->mqtt, &publish) == 0) {
        uplink->is_trigger_under_way = true;
        (void)hk_outbox_hold(&uplink->outbox, entry->event_id);
        (void)hk_outbox_mark_sent(&uplink->outbox, entry->event_id);
    }
}

static void read_clip(void *context, size_t offset, uint8_t *out, size_t n)
{
    hk_clip_slot_read(context, offset, out, n);
}

static void publish_clip(hk_uplink_t *uplink)
{
    hk_clip_slot_t *slot = &uplink->slot;
    const hk_clip_owner_t *owner = hk_clip_slot_next_to_send(slot);
    if (owner == NULL) {
        return;
    }
    const hk_outbox_entry_t *trigger = hk_outbox_find(&uplink->outbox, owner->event_id);
    if (trigger != NULL && !trigger->is_sent) {
        return; /* the cloud should hear of the event before its audio */
    }
    hk_clip_t clip = {
        .first_sample = slot->clip.first_sample,
        .sample_count = slot->clip.sample_count,
        .trigger_offset = (uint32_t)(owner->trigger_sample - slot->clip.first_sample),
        .sample_rate_hz = HK_SAMPLE_RATE_HZ,
        .block_bytes = HK_CLIP_BLOCK_BYTES,
        .data_bytes = slot->clip.bytes,
    };
    memcpy(clip.event_id, owner->event_id, HK_EVENT_ID_BYTES);
    hk_mqtt_publish_t publish = {
        .topic = uplink->topics[HK_KIND_CLIP],
        .head = uplink->clip_prefix,
        .reader = read_clip,
        .reader_context = slot,
        .body_length = slot->clip.bytes,
        .qos = 1,
        .token = TOKEN_CLIP,
    };
    const int status = hk_message_encode_clip_prefix(&clip, uplink->clip_prefix, sizeof uplink->clip_prefix,
                                                     &publish.head_length);
    if (status == 0 && hk_mqtt_publish(&uplink->mqtt, &publish) == 0) {
        (void)hk_clip_slot_mark_sending(slot, owner->event_id);
    }
}

static void publish_status(hk_uplink_t *uplink)
{
    if (!uplink->is_status_due || uplink->is_status_under_way) {
        return;
    }
    uplink->status.triggers_dropped = uplink->outbox.dropped;
    uplink->status.outbox_depth = hk_outbox_depth(&uplink->outbox);
    hk_mqtt_publish_t publish = {
        .topic = uplink->topics[HK_KIND_STATUS],
        .head = uplink->status_payload,
        .qos = 1,
        .is_retained = true,
        .token = TOKEN_STATUS,
    };
    const int status = hk_message_encode_status(&uplink->status, uplink->status_payload,
                                                sizeof uplink->status_payload, &publish.head_length);
    if (status == 0 && hk_mqtt_publish(&uplink->mqtt, &publish) == 0) {
        uplink->is_status_due = false;
        uplink->is_status_under_way = true;
    }
}

static void publish_installed(hk_uplink_t *uplink)
{
    if (!uplink->is_installed_due || uplink->is_further_under_way
        || hk_mqtt_cancel(&uplink->mqtt, TOKEN_SCORES) == HK_ERROR_BUSY) {
        return;
    }
    hk_installed_t installed;
    uplink->told.describe(uplink->told.context, &installed);
    hk_mqtt_publish_t publish = {
        .topic = uplink->topics[HK_KIND_INSTALLED],
        .head = uplink->further_payload,
        .qos = 1,
        .is_retained = true,
        .token = TOKEN_INSTALLED,
    };
    const int status = hk_message_encode_installed(&installed, uplink->further_payload, sizeof uplink->further_payload,
                                                   &publish.head_length);
    if (status == 0 && hk_mqtt_publish(&uplink->mqtt, &publish) == 0) {
        uplink->is_installed_due = false;
        uplink->is_further_under_way = true;
    }
}

/* Offers again what the cloud should long have acknowledged. */
static void watch_receipts(hk_uplink_t *uplink, uint32_t now_ms)
{
    const bool is_trigger_out = hk_outbox_depth(&uplink->outbox) > 0 && !uplink->is_trigger_under_way
                                && hk_outbox_next_to_send(&uplink->outbox) == NULL;
    const bool is_clip_out = hk_clip_slot_is_awaiting_receipt(&uplink->slot);
    if (!is_trigger_out && !is_clip_out) {
        uplink->sent_ms = now_ms; /* the wait begins when all has gone out */
        return;
    }
    if (now_ms - uplink->sent_ms < uplink->patience_ms) {
        return;
    }
    uplink->sent_ms = now_ms;
    uplink->patience_ms *= 2;
    if (uplink->patience_ms > HK_UPLINK_LONGEST_PATIENCE_MS) {
        uplink->patience_ms = HK_UPLINK_LONGEST_PATIENCE_MS;
    }
    if (is_trigger_out) {
        hk_outbox_reconnected(&uplink->outbox);
    }
    if (is_clip_out) {
        hk_clip_slot_send_again(&uplink->slot);
    }
}

int hk_uplink_poll(hk_uplink_t *uplink, uint32_t now_ms)
{
    const int status = hk_mqtt_poll(&uplink->mqtt, now_ms);
    if (status != 0 || hk_mqtt_state(&uplink->mqtt) != HK_MQTT_UP) {
        return status;
    }
    publish_status(uplink);
    if (uplink->is_stopping) {
        if (!uplink->is_status_due && !uplink->is_status_under_way && !uplink->is_farewell_said) {
            uplink->is_farewell_said = hk_mqtt_disconnect(&uplink->mqtt) == 0;
        }
        return 0;
    }
    watch_receipts(uplink, now_ms);
    publish_trigger(uplink);
    publish_clip(uplink);
    publish_installed(uplink);
    return 0;
}

/* --- The connection --- */

void hk_uplink_open(hk_uplink_t *uplink, uint32_t now_ms)
{
    (void)hk_mqtt_open(&uplink->mqtt, now_ms); /* an open one goes on */
}

void hk_uplink_close(hk_uplink_t *uplink)
{
    hk_mqtt_close(&uplink->mqtt);
    hk_clip_slot_disconnected(&uplink->slot);
    hk_outbox_release(&uplink->outbox);
    uplink->is_trigger_under_way = false;
    uplink->is_status_under_way = false;
    uplink->is_further_under_way = false; /* lost; the trigger is not */
}

size_t hk_uplink_output(hk_uplink_t *uplink, const uint8_t **bytes)
{
    return hk_mqtt_output(&uplink->mqtt, bytes);
}

void hk_uplink_output_taken(hk_uplink_t *uplink, size_t n, uint32_t now_ms)
{
    hk_mqtt_output_taken(&uplink->mqtt, n, now_ms);
}

void hk_uplink_stop(hk_uplink_t *uplink)
{
    uplink->is_stopping = true;
    uplink->status.is_online = false;
    uplink->is_status_due = true;
}

bool hk_uplink_is_stopped(hk_uplink_t *uplink)
{
    const uint8_t *bytes;
    const bool has_session = hk_mqtt_state(&uplink->mqtt) == HK_MQTT_UP && !uplink->is_farewell_said;
    return !has_session && hk_mqtt_output(&uplink->mqtt, &bytes) == 0;
}
