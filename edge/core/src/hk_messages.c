#include "hk_messages.h"

#include <string.h>

#include "hk_crc32.h"
#include "hk_error.h"
#include "hk_wire_decode.h"
#include "hk_wire_encode.h"

#define CODEC "ima-adpcm"
#define KIND_SEPARATOR "/"

_Static_assert(HK_EVENT_COUNT <= HK_SCORES_MAX, "a trigger can name every head");
_Static_assert(HK_EVENT_ID_BYTES == HK_BOOT_ID_BYTES + 8, "an event id is boot id, sequence and CRC-32");
_Static_assert(HK_CONTROL_MAX_BYTES <= HK_LINK_PAYLOAD_MAX_BYTES, "a control message fits into one frame");
_Static_assert(sizeof HK_TOPIC_PREFIX + HK_DEVICE_ID_MAX_CHARS + 13 <= HK_MQTT_TOPIC_MAX_CHARS,
               "every topic of the longest device id fits");
/* A trigger's fingerprint, its scores (4 bytes each with their event's number), and 192 bytes of all the rest. */
_Static_assert(8 * HK_TRIGGER_FINGERPRINT_WORDS + (HK_TRIGGER_FINGERPRINT_WORDS + 7) / 8 + 4 * HK_SCORES_MAX + 192
                   <= HK_TRIGGER_MAX_BYTES,
               "the largest trigger fits");
_Static_assert(8 * HK_FURTHER_WORDS_MAX + (HK_FURTHER_WORDS_MAX + 7) / 8
                       + HK_FURTHER_EVENTS_MAX * (1 + HK_EVENT_ID_BYTES) + 68
                   <= HK_FURTHER_WORDS_MAX_BYTES,
               "the most further words fit");
/* Each update's event, and 16 bytes of all the rest. */
_Static_assert(HK_UPDATES_TOLD_MAX * (HK_NAME_MAX_CHARS + 2 + 18) + 32 <= HK_INSTALLED_MAX_BYTES,
               "what is installed fits, whatever it is called");
_Static_assert(HK_UPDATE_PIECE_BYTES + 32 <= HK_MQTT_INCOMING_MAX_BYTES, "a piece with its fields is one message");
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "fingerprint words are sent from memory as they lie: this core expects a little-endian processor"
#endif

/* ---- event ids and topics ---- */

static void store_u32_be(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

void hk_event_id_make(uint8_t event_id[HK_EVENT_ID_BYTES], const uint8_t boot_id[HK_BOOT_ID_BYTES], uint32_t seq,
                      const char *device_id)
{
    memcpy(event_id, boot_id, HK_BOOT_ID_BYTES);
    store_u32_be(event_id + HK_BOOT_ID_BYTES, seq);
    store_u32_be(event_id + HK_BOOT_ID_BYTES + 4, hk_crc32(0, device_id, strlen(device_id)));
}

int hk_event_id_sequence(const uint8_t event_id[HK_EVENT_ID_BYTES], const uint8_t boot_id[HK_BOOT_ID_BYTES],
                         const char *device_id, uint32_t *seq)
{
    uint8_t own[HK_EVENT_ID_BYTES];
    const uint8_t *at = event_id + HK_BOOT_ID_BYTES;
    *seq = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    hk_event_id_make(own, boot_id, *seq, device_id);
    return memcmp(own, event_id, HK_EVENT_ID_BYTES) == 0 ? HK_OK : HK_ERROR_NOT_FOUND;
}

bool hk_device_id_is_valid(const char *device_id)
{
    size_t n = 0;
    for (; device_id[n] != '\0'; n++) {
        const char c = device_id[n];
        const bool is_allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        if (!is_allowed || n == HK_DEVICE_ID_MAX_CHARS) {
            return false;
        }
    }
    return n > 0;
}

static const char *const kind_names[HK_KIND_COUNT] = HK_KIND_NAMES;

int hk_topic_build(char *out, size_t capacity, const char *device_id, uint8_t kind)
{
    if (kind >= HK_KIND_COUNT || !hk_device_id_is_valid(device_id)) {
        return HK_ERROR_ARGUMENT;
    }
    const char *const parts[] = {HK_TOPIC_PREFIX, KIND_SEPARATOR, device_id, KIND_SEPARATOR, kind_names[kind]};
    size_t length = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const size_t n = strlen(parts[i]);
        if (n >= capacity - length) {
            return HK_ERROR_CAPACITY;
        }
        memcpy(out + length, parts[i], n);
        length += n;
    }
    out[length] = '\0';
    return HK_OK;
}

