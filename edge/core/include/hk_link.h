/* The serial link to a host: frames with a channel, a sequence number and a CRC-32 over any byte stream.
 *
 *   0x00  COBS( channel u8 | sequence u8 | payload, 0 to HK_LINK_PAYLOAD_MAX_BYTES | CRC-32 u32 LE )  0x00
 *
 * The leading zero keeps foreign bytes (a boot ROM's greeting, a panic) from spoiling the frame after them. The CRC
 * covers channel, sequence and payload. Each channel counts its frames 0, 1 … 255, 1 … 255: a 0 says that its sender
 * has started anew (at power-up, with `hello`), so a restart is no gap. What does not decode is counted, never
 * delivered.
 *
 * No heap, no I/O: the caller moves the bytes. Not for use from an interrupt. */
#ifndef HK_LINK_H
#define HK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_cobs.h"
#include "hk_limits.h"

enum {
    HK_CHANNEL_CONTROL = 0, /* CBOR, both ways: host_control and device_control of harken.cddl */
    HK_CHANNEL_LOG = 1,     /* UTF-8 text, device to host */
    HK_CHANNEL_PCM = 2,     /* host to device: u64 LE first sample, then int16 LE samples; needs credit */
    HK_CHANNEL_MQTT = 3,    /* bytes of the MQTT session, both ways; host to device needs credit */
    HK_CHANNEL_SCORES = 4,  /* device to host: u64 LE sample, then u8 for each head in catalogue order */
    HK_LINK_CHANNELS = 5,
};

#define HK_LINK_OVERHEAD_BYTES 6u /* channel, sequence, CRC-32 */
#define HK_LINK_RAW_MAX (HK_LINK_PAYLOAD_MAX_BYTES + HK_LINK_OVERHEAD_BYTES)
#define HK_LINK_ENCODED_MAX (HK_COBS_MAX(HK_LINK_RAW_MAX) + 2u) /* with both delimiters */
#define HK_LINK_OUTPUT_BYTES (2u * HK_LINK_ENCODED_MAX)

typedef struct {
    uint32_t frames_received; /* delivered */
    uint32_t frames_lost;     /* missing between two received sequence numbers */
    uint32_t crc_errors;      /* frames whose CRC-32 does not fit */
    uint32_t oversize_frames; /* longer than any frame may be */
    uint32_t garbage_bytes;   /* bytes between delimiters that are no frame */
} hk_link_counters_t;

typedef struct {
    uint8_t channel;
    size_t length;
    const uint8_t *payload; /* inside the receiver, until it is used again */
} hk_link_frame_t;

typedef struct {
    hk_link_counters_t counters; /* read freely */
    size_t length;
    bool is_oversize;
    bool has_sequence[HK_LINK_CHANNELS];
    uint8_t next_sequence[HK_LINK_CHANNELS];
    uint8_t buffer[HK_COBS_MAX(HK_LINK_RAW_MAX)];
} hk_link_receiver_t;

void hk_link_receiver_init(hk_link_receiver_t *receiver);

/* Accept any sequence number next on every channel: when the other end has started anew. Counters stay. */
void hk_link_receiver_restart(hk_link_receiver_t *receiver);

/* Takes bytes until a frame is complete or none are left; advances *bytes and reduces *n by what it took.
 * Returns true with *frame set when a frame is complete: handle it, then call again for the rest. */
bool hk_link_receive(hk_link_receiver_t *receiver, const uint8_t **bytes, size_t *n, hk_link_frame_t *frame);

typedef struct {
    uint8_t next_sequence[HK_LINK_CHANNELS];
    size_t start;
    size_t end;
    uint8_t buffer[HK_LINK_OUTPUT_BYTES]; /* encoded frames not yet taken: buffer[start, end) */
} hk_link_sender_t;

void hk_link_sender_init(hk_link_sender_t *sender);

/* Number frames from 0 again on every channel: with `hello`. What waits to be taken stays. */
void hk_link_sender_restart(hk_link_sender_t *sender);

/* Appends one frame to what waits to be taken. Returns 0; HK_ERROR_BUSY while there is no room for it (take some
 * output, then try again: nothing was changed); HK_ERROR_ARGUMENT for an unknown channel; HK_ERROR_TOO_LARGE. */
int hk_link_send(hk_link_sender_t *sender, uint8_t channel, const void *payload, size_t length);

/* True when a frame with this much payload can be sent now. */
bool hk_link_can_send(const hk_link_sender_t *sender, size_t length);

/* What is to go out next: returns how many bytes and sets *bytes to them; 0 when nothing waits. */
size_t hk_link_output(const hk_link_sender_t *sender, const uint8_t **bytes);

/* Says that the first n bytes of hk_link_output's have gone out. */
void hk_link_output_taken(hk_link_sender_t *sender, size_t n);

/* Credit that a device grants on one channel. Totals count payload bytes since `hello` and only grow, so a credit
 * message that is lost is mended by the next. At most HK_LINK_CREDIT_BYTES lie between consumed and granted. */
typedef struct {
    uint64_t consumed;
    uint64_t granted;
} hk_link_credit_t;

/* Starts anew, nothing granted: at `hello`. */
void hk_link_credit_init(hk_link_credit_t *credit);

/* Says that n payload bytes of the channel have been taken over, so their room is free again. */
void hk_link_credit_consume(hk_link_credit_t *credit, size_t n);

/* True when it is worth telling the host a new total (a quarter of the window is new): send it, then call
 * hk_link_credit_grant with it. *total is set either way. */
bool hk_link_credit_is_due(const hk_link_credit_t *credit, uint64_t *total);
void hk_link_credit_grant(hk_link_credit_t *credit, uint64_t total);

#endif /* HK_LINK_H */
