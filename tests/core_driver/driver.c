/* Puts the core's contracts at a test's hand: one command a line on stdin, one line of answer each on stdout.
 *
 * Words are separated by blanks; bytes are in hex, "-" for none; text is in hex too. An answer is "ok" with its values
 * or "error" with the negative number. State (receiver, outbox, session) lives from `…_init` to the next. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hk_cobs.h"
#include "hk_crc32.h"
#include "hk_error.h"
#include "hk_hmac_sha256.h"
#include "hk_link.h"
#include "hk_messages.h"
#include "hk_mqtt.h"
#include "hk_media_slot.h"
#include "hk_outbox.h"
#include "hk_sha256.h"
#include "hk_vault.h"

#define LINE_BYTES (1u << 20)
#define WORDS_MAX 64

static char line[LINE_BYTES];
static char *words[WORDS_MAX];
static size_t word_count;
static size_t next_word;

static _Noreturn void stop(const char *why)
{
    (void)fprintf(stderr, "driver: %s\n", why);
    exit(2);
}

static const char *word(void)
{
    if (next_word == word_count) {
        stop("a word is missing");
    }
    return words[next_word++];
}

static uint64_t number(void)
{
    return strtoull(word(), NULL, 10);
}

/* Decodes the next word into fresh memory of exactly that size, so that the sanitizer sees every byte read beyond. */
static uint8_t *bytes(size_t *n)
{
    const char *hex = word();
    const size_t length = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    uint8_t *out = malloc(length > 0 ? length : 1);
    if (out == NULL) {
        stop("no memory");
    }
    for (size_t i = 0; i < length; i++) {
        unsigned value = 0;
        (void)sscanf(hex + 2 * i, "%2x", &value);
        out[i] = (uint8_t)value;
    }
    *n = length;
    return out;
}

static void exactly(uint8_t *out, size_t n)
{
    size_t length = 0;
    uint8_t *value = bytes(&length);
    if (length != n) {
        stop("bytes of another length are needed");
    }
    memcpy(out, value, n);
    free(value);
}

static char *text(void)
{
    size_t n = 0;
    uint8_t *value = bytes(&n);
    char *out = malloc(n + 1);
    if (out == NULL) {
        stop("no memory");
    }
    memcpy(out, value, n);
    out[n] = '\0';
    free(value);
    return out;
}

static void print_hex(const void *data, size_t n)
{
    const uint8_t *value = data;
    (void)putchar(' ');
    if (n == 0) {
        (void)putchar('-');
    }
    for (size_t i = 0; i < n; i++) {
        (void)printf("%02x", value[i]);
    }
}

static void answer(int status, const uint8_t *data, size_t n)
{
    if (status != HK_OK) {
        (void)printf("error %d", status);
        return;
    }
    (void)printf("ok");
    print_hex(data, n);
}

/* ---- crc, cobs, link ---- */

static void do_crc32(void)
{
    size_t n = 0;
    uint8_t *data = bytes(&n);
    const size_t half = n / 2;
    const uint32_t whole = hk_crc32(0, data, n);
    if (hk_crc32(hk_crc32(0, data, half), data + half, n - half) != whole) {
        stop("a CRC in two parts differs");
    }
    (void)printf("ok %" PRIu32, whole);
    free(data);
}

static void do_cobs(int (*convert)(const uint8_t *, size_t, uint8_t *, size_t, size_t *))
{
    size_t n = 0;
    size_t length = 0;
    uint8_t *data = bytes(&n);
    const size_t capacity = (size_t)number();
    uint8_t *out = malloc(capacity > 0 ? capacity : 1);
    const int status = convert(data, n, out, capacity, &length);
    answer(status, out, length);
    free(out);
    free(data);
}

static hk_link_receiver_t receiver;
static hk_link_sender_t sender;

/* bytes, and into how large pieces to cut them */
static void do_link_receive(void)
{
    size_t n = 0;
    uint8_t *data = bytes(&n);
    const size_t piece = (size_t)number();
    (void)printf("ok");
    for (size_t start = 0; start < n; start += piece) {
        const uint8_t *next = data + start;
        size_t left = n - start < piece ? n - start : piece;
        hk_link_frame_t frame;
        while (hk_link_receive(&receiver, &next, &left, &frame)) {
            (void)printf(" %u", frame.channel);
            print_hex(frame.payload, frame.length);
        }
    }
    free(data);
}

static void do_link_counters(void)
{
    const hk_link_counters_t *c = &receiver.counters;
    (void)printf("ok %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32, c->frames_received, c->frames_lost,
                 c->crc_errors, c->oversize_frames, c->garbage_bytes);
}

static void do_link_send(void)
{
    const uint8_t channel = (uint8_t)number();
    size_t n = 0;
    uint8_t *data = bytes(&n);
    const bool can_send = hk_link_can_send(&sender, n);
    const int status = hk_link_send(&sender, channel, data, n);
    if (channel < HK_LINK_CHANNELS && can_send != (status == HK_OK)) {
        stop("hk_link_can_send promised something else");
    }
    answer(status, NULL, 0);
    free(data);
}