int hk_topic_kind(const char *topic, size_t length, const char *device_id, uint8_t *kind)
{
    char expected[HK_MQTT_TOPIC_MAX_CHARS + 1];
    for (uint8_t k = 0; k < HK_KIND_COUNT; k++) {
        if (hk_topic_build(expected, sizeof expected, device_id, k) != HK_OK) {
            return HK_ERROR_UNKNOWN;
        }
        const size_t n = strlen(expected);
        const bool is_kind = length >= n && memcmp(expected, topic, n) == 0;
        const bool is_in_pieces = k == HK_KIND_MEDIA || k == HK_KIND_UPDATE;
        const bool is_piece = is_in_pieces && length > n && topic[n] == KIND_SEPARATOR[0];
        if (is_kind && (length == n || is_piece)) {
            *kind = k;
            return HK_OK;
        }
    }
    return HK_ERROR_UNKNOWN;
}

/* ---- between C and zcbor ---- */

static struct zcbor_string bytes_of(const void *value, size_t length)
{
    const struct zcbor_string string = {.value = value, .len = length};
    return string;
}

static struct zcbor_string text_of(const char *text)
{
    return bytes_of(text, strlen(text));
}

/* Up to limit bytes of text, not in the middle of a UTF-8 sequence. */
static struct zcbor_string text_up_to(const char *text, size_t limit)
{
    size_t length = strlen(text);
    if (length > limit) {
        length = limit;
        while (length > 0 && ((uint8_t)text[length] & 0xC0u) == 0x80u) {
            length--;
        }
    }
    return bytes_of(text, length);
}

/* The schema bounds the length, and every destination is one longer than its bound. */
static void copy_text(char *out, const struct zcbor_string *text)
{
    memcpy(out, text->value, text->len);
    out[text->len] = '\0';
}

static int encoder_status(int zcbor_status)
{
    switch (zcbor_status) {
    case ZCBOR_SUCCESS:
        return HK_OK;
    case ZCBOR_ERR_NO_PAYLOAD:
        return HK_ERROR_CAPACITY;
    default:
        return HK_ERROR_ARGUMENT;
    }
}

/* The schema must hold and nothing may follow. */
/* taken by pointer: it is written by the call whose result is the other argument, and arguments have no order. */
static int decoder_status(int zcbor_status, const size_t *taken, size_t n)
{
    return zcbor_status == ZCBOR_SUCCESS && *taken == n ? HK_OK : HK_ERROR_FORMAT;
}

static void fill_cadence(struct cadence *out, const hk_wire_cadence_t *cadence)
{
    out->cadence_k_kind.cadence_kind_choice = cadence->kind;
    out->cadence_k_periods = cadence->periods;
    out->cadence_k_on_ms = cadence->on_ms;
    out->cadence_k_off_ms = cadence->off_ms;
    out->cadence_k_pause_ms = cadence->pause_ms;
    out->cadence_k_confidence = cadence->confidence;
}

static void fill_fingerprint(struct fingerprint *out, const hk_wire_fingerprint_t *fingerprint)
{
    out->fingerprint_k_first_sample = fingerprint->first_sample;
    out->fingerprint_k_step_samples = fingerprint->step_samples;
    out->fingerprint_k_words = bytes_of(fingerprint->words, fingerprint->word_count * sizeof(uint32_t));
    out->fingerprint_k_usable = bytes_of(fingerprint->usable, (fingerprint->word_count + 7u) / 8u);
    out->fingerprint_k_masks = bytes_of(fingerprint->reliable, fingerprint->word_count * sizeof(uint32_t));
}

enum { MEDIA_ID_CHARS = 2 * HK_MEDIA_ID_BYTES };

static void fill_hint(struct media_hint *out, const hk_media_hint_t *hint, char id[MEDIA_ID_CHARS])
{
    for (size_t i = 0; i < MEDIA_ID_CHARS; i++) {
        const uint32_t pair = hint->media_id[i / 2];
        id[i] = "0123456789abcdef"[i % 2 == 0 ? pair >> 4 : pair & 0xFu];
    }
    out->media_hint_k_media_id = bytes_of(id, MEDIA_ID_CHARS);
    out->media_hint_k_z_q4 = hint->z_q4;
}

/* ---- device to cloud ---- */

