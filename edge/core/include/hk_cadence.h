/* Cadence: from the rise and fall of a sound's loudest bands, which temporal pattern a sounder follows.
 *
 * The level of the strongest mel band in each of a few groups of bands goes into histories of three resolutions. Where
 * a level rises out of a silence, a burst of the standards' pulses may have begun (T3: ISO 8201; T4: UL 2034). Once what
 * follows has been heard, the burst is folded: its pulses are laid over each other at every beat that the standard could
 * mean, and the beat at which they agree best is the burst's. Pulses agree whatever a room does to their shape, since it
 * does the same to each; so the fold finds beats in rooms in which the gaps of T4 are hardly quieter than its pulses.
 * What comes before and after must be quieter than the pulses, which counts them. Two such bursts, a period apart with
 * silence between them, are a finding.
 *
 * The work is spread: each step looks at one moment of the past, and only a rise costs more than a few hundred
 * instructions. The caller owns the struct; nothing is allocated. Levels are log2 of band energy, as hk_frame_t has them,
 * so the gain of the microphone and the distance of the sounder do not matter. Not for use in an interrupt. */
#ifndef HK_CADENCE_H
#define HK_CADENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_frontend.h"
#include "hk_wire_values.h" /* HK_CADENCE_… */

/* What was heard. Times are those of the best fit; 0 where a kind has no such time. */
typedef struct {
    uint16_t on_ms;
    uint16_t off_ms;
    uint16_t pause_ms;
    uint8_t kind;       /* HK_CADENCE_NONE (too little heard to say), _T3, _T4, _OTHER (regular), _CONTINUOUS */
    uint8_t periods;    /* whole periods that bear it out: 1 is a hint, 2 or more a finding */
    uint8_t confidence; /* 0..255: how well the pulses agree with each other, 255 = perfectly */
} hk_cadence_evidence_t;

#define HK_CADENCE_GROUPS 5     /* of mel bands: about 400 Hz to 4.3 kHz */
#define HK_CADENCE_FINE 148     /* ticks of 10 ms: a burst of T4, a beat before it and one after */
#define HK_CADENCE_MEDIUM 260   /* ticks of 20 ms: a burst of T3, and most of a beat before and after */
#define HK_CADENCE_COARSE 100   /* ticks of 80 ms: from the first burst of T4 to the end of the second */
#define HK_CADENCE_PATTERNS 2   /* T3, T4 */
#define HK_CADENCE_BURSTS 8     /* of each pattern that are remembered */

/* Private: a burst that may belong to a pattern. */
typedef struct {
    uint32_t at;         /* first onset, in frames since the start */
    uint16_t beat;       /* onset to onset, in quarters of the pattern's tick */
    uint16_t beats;      /* sum of its beat and that of the burst before, or twice its own: eighths of a quarter */
    int8_t beat_rest;    /* by how much the beat is longer than `beat`, eighths of a quarter */
    uint8_t on;          /* a pulse's length in ticks of the pattern */
    uint8_t group;
    uint8_t agreement;   /* share of the level's variance that the pulses have in common, 0..255 */
    uint8_t loud;        /* level of its pulses, quarters of log2 */
    uint8_t contrast;    /* by how much they rise above their gaps, same unit */
    uint8_t periods;     /* bursts in a row, a period apart, of which this is the last; 0: no burst */
    uint16_t pause;      /* to the burst before, in frames; 0: none */
} hk_cadence_burst_t;

typedef struct {
    uint8_t fine[HK_CADENCE_GROUPS][HK_CADENCE_FINE]; /* rings: strongest band, quarters of log2 energy */
    uint8_t medium[HK_CADENCE_GROUPS][HK_CADENCE_MEDIUM];
    uint8_t coarse[HK_CADENCE_GROUPS][HK_CADENCE_COARSE];
    uint16_t coarse_sum[HK_CADENCE_GROUPS];   /* of the coarse tick under way */
    int16_t mean_q8[HK_MEL_BANDS];            /* spectrum of the last second or so: a steady tone stands out of it */
    uint32_t frames;                          /* heard so far */
    hk_cadence_burst_t bursts[HK_CADENCE_PATTERNS][HK_CADENCE_BURSTS];
} hk_cadence_state_t;

/* Forgets everything. */
void hk_cadence_init(hk_cadence_state_t *cadence);

/* Takes one step, two frames, and looks for a burst that has just been heard to its end. */
void hk_cadence_push(hk_cadence_state_t *cadence, const hk_frame_t frames[2]);

/* What is known of the standards now: a finding, else a hint, else HK_CADENCE_NONE. A few thousand instructions. A
 * finding stands until the burst after its last would have been heard to its end. */
void hk_cadence_standard(const hk_cadence_state_t *cadence, hk_cadence_evidence_t *out);

/* The same, and where it is nothing: whether the latest 5 s beat evenly or hold a steady tone. Tens of thousands of
 * instructions: call it a few times a second, while an event is suspected. */
void hk_cadence_analyze(const hk_cadence_state_t *cadence, hk_cadence_evidence_t *out);

#endif
