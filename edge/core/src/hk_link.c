#include "hk_link.h"

#include <string.h>

#include "hk_crc32.h"
#include "hk_error.h"

_Static_assert(HK_LINK_PAYLOAD_MAX_BYTES <= UINT16_MAX, "hello tells the largest payload in 16 bits");
_Static_assert(HK_LINK_CREDIT_BYTES >= 4 * HK_LINK_PAYLOAD_MAX_BYTES,
               "credit is renewed by quarters, each of which must hold a frame");

#define DELIMITER 0u
#define CRC_BYTES 4u
#define HEADER_BYTES 2u
#define FIRST_SEQUENCE 0u
#define SEQUENCE_PERIOD 255u /* 1 to 255 */

void hk_link_receiver_init(hk_link_receiver_t *receiver)
{
    memset(receiver, 0, sizeof *receiver);
}

void hk_link_receiver_restart(hk_link_receiver_t *receiver)
{
    memset(receiver->has_sequence, 0, sizeof receiver->has_sequence);
}

static uint32_t load_u32_le(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static uint8_t following(uint8_t sequence)
{
    return sequence == SEQUENCE_PERIOD ? 1u : (uint8_t)(sequence + 1u);
}

/* Judges what stood between two delimiters. */
static bool finish_frame(hk_link_receiver_t *receiver, hk_link_frame_t *frame)
{
    const size_t encoded = receiver->length;
    const bool was_oversize = receiver->is_oversize;
    size_t raw = 0;
    receiver->length = 0;
    receiver->is_oversize = false;
    if (was_oversize) {
        receiver->counters.oversize_frames++;
        return false;
    }
    if (encoded == 0) {
        return false;
    }
    uint8_t *buffer = receiver->buffer;
    if (hk_cobs_decode(buffer, encoded, buffer, sizeof receiver->buffer, &raw) != HK_OK
        || raw < HK_LINK_OVERHEAD_BYTES || raw > HK_LINK_RAW_MAX) {
        receiver->counters.garbage_bytes += (uint32_t)encoded;
        return false;
    }
    if (hk_crc32(0, buffer, raw - CRC_BYTES) != load_u32_le(buffer + raw - CRC_BYTES)) {
        receiver->counters.crc_errors++;
        return false;
    }
    const uint8_t channel = buffer[0];
    if (channel >= HK_LINK_CHANNELS) {
        receiver->counters.garbage_bytes += (uint32_t)encoded;
        return false;
    }
    const uint8_t sequence = buffer[1];
    if (receiver->has_sequence[channel] && sequence != FIRST_SEQUENCE) {
        const unsigned ahead = SEQUENCE_PERIOD + sequence - receiver->next_sequence[channel];
        receiver->counters.frames_lost += ahead % SEQUENCE_PERIOD;
    }
    receiver->has_sequence[channel] = true;
    receiver->next_sequence[channel] = following(sequence);
    receiver->counters.frames_received++;
    frame->channel = channel;
    frame->payload = buffer + HEADER_BYTES;
    frame->length = raw - HK_LINK_OVERHEAD_BYTES;
    return true;
}

bool hk_link_receive(hk_link_receiver_t *receiver, const uint8_t **bytes, size_t *n, hk_link_frame_t *frame)
{
    while (*n > 0) {
        const uint8_t byte = **bytes;
        (*bytes)++;
        (*n)--;
        if (byte == DELIMITER) {
            if (finish_frame(receiver, frame)) {
                return true;
            }
        } else if (receiver->length == sizeof receiver->buffer) {
            receiver->is_oversize = true;
        } else {
            receiver->buffer[receiver->length++] = byte;
        }
    }
    return false;
}

void hk_link_sender_init(hk_link_sender_t *sender)
{
    memset(sender, 0, sizeof *sender);
}

void hk_link_sender_restart(hk_link_sender_t *sender)
{
    memset(sender->next_sequence, 0, sizeof sender->next_sequence);
}

bool hk_link_can_send(const hk_link_sender_t *sender, size_t length)
{
    const size_t room = sizeof sender->buffer - (sender->end - sender->start);
    return length <= HK_LINK_PAYLOAD_MAX_BYTES && room >= HK_COBS_MAX(length + HK_LINK_OVERHEAD_BYTES) + 2u;
}

int hk_link_send(hk_link_sender_t *sender, uint8_t channel, const void *payload, size_t length)
{
    if (channel >= HK_LINK_CHANNELS || (payload == NULL && length > 0)) {
        return HK_ERROR_ARGUMENT;
    }
    if (length > HK_LINK_PAYLOAD_MAX_BYTES) {
        return HK_ERROR_TOO_LARGE;
    }
    if (!hk_link_can_send(sender, length)) {
        return HK_ERROR_BUSY;
    }
    if (sender->start > 0) {
        memmove(sender->buffer, sender->buffer + sender->start, sender->end - sender->start);
        sender->end -= sender->start;
        sender->start = 0;
    }
    const uint8_t header[HEADER_BYTES] = {channel, sender->next_sequence[channel]};
    uint32_t crc = hk_crc32(0, header, sizeof header);
    if (length > 0) {
        crc = hk_crc32(crc, payload, length);
    }
    const uint8_t trailer[CRC_BYTES] = {(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16), (uint8_t)(crc >> 24)};
    uint8_t *out = sender->buffer + sender->end;
    size_t encoded = 0;
    hk_cobs_encoder_t encoder;
    out[0] = DELIMITER;
    int status = hk_cobs_begin(&encoder, out + 1, sizeof sender->buffer - sender->end - 2u);
    if (status == HK_OK) {
        status = hk_cobs_put(&encoder, header, sizeof header);
    }
    if (status == HK_OK && length > 0) {
        status = hk_cobs_put(&encoder, payload, length);
    }
    if (status == HK_OK) {
        status = hk_cobs_put(&encoder, trailer, sizeof trailer);
    }
    if (status != HK_OK) {
        return status;
    }
    hk_cobs_end(&encoder, &encoded);
    out[1 + encoded] = DELIMITER;
    sender->end += encoded + 2u;
    sender->next_sequence[channel] = following(sender->next_sequence[channel]);
    return HK_OK;
}

size_t hk_link_output(const hk_link_sender_t *sender, const uint8_t **bytes)
{
    *bytes = sender->buffer + sender->start;
    return sender->end - sender->start;
}

void hk_link_output_taken(hk_link_sender_t *sender, size_t n)
{
    const size_t waiting = sender->end - sender->start;
    sender->start += n < waiting ? n : waiting;
    if (sender->start == sender->end) {
        sender->start = 0;
        sender->end = 0;
    }
}

void hk_link_credit_init(hk_link_credit_t *credit)
{
    credit->consumed = 0;
    credit->granted = 0;
}

void hk_link_credit_consume(hk_link_credit_t *credit, size_t n)
{
    credit->consumed += n;
}

bool hk_link_credit_is_due(const hk_link_credit_t *credit, uint64_t *total)
{
    *total = credit->consumed + HK_LINK_CREDIT_BYTES;
    return *total - credit->granted >= HK_LINK_CREDIT_BYTES / 4;
}

void hk_link_credit_grant(hk_link_credit_t *credit, uint64_t total)
{
    credit->granted = total;
}