int hk_message_encode_trigger(const hk_trigger_t *trigger, uint8_t *out, size_t capacity, size_t *length)
{
    const hk_wire_fingerprint_t *fingerprint = &trigger->fingerprint;
    if (trigger->event >= HK_EVENT_COUNT || fingerprint->word_count > HK_TRIGGER_FINGERPRINT_WORDS) {
        return HK_ERROR_ARGUMENT;
    }
    struct trigger wire;
    memset(&wire, 0, sizeof wire);
    wire.trigger_k_event_id = bytes_of(trigger->event_id, HK_EVENT_ID_BYTES);
    wire.trigger_k_version = HK_MESSAGE_VERSION;
    wire.trigger_k_device_seq = trigger->device_seq;
    wire.trigger_k_event = text_of(hk_catalogue[trigger->event].name);
    wire.trigger_k_event_start_sample = trigger->event_start_sample;
    wire.k_trigger_sample = trigger->trigger_sample;
    wire.trigger_k_score = trigger->score;
    wire.k_scores_score_count = HK_EVENT_COUNT;
    for (size_t i = 0; i < HK_EVENT_COUNT; i++) {
        wire.k_scores_score[i].trigger_k_scores_score_key = hk_catalogue[i].id;
        wire.k_scores_score[i].k_scores_score = trigger->scores[i];
    }
    wire.trigger_k_sensitivity.sensitivity_choice = trigger->sensitivity;
    wire.trigger_k_is_armed = trigger->is_armed;
    fill_cadence(&wire.trigger_k_cadence, &trigger->cadence);
    fill_fingerprint(&wire.trigger_k_fingerprint, fingerprint);
    wire.trigger_k_model_hash = bytes_of(trigger->model_hash, HK_MODEL_HASH_BYTES);
    wire.trigger_k_head_version = trigger->head_version;
    wire.trigger_k_clip.clip_policy_choice = trigger->clip;
    char media_id[MEDIA_ID_CHARS];
    wire.trigger_k_media_present = trigger->media.is_set;
    fill_hint(&wire.trigger_k_media.trigger_k_media, &trigger->media, media_id);
    return encoder_status(cbor_encode_trigger(out, capacity, &wire, length));
}

int hk_message_encode_further_words(const hk_further_words_t *further, uint8_t *out, size_t capacity, size_t *length)
{
    if (further->event_count < 1 || further->event_count > HK_FURTHER_EVENTS_MAX
        || further->fingerprint.word_count > HK_FURTHER_WORDS_MAX) {
        return HK_ERROR_ARGUMENT;
    }
    struct further_words wire;
    memset(&wire, 0, sizeof wire);
    fill_fingerprint(&wire.further_words_k_fingerprint, &further->fingerprint);
    wire.further_words_k_event_ids_event_id_m_count = further->event_count;
    for (size_t i = 0; i < further->event_count; i++) {
        wire.further_words_k_event_ids_event_id_m[i] = bytes_of(further->event_ids[i], HK_EVENT_ID_BYTES);
    }
    char media_id[MEDIA_ID_CHARS];
    wire.further_words_k_media_present = further->media.is_set;
    fill_hint(&wire.further_words_k_media.further_words_k_media, &further->media, media_id);
    return encoder_status(cbor_encode_further_words(out, capacity, &wire, length));
}

int hk_message_encode_status(const hk_status_t *status, uint8_t *out, size_t capacity, size_t *length)
{
    struct status wire;
    memset(&wire, 0, sizeof wire);
    wire.status_k_is_armed = status->is_armed;
    wire.status_k_model_hash = bytes_of(status->model_hash, HK_MODEL_HASH_BYTES);
    wire.status_k_is_online = status->is_online;
    wire.status_k_board = text_of(status->board);
    wire.status_k_firmware = text_of(status->firmware);
    wire.status_k_samples_heard = status->samples_heard;
    wire.status_k_triggers_dropped = status->triggers_dropped;
    wire.status_k_clips_dropped = status->clips_dropped;
    wire.status_k_outbox_depth = status->outbox_depth;
    wire.status_k_set_version = status->set_version;
    wire.status_k_set_code = status->set_code;
    wire.status_k_dismissed = status->dismissed;
    wire.status_k_is_siren_on_present = true;
    wire.status_k_is_siren_on.status_k_is_siren_on = status->is_siren_on;
    return encoder_status(cbor_encode_status(out, capacity, &wire, length));
}