static void do_link_output(void)
{
    const size_t most = (size_t)number();
    const uint8_t *data = NULL;
    const size_t waiting = hk_link_output(&sender, &data);
    const size_t n = waiting < most ? waiting : most;
    answer(HK_OK, data, n);
    hk_link_output_taken(&sender, n);
}

/* consumed bytes, one word each; tells each total that is due */
static void do_credit(void)
{
    hk_link_credit_t credit;
    uint64_t total = 0;
    hk_link_credit_init(&credit);
    (void)printf("ok");
    while (next_word < word_count) {
        hk_link_credit_consume(&credit, (size_t)number());
        if (hk_link_credit_is_due(&credit, &total)) {
            hk_link_credit_grant(&credit, total);
            (void)printf(" %" PRIu64, total);
        } else {
            (void)printf(" -");
        }
    }
}

/* ---- messages ---- */

static void read_cadence(hk_wire_cadence_t *cadence)
{
    cadence->kind = (uint8_t)number();
    cadence->periods = (uint8_t)number();
    cadence->on_ms = (uint16_t)number();
    cadence->off_ms = (uint16_t)number();
    cadence->pause_ms = (uint16_t)number();
    cadence->confidence = (uint8_t)number();
}

/* Encodes into memory of exactly `capacity` bytes. */
#define ENCODE(function, value)                                                    \
    do {                                                                           \
        size_t length = 0;                                                         \
        const size_t capacity = (size_t)number();                                  \
        uint8_t *out = malloc(capacity > 0 ? capacity : 1);                        \
        const int status = function(value, out, capacity, &length);                \
        answer(status, out, length);                                               \
        free(out);                                                                 \
    } while (0)

static void read_hint(hk_media_hint_t *hint)
{
    hint->is_set = number() != 0;
    exactly(hint->media_id, sizeof hint->media_id);
    hint->z_q4 = (uint16_t)number();
}

static void do_encode_further_words(void)
{
    hk_further_words_t further;
    size_t n_ids = 0;
    size_t n_words = 0;
    size_t n_usable = 0;
    size_t n_masks = 0;
    memset(&further, 0, sizeof further);
    uint8_t *ids = bytes(&n_ids);
    further.event_count = (uint8_t)(n_ids / HK_EVENT_ID_BYTES);
    for (size_t i = 0; i < further.event_count; i++) {
        further.event_ids[i] = ids + i * HK_EVENT_ID_BYTES;
    }
    further.fingerprint.first_sample = number();
    further.fingerprint.step_samples = (uint16_t)number();
    uint8_t *fingerprint = bytes(&n_words);
    uint8_t *usable = bytes(&n_usable);
    uint8_t *masks = bytes(&n_masks);
    further.fingerprint.words = (const uint32_t *)(const void *)fingerprint;
    further.fingerprint.word_count = (uint16_t)(n_words / 4);
    further.fingerprint.usable = usable;
    further.fingerprint.reliable = (const uint32_t *)(const void *)masks;
    read_hint(&further.media);
    ENCODE(hk_message_encode_further_words, &further);
    free(ids);
    free(fingerprint);
    free(usable);
    free(masks);
}

static void do_encode_trigger(void)
{
    hk_trigger_t trigger;
    size_t n_words = 0;
    size_t n_usable = 0;
    size_t n_masks = 0;
    memset(&trigger, 0, sizeof trigger);
    exactly(trigger.event_id, sizeof trigger.event_id);
    trigger.device_seq = (uint32_t)number();
    trigger.event = (uint8_t)number();
    trigger.event_start_sample = number();
    trigger.trigger_sample = number();
    trigger.score = (uint8_t)number();
    exactly(trigger.scores, sizeof trigger.scores);
    trigger.sensitivity = (uint8_t)number();
    trigger.is_armed = number() != 0;
    read_cadence(&trigger.cadence);
    trigger.fingerprint.first_sample = number();
    trigger.fingerprint.step_samples = (uint16_t)number();
    uint8_t *fingerprint = bytes(&n_words);
    uint8_t *usable = bytes(&n_usable);
    trigger.fingerprint.words = (const uint32_t *)(const void *)fingerprint;
    trigger.fingerprint.word_count = (uint16_t)(n_words / 4);
    trigger.fingerprint.usable = usable;
    uint8_t *masks = bytes(&n_masks);
    trigger.fingerprint.reliable = (const uint32_t *)(const void *)masks;
    exactly(trigger.model_hash, sizeof trigger.model_hash);
    trigger.head_version = (uint32_t)number();
    trigger.clip = (uint8_t)number();
    read_hint(&trigger.media);
    ENCODE(hk_message_encode_trigger, &trigger);
    free(fingerprint);
    free(usable);
    free(masks);
}

static void do_encode_clip(void)
{
    hk_clip_t clip;
    memset(&clip, 0, sizeof clip);
    exactly(clip.event_id, sizeof clip.event_id);
    clip.first_sample = number();
    clip.sample_count = (uint32_t)number();
    clip.trigger_offset = (uint32_t)number();
    clip.sample_rate_hz = (uint32_t)number();
    clip.block_bytes = (uint16_t)number();
    clip.data_bytes = (uint32_t)number();
    ENCODE(hk_message_encode_clip_prefix, &clip);
}