int hk_message_encode_live_scores(const hk_live_scores_t *live, uint8_t *out, size_t capacity, size_t *length)
{
    struct live_scores wire;
    memset(&wire, 0, sizeof wire);
    wire.live_scores_k_samples_heard = live->samples_heard;
    wire.k_scores_live_score_count = HK_EVENT_COUNT;
    for (size_t i = 0; i < HK_EVENT_COUNT; i++) {
        wire.k_scores_live_score[i].live_scores_k_scores_live_score_key = hk_catalogue[i].id;
        wire.k_scores_live_score[i].k_scores_live_score = live->scores[i];
        if (live->thresholds[i] > 0) {
            struct k_thresholds_threshold *limited = &wire.k_thresholds_threshold[wire.k_thresholds_threshold_count++];
            limited->live_scores_k_thresholds_threshold_key = hk_catalogue[i].id;
            limited->k_thresholds_threshold = live->thresholds[i];
        }
    }
    return encoder_status(cbor_encode_live_scores(out, capacity, &wire, length));
}

int hk_message_encode_installed(const hk_installed_t *installed, uint8_t *out, size_t capacity, size_t *length)
{
    struct installed wire;
    if (installed->count > HK_UPDATES_TOLD_MAX) {
        return HK_ERROR_ARGUMENT;
    }
    memset(&wire, 0, sizeof wire);
    wire.installed_k_model_hash = bytes_of(installed->model_hash, HK_MODEL_HASH_BYTES);
    wire.installed_k_updates_held_update_m_count = installed->count;
    for (uint8_t i = 0; i < installed->count; i++) {
        const hk_update_told_t *told = &installed->updates[i];
        struct held_update *update = &wire.installed_k_updates_held_update_m[i];
        update->held_update_k_event = text_of(told->event);
        update->held_update_k_part.part_value_choice = told->part;
        update->held_update_k_update_version = told->version;
        update->held_update_k_fate.fate_value_choice = told->fate;
        update->held_update_k_update_code = told->code;
    }
    wire.installed_k_has_key = installed->has_key;
    return encoder_status(cbor_encode_installed(out, capacity, &wire, length));
}

/* Writes the head of a CBOR byte string of n bytes, at most 5; returns its size. */
static size_t bstr_head(uint8_t out[5], uint32_t n)
{
    enum { BSTR = 0x40, ONE_BYTE = 24, TWO_BYTES = 25, FOUR_BYTES = 26 };
    if (n < ONE_BYTE) {
        out[0] = (uint8_t)(BSTR | n);
        return 1;
    }
    if (n <= UINT8_MAX) {
        out[0] = BSTR | ONE_BYTE;
        out[1] = (uint8_t)n;
        return 2;
    }
    if (n <= UINT16_MAX) {
        out[0] = BSTR | TWO_BYTES;
        out[1] = (uint8_t)(n >> 8);
        out[2] = (uint8_t)n;
        return 3;
    }
    out[0] = BSTR | FOUR_BYTES;
    store_u32_be(out + 1, n);
    return 5;
}

int hk_message_encode_clip_prefix(const hk_clip_t *clip, uint8_t *out, size_t capacity, size_t *length)
{
    struct clip wire;
    memset(&wire, 0, sizeof wire);
    wire.clip_k_event_id = bytes_of(clip->event_id, HK_EVENT_ID_BYTES);
    wire.clip_k_first_sample = clip->first_sample;
    wire.clip_k_sample_count = clip->sample_count;
    wire.clip_k_trigger_offset = clip->trigger_offset;
    wire.clip_k_sample_rate_hz = clip->sample_rate_hz;
    wire.clip_k_block_bytes = clip->block_bytes;
    wire.clip_k_codec = text_of(CODEC);
    wire.clip_k_data = bytes_of("", 0);
    if (clip->data_bytes > HK_CLIP_MAX_BYTES - HK_CLIP_PREFIX_MAX_BYTES) {
        return HK_ERROR_TOO_LARGE;
    }
    /* The data comes last: a clip with none ends in the head of an empty byte string, which the real one replaces. */
    size_t encoded = 0;
    const int status = encoder_status(cbor_encode_clip(out, capacity, &wire, &encoded));
    if (status != HK_OK) {
        return status;
    }
    uint8_t head[5];
    const size_t head_bytes = bstr_head(head, clip->data_bytes);
    encoded--;
    if (head_bytes > capacity - encoded) {
        return HK_ERROR_CAPACITY;
    }
    memcpy(out + encoded, head, head_bytes);
    *length = encoded + head_bytes;
    return HK_OK;
}

/* ---- cloud to device ---- */

int hk_message_decode_receipt(const uint8_t *bytes, size_t n, hk_receipt_t *receipt)
{
    struct receipt wire;
    size_t taken = 0;
    const int status = decoder_status(cbor_decode_receipt(bytes, n, &wire, &taken), &taken, n);
    if (status == HK_OK) {
        memcpy(receipt->event_id, wire.receipt_k_event_id.value, HK_EVENT_ID_BYTES);
        receipt->kind = (uint8_t)wire.receipt_k_kind.receipt_kind_choice;
    }
    return status;
}

int hk_message_decode_verdict(const uint8_t *bytes, size_t n, hk_verdict_t *verdict)
{
    struct verdict wire;
    size_t taken = 0;
    const int status = decoder_status(cbor_decode_verdict(bytes, n, &wire, &taken), &taken, n);
    if (status == HK_OK) {
        memcpy(verdict->event_id, wire.verdict_k_event_id.value, HK_EVENT_ID_BYTES);
        verdict->verdict = (uint8_t)wire.verdict_k_verdict.verdict_value_choice;
        copy_text(verdict->reason, &wire.verdict_k_reason);
        verdict->media_id[0] = '\0';
        verdict->media_title[0] = '\0';
        if (wire.verdict_k_media_id_present) {
            copy_text(verdict->media_id, &wire.verdict_k_media_id.verdict_k_media_id);
        }
        if (wire.verdict_k_media_title_present) {
            copy_text(verdict->media_title, &wire.verdict_k_media_title.verdict_k_media_title);
        }
    }
    return status;
}

int hk_message_decode_config(const uint8_t *bytes, size_t n, hk_config_t *config)
{
    struct config wire;
    size_t taken = 0;
    const int status = decoder_status(cbor_decode_config(bytes, n, &wire, &taken), &taken, n);
    if (status != HK_OK) {
        return status;
    }
    memset(config, 0, sizeof *config);
    config->is_armed = wire.config_k_is_armed;
    for (size_t i = 0; i < wire.k_events_event_setting_name_count; i++) {
        const struct k_events_event_setting_name *entry = &wire.k_events_event_setting_name[i];
        const struct zcbor_string *name = &entry->config_k_events_event_setting_name_key;
        uint8_t event = 0;
        if (hk_catalogue_find((const char *)name->value, name->len, &event) != HK_OK) {
            config->unknown_events++;
            continue;
        }
        config->events[event].is_set = true;
        config->events[event].is_enabled = entry->k_events_event_setting_name.event_setting_k_is_enabled;
        config->events[event].sensitivity =
            (uint8_t)entry->k_events_event_setting_name.event_setting_k_sensitivity.sensitivity_choice;
    }
    return HK_OK;
}

int hk_message_decode_command(const uint8_t *bytes, size_t n, hk_command_t *command)
{
    struct command wire;
    size_t taken = 0;
    const int status = decoder_status(cbor_decode_command(bytes, n, &wire, &taken), &taken, n);
    if (status == HK_OK) {
        memcpy(command->event_id, wire.command_k_event_id.value, HK_EVENT_ID_BYTES);
        command->command = (uint8_t)wire.command_k_command.command_value_choice;
    }
    return status;
}

int hk_message_decode_media(const uint8_t *bytes, size_t n, hk_media_piece_t *piece)
{
    struct media_piece wire;
    size_t taken = 0;
    const int status = decoder_status(cbor_decode_media_piece(bytes, n, &wire, &taken), &taken, n);
    if (status == HK_OK) {
        *piece = (hk_media_piece_t){
            .data = wire.media_piece_k_data.value,
            .data_bytes = (uint16_t)wire.media_piece_k_data.len,
            .offset = (uint16_t)wire.media_piece_k_set_offset,
            .total = (uint16_t)wire.media_piece_k_set_bytes,
            .version = wire.media_piece_k_set_version,
            .hash = wire.media_piece_k_set_hash.value,
        };
    }
    return status;
}

int hk_message_decode_update(const uint8_t *bytes, size_t n, hk_update_piece_t *piece)
{
    struct update_piece wire;
    size_t taken = 0;
    const int status = decoder_status(cbor_decode_update_piece(bytes, n, &wire, &taken), &taken, n);
    if (status == HK_OK) {
        *piece = (hk_update_piece_t){
            .data = wire.update_piece_k_data.value,
            .data_bytes = (uint16_t)wire.update_piece_k_data.len,
            .offset = (uint16_t)wire.update_piece_k_update_offset,
            .total = (uint16_t)wire.update_piece_k_update_bytes,
            .tag = wire.update_piece_k_update_tag.value,
        };
    }
    return status;
}

/* ---- link control ---- */

static bool is_device_id(const struct zcbor_string *text)
{
    char device_id[HK_DEVICE_ID_MAX_CHARS + 1];
    copy_text(device_id, text);
    return strlen(device_id) == text->len && hk_device_id_is_valid(device_id);
}