static void do_encode_status(void)
{
    hk_status_t status_message;
    memset(&status_message, 0, sizeof status_message);
    status_message.is_online = number() != 0;
    status_message.is_armed = number() != 0;
    char *board = text();
    char *firmware = text();
    status_message.board = board;
    status_message.firmware = firmware;
    exactly(status_message.model_hash, sizeof status_message.model_hash);
    status_message.samples_heard = number();
    status_message.triggers_dropped = (uint32_t)number();
    status_message.clips_dropped = (uint32_t)number();
    status_message.outbox_depth = (uint8_t)number();
    status_message.set_version = (uint32_t)number();
    status_message.set_code = (int16_t)strtol(word(), NULL, 10);
    status_message.dismissed = (uint32_t)number();
    status_message.is_siren_on = number() != 0;
    ENCODE(hk_message_encode_status, &status_message);
    free(board);
    free(firmware);
}

static void do_encode_live_scores(void)
{
    hk_live_scores_t live = {.samples_heard = number()};
    exactly(live.scores, sizeof live.scores);
    exactly(live.thresholds, sizeof live.thresholds);
    ENCODE(hk_message_encode_live_scores, &live);
}

/* Reads 0 or HK_KEY_FINGERPRINT_BYTES bytes; how many. */
static uint8_t fingerprint(uint8_t out[HK_KEY_FINGERPRINT_BYTES])
{
    size_t n = 0;
    uint8_t *value = bytes(&n);
    memcpy(out, value, n);
    free(value);
    return (uint8_t)n;
}

static void do_encode_installed(void)
{
    hk_installed_t installed;
    char *events[HK_UPDATES_TOLD_MAX];
    memset(&installed, 0, sizeof installed);
    exactly(installed.model_hash, sizeof installed.model_hash);
    installed.has_key = number() != 0;
    installed.count = (uint8_t)number();
    for (uint8_t i = 0; i < installed.count; i++) {
        hk_update_told_t *told = &installed.updates[i];
        told->event = events[i] = text();
        told->part = (uint8_t)number();
        told->version = (uint32_t)number();
        told->fate = (uint8_t)number();
        told->code = (int16_t)strtol(word(), NULL, 10);
    }
    ENCODE(hk_message_encode_installed, &installed);
    for (uint8_t i = 0; i < installed.count; i++) {
        free(events[i]);
    }
}

static void do_encode_device_control(void)
{
    hk_device_control_t control;
    char *first = NULL;
    char *second = NULL;
    char *third = NULL;
    memset(&control, 0, sizeof control);
    control.kind = (uint8_t)number();
    switch (control.kind) {
    case HK_DEVICE_HELLO:
        control.u.hello.protocol = (uint16_t)number();
        control.u.hello.board = first = text();
        control.u.hello.firmware = second = text();
        exactly(control.u.hello.model_hash, sizeof control.u.hello.model_hash);
        control.u.hello.max_payload = (uint16_t)number();
        break;
    case HK_DEVICE_CREDIT:
        control.u.credit.channel = (uint8_t)number();
        control.u.credit.total = number();
        break;
    case HK_DEVICE_HEARD:
        control.u.heard.samples_heard = number();
        control.u.heard.pending = (uint8_t)number();
        break;
    case HK_DEVICE_NETWORK:
        control.u.network.want_open = number() != 0;
        break;
    case HK_DEVICE_EVENT:
        exactly(control.u.event.event_id, sizeof control.u.event.event_id);
        control.u.event.event = (uint8_t)number();
        control.u.event.event_start_sample = number();
        control.u.event.trigger_sample = number();
        control.u.event.score = (uint8_t)number();
        read_cadence(&control.u.event.cadence);
        control.u.event.clip = (uint8_t)number();
        break;
    case HK_DEVICE_STATS:
        control.u.stats.samples_heard = number();
        control.u.stats.triggers_made = (uint32_t)number();
        control.u.stats.triggers_dropped = (uint32_t)number();
        control.u.stats.clips_dropped = (uint32_t)number();
        control.u.stats.outbox_depth = (uint8_t)number();
        control.u.stats.frames_received = (uint32_t)number();
        control.u.stats.frames_lost = (uint32_t)number();
        control.u.stats.crc_errors = (uint32_t)number();
        control.u.stats.oversize_frames = (uint32_t)number();
        control.u.stats.garbage_bytes = (uint32_t)number();
        break;
    case HK_DEVICE_ERROR:
        control.u.error.code = (int16_t)strtol(word(), NULL, 10);
        control.u.error.text = first = text();
        break;
    case HK_DEVICE_HEAD:
        control.u.head.event = first = text();
        control.u.head.head_version = (uint32_t)number();
        control.u.head.code = (int16_t)strtol(word(), NULL, 10);
        break;
    case HK_DEVICE_MEDIA:
        control.u.media.set_version = (uint32_t)number();
        control.u.media.set_code = (int16_t)strtol(word(), NULL, 10);
        control.u.media.dismissed = (uint32_t)number();
        break;
    case HK_DEVICE_OUTPUT:
        control.u.output.output = (uint8_t)number();
        control.u.output.is_on = number() != 0;
        break;
    case HK_DEVICE_VAULT:
        control.u.vault.device_id = first = text();
        control.u.vault.ssid = second = text();
        control.u.vault.broker_host = third = text();
        control.u.vault.broker_port = (uint16_t)number();
        control.u.vault.key_fingerprint_bytes = fingerprint(control.u.vault.key_fingerprint);
        control.u.vault.credentials_fingerprint_bytes = fingerprint(control.u.vault.credentials_fingerprint);
        control.u.vault.state = (uint8_t)number();
        control.u.vault.writes = (uint32_t)number();
        control.u.vault.code = (int16_t)strtol(word(), NULL, 10);
        break;
    default:
        break;
    }
    ENCODE(hk_message_encode_device_control, &control);
    free(first);
    free(second);
    free(third);
}

static void do_decode_receipt(const uint8_t *data, size_t n)
{
    hk_receipt_t receipt;
    const int status = hk_message_decode_receipt(data, n, &receipt);
    answer(status, receipt.event_id, sizeof receipt.event_id);
    if (status == HK_OK) {
        (void)printf(" %u", receipt.kind);
    }
}

static void do_decode_verdict(const uint8_t *data, size_t n)
{
    hk_verdict_t verdict;
    const int status = hk_message_decode_verdict(data, n, &verdict);
    answer(status, verdict.event_id, sizeof verdict.event_id);
    if (status == HK_OK) {
        (void)printf(" %u", verdict.verdict);
        print_hex(verdict.reason, strlen(verdict.reason));
        print_hex(verdict.media_id, strlen(verdict.media_id));
        print_hex(verdict.media_title, strlen(verdict.media_title));
    }
}

static void do_decode_config(const uint8_t *data, size_t n)
{
    hk_config_t config;
    const int status = hk_message_decode_config(data, n, &config);
    if (status != HK_OK) {
        answer(status, NULL, 0);
        return;
    }
    (void)printf("ok %d %u", config.is_armed, config.unknown_events);
    for (size_t i = 0; i < HK_EVENT_COUNT; i++) {
        if (config.events[i].is_set) {
            (void)printf(" %zu %d %u", i, config.events[i].is_enabled, config.events[i].sensitivity);
        }
    }
}

static void do_decode_command(const uint8_t *data, size_t n)
{
    hk_command_t command;
    const int status = hk_message_decode_command(data, n, &command);
    answer(status, command.event_id, sizeof command.event_id);
    if (status == HK_OK) {
        (void)printf(" %u", command.command);
    }
}

static void print_piece(const hk_media_piece_t *piece)
{
    print_hex(piece->data, piece->data_bytes);
    (void)printf(" %" PRIu32, piece->version);
    print_hex(piece->hash, HK_MEDIA_HASH_BYTES);
    (void)printf(" %u %u", piece->offset, piece->total);
}

static void do_decode_media(const uint8_t *data, size_t n)
{
    hk_media_piece_t piece;
    const int status = hk_message_decode_media(data, n, &piece);
    answer(status, NULL, 0);
    if (status == HK_OK) {
        print_piece(&piece);
    }
}

static void print_span(const hk_span_t *span)
{
    (void)printf(" %d", span->bytes != NULL);
    print_hex(span->bytes, span->n);
}

static void print_provision(const hk_provision_t *provision)
{
    print_span(&provision->device_id);
    print_span(&provision->ssid);
    print_span(&provision->wifi_password);
    print_span(&provision->broker_host);
    (void)printf(" %d %u", provision->has_broker_port, provision->broker_port);
    print_span(&provision->update_key);
}

static void do_decode_update(const uint8_t *data, size_t n)
{
    hk_update_piece_t piece;
    const int status = hk_message_decode_update(data, n, &piece);
    answer(status, NULL, 0);
    if (status == HK_OK) {
        print_hex(piece.data, piece.data_bytes);
        print_hex(piece.tag, HK_UPDATE_TAG_BYTES);
        (void)printf(" %u %u", piece.offset, piece.total);
    }
}

static void do_decode_host_control(const uint8_t *data, size_t n)
{
    hk_host_control_t control;
    const int status = hk_message_decode_host_control(data, n, &control);
    if (status != HK_OK) {
        answer(status, NULL, 0);
        return;
    }
    (void)printf("ok %u", control.kind);
    switch (control.kind) {
    case HK_HOST_HELLO:
        (void)printf(" %u", control.u.hello.protocol);
        break;
    case HK_HOST_CONFIGURE:
        print_hex(control.u.configure.device_id, strlen(control.u.configure.device_id));
        print_hex(control.u.configure.boot_id, sizeof control.u.configure.boot_id);
        (void)printf(" %d %" PRIu64, control.u.configure.has_utc_ms, control.u.configure.utc_ms);
        break;
    case HK_HOST_MICROPHONE:
        (void)printf(" %" PRIu64, control.u.microphone.samples_available);
        break;
    case HK_HOST_NETWORK:
        (void)printf(" %d", control.u.network.is_open);
        break;
    case HK_HOST_SCORES:
        (void)printf(" %d", control.u.scores.is_on);
        break;
    case HK_HOST_HEAD:
        print_hex(control.u.head.data, control.u.head.data_bytes);
        (void)printf(" %u %u", control.u.head.offset, control.u.head.total);
        break;
    case HK_HOST_MEDIA:
        print_piece(&control.u.media);
        break;
    case HK_HOST_PROVISION:
        print_provision(&control.u.provision);
        break;
    case HK_HOST_CREDENTIALS:
        print_hex(control.u.credentials.data, control.u.credentials.data_bytes);
        (void)printf(" %u %u", control.u.credentials.offset, control.u.credentials.total);
        break;
    default:
        break;
    }
}