static int configure_of(hk_host_control_t *control, const struct host_configure_message *wire)
{
    control->kind = HK_HOST_CONFIGURE;
    control->u.configure.device_id[0] = '\0';
    if (wire->host_configure_message_k_device_id_present) {
        const struct zcbor_string *device_id =
            &wire->host_configure_message_k_device_id.host_configure_message_k_device_id;
        if (!is_device_id(device_id)) {
            return HK_ERROR_FORMAT;
        }
        copy_text(control->u.configure.device_id, device_id);
    }
    memcpy(control->u.configure.boot_id, wire->host_configure_message_k_boot_id.value, HK_BOOT_ID_BYTES);
    control->u.configure.has_utc_ms = wire->host_configure_message_k_utc_ms_present;
    control->u.configure.utc_ms = control->u.configure.has_utc_ms
                                      ? wire->host_configure_message_k_utc_ms.host_configure_message_k_utc_ms
                                      : 0;
    return HK_OK;
}

static int media_of(hk_host_control_t *control, const struct host_media_message *wire)
{
    control->kind = HK_HOST_MEDIA;
    control->u.media = (hk_media_piece_t){
        .data = wire->host_media_message_k_data.value,
        .data_bytes = (uint16_t)wire->host_media_message_k_data.len,
        .offset = (uint16_t)wire->host_media_message_k_set_offset,
        .total = (uint16_t)wire->host_media_message_k_set_bytes,
        .version = wire->host_media_message_k_set_version,
        .hash = wire->host_media_message_k_set_hash.value,
    };
    return HK_OK;
}

static hk_span_t span_of(bool is_present, const struct zcbor_string *string)
{
    return is_present ? (hk_span_t){.bytes = string->value, .n = string->len} : (hk_span_t){0};
}

static int provision_of(hk_host_control_t *control, const struct host_provision_message *wire)
{
    hk_provision_t *provision = &control->u.provision;
    control->kind = HK_HOST_PROVISION;
    *provision = (hk_provision_t){
        .device_id = span_of(wire->host_provision_message_k_device_id_present,
                             &wire->host_provision_message_k_device_id.host_provision_message_k_device_id),
        .ssid = span_of(wire->host_provision_message_k_ssid_present,
                        &wire->host_provision_message_k_ssid.host_provision_message_k_ssid),
        .wifi_password = span_of(wire->host_provision_message_k_wifi_password_present,
                                 &wire->host_provision_message_k_wifi_password.host_provision_message_k_wifi_password),
        .broker_host = span_of(wire->host_provision_message_k_broker_host_present,
                               &wire->host_provision_message_k_broker_host.host_provision_message_k_broker_host),
        .update_key = span_of(wire->host_provision_message_k_update_key_present,
                              &wire->host_provision_message_k_update_key.host_provision_message_k_update_key),
        .has_broker_port = wire->host_provision_message_k_broker_port_present,
    };
    if (provision->has_broker_port) {
        provision->broker_port =
            (uint16_t)wire->host_provision_message_k_broker_port.host_provision_message_k_broker_port;
    }
    const bool is_id_wrong = provision->device_id.bytes != NULL
                             && !is_device_id(&wire->host_provision_message_k_device_id.host_provision_message_k_device_id);
    return is_id_wrong ? HK_ERROR_FORMAT : HK_OK;
}

static int credentials_of(hk_host_control_t *control, const struct host_credentials_message *wire)
{
    control->kind = HK_HOST_CREDENTIALS;
    control->u.credentials.data = wire->host_credentials_message_k_data.value;
    control->u.credentials.data_bytes = (uint16_t)wire->host_credentials_message_k_data.len;
    control->u.credentials.offset = (uint16_t)wire->host_credentials_message_k_credentials_offset;
    control->u.credentials.total = (uint16_t)wire->host_credentials_message_k_credentials_bytes;
    return HK_OK;
}