static void do_decode(void)
{
    static const struct {
        const char *kind;
        void (*decode)(const uint8_t *data, size_t n);
    } decoders[] = {
        {"receipt", do_decode_receipt}, {"verdict", do_decode_verdict},           {"config", do_decode_config},
        {"command", do_decode_command}, {"host_control", do_decode_host_control},
        {"media", do_decode_media},     {"update", do_decode_update},
    };
    char *kind = text();
    size_t n = 0;
    uint8_t *data = bytes(&n);
    for (size_t i = 0; i < sizeof decoders / sizeof decoders[0]; i++) {
        if (strcmp(decoders[i].kind, kind) == 0) {
            decoders[i].decode(data, n);
        }
    }
    free(data);
    free(kind);
}

static void do_event_id(void)
{
    uint8_t boot_id[HK_BOOT_ID_BYTES];
    uint8_t event_id[HK_EVENT_ID_BYTES];
    exactly(boot_id, sizeof boot_id);
    const uint32_t seq = (uint32_t)number();
    char *device_id = text();
    hk_event_id_make(event_id, boot_id, seq, device_id);
    answer(HK_OK, event_id, sizeof event_id);
    free(device_id);
}

static void do_topic_build(void)
{
    char topic[HK_MQTT_TOPIC_MAX_CHARS + 1] = "";
    char *device_id = text();
    const int status = hk_topic_build(topic, sizeof topic, device_id, (uint8_t)number());
    answer(status, (const uint8_t *)topic, strlen(topic));
    free(device_id);
}

static void do_topic_kind(void)
{
    uint8_t kind = 0;
    size_t n = 0;
    char *device_id = text();
    uint8_t *topic = bytes(&n);
    const int status = hk_topic_kind((const char *)topic, n, device_id, &kind);
    if (status == HK_OK) {
        (void)printf("ok %u", kind);
    } else {
        answer(status, NULL, 0);
    }
    free(topic);
    free(device_id);
}

/* ---- known media: flash that loses power after so many bytes ---- */

static _Alignas(4) uint8_t media_areas[HK_PORT_MEDIA_AREAS * HK_MEDIA_SET_MAX_BYTES];
static uint64_t media_power; /* bytes that the flash still erases or writes */
static hk_media_slot_t media_slot;

static int media_erase(void *context, unsigned area)
{
    (void)context;
    uint8_t *at = media_areas + area * (size_t)HK_MEDIA_SET_MAX_BYTES;
    for (size_t i = 0; i < HK_MEDIA_SET_MAX_BYTES; i++, media_power--) {
        if (media_power == 0) {
            return -1;
        }
        at[i] = 0xff;
    }
    return 0;
}

static int media_write(void *context, size_t at, const uint8_t *data, size_t n)
{
    (void)context;
    for (size_t i = 0; i < n; i++, media_power--) {
        if (media_power == 0) {
            return -1;
        }
        media_areas[at + i] &= data[i];
    }
    return 0;
}

static const hk_port_t media_port = {.media_areas = media_areas, .media_erase = media_erase, .media_write = media_write};

/* ---- the vault: two sectors of flash that lose power after so many bytes ---- */

static uint8_t vault_sectors[2][HK_VAULT_RECORD_BYTES];
static uint64_t vault_power; /* bytes that the flash still erases or writes */
static hk_vault_t vault;

static size_t vault_load(void *context, hk_port_record_t record, uint8_t *data, size_t capacity)
{
    (void)context;
    const size_t n = capacity < HK_VAULT_RECORD_BYTES ? capacity : HK_VAULT_RECORD_BYTES;
    memcpy(data, vault_sectors[record - HK_PORT_VAULT_0], n);
    return n;
}

static int vault_save(void *context, hk_port_record_t record, const uint8_t *data, size_t n)
{
    (void)context;
    uint8_t *sector = vault_sectors[record - HK_PORT_VAULT_0];
    for (size_t i = 0; i < 2 * n; i++, vault_power--) {
        if (vault_power == 0) {
            return HK_ERROR_TRANSPORT;
        }
        sector[i % n] = i < n ? 0xff : sector[i - n] & data[i - n]; /* erased, then written */
    }
    return HK_OK;
}

static const hk_port_t vault_port = {.settings_load = vault_load, .settings_save = vault_save};