int hk_message_decode_host_control(const uint8_t *bytes, size_t n, hk_host_control_t *control)
{
    struct host_control_r wire;
    size_t taken = 0;
    const int status = decoder_status(cbor_decode_host_control(bytes, n, &wire, &taken), &taken, n);
    if (status != HK_OK) {
        return status;
    }
    switch (wire.host_control_choice) {
    case host_control_host_hello_message_m_c:
        control->kind = HK_HOST_HELLO;
        control->u.hello.protocol = (uint16_t)wire.host_control_host_hello_message_m.host_hello_message_k_protocol;
        return HK_OK;
    case host_control_host_configure_message_m_c:
        return configure_of(control, &wire.host_control_host_configure_message_m);
    case host_control_host_microphone_message_m_c:
        control->kind = HK_HOST_MICROPHONE;
        control->u.microphone.samples_available =
            wire.host_control_host_microphone_message_m.host_microphone_message_k_samples_available;
        return HK_OK;
    case host_control_host_network_message_m_c:
        control->kind = HK_HOST_NETWORK;
        control->u.network.is_open = wire.host_control_host_network_message_m.host_network_message_k_is_open;
        return HK_OK;
    case host_control_host_scores_message_m_c:
        control->kind = HK_HOST_SCORES;
        control->u.scores.is_on = wire.host_control_host_scores_message_m.host_scores_message_k_is_on;
        return HK_OK;
    case host_control_host_stats_message_m_c:
        control->kind = HK_HOST_STATS;
        return HK_OK;
    case host_control_host_shutdown_message_m_c:
        control->kind = HK_HOST_SHUTDOWN;
        return HK_OK;
    case host_control_host_head_message_m_c:
        control->kind = HK_HOST_HEAD;
        control->u.head.data = wire.host_control_host_head_message_m.host_head_message_k_data.value;
        control->u.head.data_bytes = (uint16_t)wire.host_control_host_head_message_m.host_head_message_k_data.len;
        control->u.head.offset = (uint16_t)wire.host_control_host_head_message_m.host_head_message_k_head_offset;
        control->u.head.total = (uint16_t)wire.host_control_host_head_message_m.host_head_message_k_head_bytes;
        return HK_OK;
    case host_control_host_media_message_m_c:
        return media_of(control, &wire.host_control_host_media_message_m);
    case host_control_host_vault_message_m_c:
        control->kind = HK_HOST_VAULT;
        return HK_OK;
    case host_control_host_provision_message_m_c:
        return provision_of(control, &wire.host_control_host_provision_message_m);
    case host_control_host_credentials_message_m_c:
        return credentials_of(control, &wire.host_control_host_credentials_message_m);
    default:
        return HK_ERROR_FORMAT;
    }
}

static void fill_device_hello(struct device_control_r *wire, const hk_device_control_t *control)
{
    struct device_hello_message *hello = &wire->device_control_device_hello_message_m;
    wire->device_control_choice = device_control_device_hello_message_m_c;
    hello->device_hello_message_k_model_hash = bytes_of(control->u.hello.model_hash, HK_MODEL_HASH_BYTES);
    hello->device_hello_message_k_board = text_of(control->u.hello.board);
    hello->device_hello_message_k_firmware = text_of(control->u.hello.firmware);
    hello->device_hello_message_k_protocol = control->u.hello.protocol;
    hello->device_hello_message_k_max_payload = control->u.hello.max_payload;
}

static void fill_device_event(struct device_control_r *wire, const hk_device_control_t *control)
{
    struct device_event_message *event = &wire->device_control_device_event_message_m;
    wire->device_control_choice = device_control_device_event_message_m_c;
    event->device_event_message_k_event_id = bytes_of(control->u.event.event_id, HK_EVENT_ID_BYTES);
    const uint8_t index = control->u.event.event;
    event->device_event_message_k_event =
        text_of(index < HK_EVENT_COUNT ? hk_catalogue[index].name : control->u.event.name);
    event->device_event_message_k_event_start_sample = control->u.event.event_start_sample;
    event->device_event_message_k_trigger_sample = control->u.event.trigger_sample;
    event->device_event_message_k_score = control->u.event.score;
    fill_cadence(&event->device_event_message_k_cadence, &control->u.event.cadence);
    event->device_event_message_k_clip.clip_policy_choice = control->u.event.clip;
}

static void fill_device_stats(struct device_control_r *wire, const hk_device_control_t *control)
{
    struct device_stats_message *stats = &wire->device_control_device_stats_message_m;
    wire->device_control_choice = device_control_device_stats_message_m_c;
    stats->device_stats_message_k_samples_heard = control->u.stats.samples_heard;
    stats->device_stats_message_k_triggers_made = control->u.stats.triggers_made;
    stats->device_stats_message_k_triggers_dropped = control->u.stats.triggers_dropped;
    stats->device_stats_message_k_clips_dropped = control->u.stats.clips_dropped;
    stats->device_stats_message_k_outbox_depth = control->u.stats.outbox_depth;
    stats->device_stats_message_k_frames_received = control->u.stats.frames_received;
    stats->device_stats_message_k_frames_lost = control->u.stats.frames_lost;
    stats->device_stats_message_k_crc_errors = control->u.stats.crc_errors;
    stats->device_stats_message_k_oversize_frames = control->u.stats.oversize_frames;
    stats->device_stats_message_k_garbage_bytes = control->u.stats.garbage_bytes;
}