/* vault_start IS_FLASH_NEW POWER: the device starts; says the vault's state. */
static void do_vault_start(void)
{
    if (number() != 0) {
        memset(vault_sectors, 0xff, sizeof vault_sectors);
    }
    vault_power = number();
    hk_vault_open(&vault, &vault_port);
    (void)printf("ok %u", vault.state);
}

/* vault_write MESSAGE: of kind host_provision. */
static void do_vault_write(void)
{
    size_t n = 0;
    uint8_t *data = bytes(&n);
    hk_host_control_t control;
    int status = hk_message_decode_host_control(data, n, &control);
    status = status == HK_OK ? hk_vault_write(&vault, &control.u.provision) : status;
    answer(status, NULL, 0);
    free(data);
}

/* vault_tell CODE: the message to the host. */
static void do_vault_tell(void)
{
    hk_vault_record_t record;
    hk_device_control_t told;
    uint8_t message[HK_CONTROL_MAX_BYTES];
    size_t length = 0;
    hk_vault_tell(&vault, (int)strtol(word(), NULL, 10), &record, &told);
    const int status = hk_message_encode_device_control(&told, message, sizeof message, &length);
    answer(status, message, length);
}

/* vault_secrets: Wi-Fi password and key. */
static void do_vault_secrets(void)
{
    hk_vault_record_t record;
    uint8_t key[HK_UPDATE_KEY_BYTES];
    (void)hk_vault_read(&vault, &record);
    answer(HK_OK, (const uint8_t *)record.wifi_password, strlen(record.wifi_password));
    print_hex(key, hk_vault_key(&vault, key) ? sizeof key : 0);
}

/* vault_flip SECTOR BIT */
static void do_vault_flip(void)
{
    const size_t sector = (size_t)number();
    const size_t bit = (size_t)number();
    vault_sectors[sector][bit / 8] ^= (uint8_t)(1u << bit % 8);
    (void)printf("ok");
}

/* media_start IS_FLASH_NEW POWER: the device starts; says the version of the set in use. */
static void do_media_start(void)
{
    if (number() != 0) {
        memset(media_areas, 0xff, sizeof media_areas);
    }
    media_power = number();
    hk_media_slot_init(&media_slot, &media_port, NULL, NULL);
    (void)printf("ok %" PRIu32, media_slot.set.version);
}

/* media_take MESSAGE: says whether the set is whole, and the version in use. */
static void do_media_take(void)
{
    size_t n = 0;
    uint8_t *data = bytes(&n);
    hk_media_piece_t piece;
    bool is_whole = false;
    int status = hk_message_decode_media(data, n, &piece);
    status = status == HK_OK ? hk_media_slot_take(&media_slot, &piece, &is_whole) : status;
    answer(status, NULL, 0);
    if (status == HK_OK) {
        (void)printf(" %d %" PRIu32, is_whole, media_slot.set.version);
    }
    free(data);
}

static void do_sha256(void)
{
    size_t n = 0;
    uint8_t *data = bytes(&n);
    const size_t piece = (size_t)number();
    hk_sha256_t sha;
    uint8_t digest[HK_SHA256_BYTES];
    hk_sha256_init(&sha);
    for (size_t at = 0; at < n; at += piece) {
        hk_sha256_update(&sha, data + at, n - at < piece ? n - at : piece);
    }
    hk_sha256_finish(&sha, digest);
    answer(HK_OK, digest, sizeof digest);
    free(data);
}

static void do_hmac_sha256(void)
{
    size_t key_bytes = 0;
    size_t n = 0;
    uint8_t *key = bytes(&key_bytes);
    uint8_t *data = bytes(&n);
    const size_t piece = (size_t)number();
    hk_hmac_sha256_t hmac;
    uint8_t code[HK_SHA256_BYTES];
    hk_hmac_sha256_init(&hmac, key, key_bytes);
    for (size_t at = 0; at < n; at += piece) {
        hk_hmac_sha256_update(&hmac, data + at, n - at < piece ? n - at : piece);
    }
    hk_hmac_sha256_finish(&hmac, code);
    for (size_t i = 0; i < sizeof hmac; i++) {
        if (((const uint8_t *)&hmac)[i] != 0) {
            stop("what the key made was not cleared");
        }
    }
    answer(HK_OK, code, sizeof code);
    free(key);
    free(data);
}

static void do_is_equal(void)
{
    size_t n = 0;
    size_t m = 0;
    uint8_t *a = bytes(&n);
    uint8_t *b = bytes(&m);
    (void)printf("ok %d", hk_is_equal_in_constant_time(a, b, n < m ? n : m));
    free(a);
    free(b);
}

/* ---- outbox ---- */

static hk_outbox_t outbox;

static void do_outbox_put(void)
{
    uint8_t event_id[HK_EVENT_ID_BYTES];
    uint8_t displaced_id[HK_EVENT_ID_BYTES];
    bool is_displaced = false;
    size_t n = 0;
    exactly(event_id, sizeof event_id);
    const bool is_safety = number() != 0;
    uint8_t *payload = bytes(&n);
    const int status = hk_outbox_put(&outbox, event_id, is_safety, payload, n, &is_displaced, displaced_id);
    answer(status, displaced_id, is_displaced ? sizeof displaced_id : 0);
    free(payload);
}

static void do_outbox_next(void)
{
    const hk_outbox_entry_t *entry = hk_outbox_next_to_send(&outbox);
    if (entry == NULL) {
        (void)printf("ok -");
        return;
    }
    answer(HK_OK, entry->event_id, sizeof entry->event_id);
    print_hex(entry->payload, entry->length);
}

static void do_outbox_by_id(int (*act)(hk_outbox_t *, const uint8_t *))
{
    uint8_t event_id[HK_EVENT_ID_BYTES];
    exactly(event_id, sizeof event_id);
    answer(act(&outbox, event_id), NULL, 0);
}

/* ---- MQTT ---- */

static hk_mqtt_t mqtt;
static hk_mqtt_config_t mqtt_config;
static const char *filters[8];

static void do_mqtt_init(void)
{
    size_t n = 0;
    memset(&mqtt_config, 0, sizeof mqtt_config);
    mqtt_config.client_id = text();
    const char *username = text();
    const char *password = text();
    mqtt_config.username = username[0] != '\0' ? username : NULL;
    mqtt_config.password = password[0] != '\0' ? password : NULL;
    const char *will_topic = text();
    mqtt_config.will_topic = will_topic[0] != '\0' ? will_topic : NULL;
    mqtt_config.will_payload = bytes(&n);
    mqtt_config.will_length = n;
    mqtt_config.will_is_retained = true;
    mqtt_config.keep_alive_seconds = (uint16_t)number();
    mqtt_config.filters = filters;
    while (next_word < word_count) {
        filters[mqtt_config.filter_count++] = text();
    }
    answer(hk_mqtt_init(&mqtt, &mqtt_config), NULL, 0);
}

static void do_mqtt_receive(void)
{
    size_t n = 0;
    uint8_t *data = bytes(&n);
    const uint8_t *next = data;
    int status = HK_OK;
    (void)printf("ok");
    while (status == HK_OK) {
        hk_mqtt_event_t event;
        status = hk_mqtt_receive(&mqtt, &next, &n, &event);
        if (status != HK_OK || event.kind == HK_MQTT_NOTHING) {
            break;
        }
        (void)printf(" %d %" PRIu32 " %d", (int)event.kind, event.token, event.is_retained);
        print_hex(event.topic, event.topic_length);
        print_hex(event.payload, event.payload_length);
    }
    if (status != HK_OK) {
        (void)printf(" error %d", status);
    }
    free(data);
}

/* The body of a publish: byte i is (7 i + seed) modulo 256. */
static void read_pattern(void *context, size_t offset, uint8_t *out, size_t n)
{
    const uint8_t seed = *(const uint8_t *)context;
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint8_t)(7u * (offset + i) + seed);
    }
}

/* Heads and topics must stay as long as the publish: they are never freed here. */
static void do_mqtt_publish(void)
{
    static uint8_t seeds[256];
    hk_mqtt_publish_t publish;
    memset(&publish, 0, sizeof publish);
    publish.token = (uint32_t)number();
    publish.topic = text();
    publish.head = bytes(&publish.head_length);
    publish.body_length = (size_t)number();
    publish.qos = (uint8_t)number();
    publish.is_retained = number() != 0;
    seeds[publish.token & 255u] = (uint8_t)publish.token;
    publish.reader = read_pattern;
    publish.reader_context = &seeds[publish.token & 255u];
    answer(hk_mqtt_publish(&mqtt, &publish), NULL, 0);
}

static void do_mqtt_output(void)
{
    const size_t most = (size_t)number();
    const uint32_t now_ms = (uint32_t)number();
    const uint8_t *data = NULL;
    const size_t waiting = hk_mqtt_output(&mqtt, &data);
    const size_t n = waiting < most ? waiting : most;
    answer(HK_OK, data, n);
    hk_mqtt_output_taken(&mqtt, n, now_ms);
}

static void do_mqtt_state(void)
{
    (void)printf("ok %d %d %u %d %" PRIu32 " %zu", (int)hk_mqtt_state(&mqtt), hk_mqtt_error(&mqtt), mqtt.connack_code,
                 mqtt.had_session, mqtt.messages_too_large, hk_mqtt_room(&mqtt));
}