static void fill_device_vault(struct device_control_r *wire, const hk_device_control_t *control)
{
    struct device_vault_message *vault = &wire->device_control_device_vault_message_m;
    wire->device_control_choice = device_control_device_vault_message_m_c;
    vault->device_vault_message_k_device_id = text_of(control->u.vault.device_id);
    vault->device_vault_message_k_code = control->u.vault.code;
    vault->device_vault_message_k_ssid = text_of(control->u.vault.ssid);
    vault->device_vault_message_k_broker_host = text_of(control->u.vault.broker_host);
    vault->device_vault_message_k_broker_port = control->u.vault.broker_port;
    vault->device_vault_message_k_key_fingerprint =
        bytes_of(control->u.vault.key_fingerprint, control->u.vault.key_fingerprint_bytes);
    vault->device_vault_message_k_vault.vault_state_choice = control->u.vault.state;
    vault->device_vault_message_k_vault_writes = control->u.vault.writes;
    vault->device_vault_message_k_credentials_fingerprint =
        bytes_of(control->u.vault.credentials_fingerprint, control->u.vault.credentials_fingerprint_bytes);
}

int hk_message_encode_device_control(const hk_device_control_t *control, uint8_t *out, size_t capacity,
                                     size_t *length)
{
    struct device_control_r wire;
    memset(&wire, 0, sizeof wire);
    switch (control->kind) {
    case HK_DEVICE_HELLO:
        fill_device_hello(&wire, control);
        break;
    case HK_DEVICE_CREDIT:
        wire.device_control_choice = device_control_device_credit_message_m_c;
        wire.device_control_device_credit_message_m.device_credit_message_k_channel = control->u.credit.channel;
        wire.device_control_device_credit_message_m.device_credit_message_k_total = control->u.credit.total;
        break;
    case HK_DEVICE_HEARD:
        wire.device_control_choice = device_control_device_heard_message_m_c;
        wire.device_control_device_heard_message_m.device_heard_message_k_samples_heard =
            control->u.heard.samples_heard;
        wire.device_control_device_heard_message_m.device_heard_message_k_pending = control->u.heard.pending;
        break;
    case HK_DEVICE_NETWORK:
        wire.device_control_choice = device_control_device_network_message_m_c;
        wire.device_control_device_network_message_m.device_network_message_k_want_open =
            control->u.network.want_open;
        break;
    case HK_DEVICE_EVENT:
        if (control->u.event.event >= HK_EVENT_COUNT && control->u.event.name == NULL) {
            return HK_ERROR_ARGUMENT;
        }
        fill_device_event(&wire, control);
        break;
    case HK_DEVICE_STATS:
        fill_device_stats(&wire, control);
        break;
    case HK_DEVICE_ERROR:
        wire.device_control_choice = device_control_device_error_message_m_c;
        wire.device_control_device_error_message_m.device_error_message_k_code = control->u.error.code;
        wire.device_control_device_error_message_m.device_error_message_k_text =
            text_up_to(control->u.error.text, HK_REASON_MAX_CHARS);
        break;
    case HK_DEVICE_HEAD:
        wire.device_control_choice = device_control_device_head_message_m_c;
        wire.device_control_device_head_message_m.device_head_message_k_event = text_of(control->u.head.event);
        wire.device_control_device_head_message_m.device_head_message_k_head_version = control->u.head.head_version;
        wire.device_control_device_head_message_m.device_head_message_k_code = control->u.head.code;
        break;
    case HK_DEVICE_MEDIA:
        wire.device_control_choice = device_control_device_media_message_m_c;
        wire.device_control_device_media_message_m.device_media_message_k_set_version = control->u.media.set_version;
        wire.device_control_device_media_message_m.device_media_message_k_set_code = control->u.media.set_code;
        wire.device_control_device_media_message_m.device_media_message_k_dismissed = control->u.media.dismissed;
        break;
    case HK_DEVICE_OUTPUT:
        wire.device_control_choice = device_control_device_output_message_m_c;
        wire.device_control_device_output_message_m.device_output_message_k_output.output_value_choice =
            control->u.output.output;
        wire.device_control_device_output_message_m.device_output_message_k_is_on = control->u.output.is_on;
        break;
    case HK_DEVICE_VAULT:
        fill_device_vault(&wire, control);
        break;
    default:
        return HK_ERROR_ARGUMENT;
    }
    return encoder_status(cbor_encode_device_control(out, capacity, &wire, length));
}