static void obey(const char *command)
{
    if (strcmp(command, "crc32") == 0) {
        do_crc32();
    } else if (strcmp(command, "cobs_encode") == 0) {
        do_cobs(hk_cobs_encode);
    } else if (strcmp(command, "cobs_decode") == 0) {
        do_cobs(hk_cobs_decode);
    } else if (strcmp(command, "link_init") == 0) {
        hk_link_receiver_init(&receiver);
        hk_link_sender_init(&sender);
        (void)printf("ok");
    } else if (strcmp(command, "link_receive") == 0) {
        do_link_receive();
    } else if (strcmp(command, "link_counters") == 0) {
        do_link_counters();
    } else if (strcmp(command, "link_send") == 0) {
        do_link_send();
    } else if (strcmp(command, "link_output") == 0) {
        do_link_output();
    } else if (strcmp(command, "credit") == 0) {
        do_credit();
    } else if (strcmp(command, "encode_trigger") == 0) {
        do_encode_trigger();
    } else if (strcmp(command, "encode_clip") == 0) {
        do_encode_clip();
    } else if (strcmp(command, "encode_further_words") == 0) {
        do_encode_further_words();
    } else if (strcmp(command, "encode_live_scores") == 0) {
        do_encode_live_scores();
    } else if (strcmp(command, "encode_installed") == 0) {
        do_encode_installed();
    } else if (strcmp(command, "encode_status") == 0) {
        do_encode_status();
    } else if (strcmp(command, "encode_device_control") == 0) {
        do_encode_device_control();
    } else if (strcmp(command, "decode") == 0) {
        do_decode();
    } else if (strcmp(command, "event_id") == 0) {
        do_event_id();
    } else if (strcmp(command, "topic_build") == 0) {
        do_topic_build();
    } else if (strcmp(command, "topic_kind") == 0) {
        do_topic_kind();
    } else if (strcmp(command, "error_text") == 0) {
        const char *value = hk_error_text((int)strtol(word(), NULL, 10));
        answer(HK_OK, (const uint8_t *)value, strlen(value));
    } else if (strcmp(command, "media_start") == 0) {
        do_media_start();
    } else if (strcmp(command, "media_take") == 0) {
        do_media_take();
    } else if (strcmp(command, "vault_start") == 0) {
        do_vault_start();
    } else if (strcmp(command, "vault_write") == 0) {
        do_vault_write();
    } else if (strcmp(command, "vault_tell") == 0) {
        do_vault_tell();
    } else if (strcmp(command, "vault_secrets") == 0) {
        do_vault_secrets();
    } else if (strcmp(command, "vault_flip") == 0) {
        do_vault_flip();
    } else if (strcmp(command, "sha256") == 0) {
        do_sha256();
    } else if (strcmp(command, "hmac_sha256") == 0) {
        do_hmac_sha256();
    } else if (strcmp(command, "is_equal") == 0) {
        do_is_equal();
    } else if (strcmp(command, "outbox_init") == 0) {
        hk_outbox_init(&outbox);
        (void)printf("ok");
    } else if (strcmp(command, "outbox_put") == 0) {
        do_outbox_put();
    } else if (strcmp(command, "outbox_next") == 0) {
        do_outbox_next();
    } else if (strcmp(command, "outbox_sent") == 0) {
        do_outbox_by_id(hk_outbox_mark_sent);
    } else if (strcmp(command, "outbox_receipt") == 0) {
        do_outbox_by_id(hk_outbox_receipt);
    } else if (strcmp(command, "outbox_hold") == 0) {
        do_outbox_by_id(hk_outbox_hold);
    } else if (strcmp(command, "outbox_release") == 0) {
        hk_outbox_release(&outbox);
        answer(HK_OK, NULL, 0);
    } else if (strcmp(command, "outbox_reconnected") == 0) {
        hk_outbox_reconnected(&outbox);
        (void)printf("ok");
    } else if (strcmp(command, "outbox_counts") == 0) {
        (void)printf("ok %u %" PRIu32 " %" PRIu32, hk_outbox_depth(&outbox), outbox.dropped, outbox.unknown_receipts);
    } else if (strcmp(command, "mqtt_init") == 0) {
        do_mqtt_init();
    } else if (strcmp(command, "mqtt_open") == 0) {
        answer(hk_mqtt_open(&mqtt, (uint32_t)number()), NULL, 0);
    } else if (strcmp(command, "mqtt_close") == 0) {
        hk_mqtt_close(&mqtt);
        (void)printf("ok");
    } else if (strcmp(command, "mqtt_disconnect") == 0) {
        answer(hk_mqtt_disconnect(&mqtt), NULL, 0);
    } else if (strcmp(command, "mqtt_receive") == 0) {
        do_mqtt_receive();
    } else if (strcmp(command, "mqtt_poll") == 0) {
        answer(hk_mqtt_poll(&mqtt, (uint32_t)number()), NULL, 0);
    } else if (strcmp(command, "mqtt_publish") == 0) {
        do_mqtt_publish();
    } else if (strcmp(command, "mqtt_cancel") == 0) {
        answer(hk_mqtt_cancel(&mqtt, (uint32_t)number()), NULL, 0);
    } else if (strcmp(command, "mqtt_output") == 0) {
        do_mqtt_output();
    } else if (strcmp(command, "mqtt_state") == 0) {
        do_mqtt_state();
    } else {
        stop("an unknown command");
    }
    if (next_word != word_count) {
        stop("a word too many");
    }
}

int main(void)
{
    while (fgets(line, sizeof line, stdin) != NULL) {
        word_count = 0;
        next_word = 1;
        for (char *w = strtok(line, " \n"); w != NULL; w = strtok(NULL, " \n")) {
            if (word_count == WORDS_MAX) {
                stop("too many words");
            }
            words[word_count++] = w;
        }
        if (word_count == 0) {
            stop("an empty line");
        }
        obey(words[0]);
        (void)putchar('\n');
        (void)fflush(stdout);
    }
    return 0;
}
