/* Cadence: from the rise and fall of a sound's loudest bands, which temporal pattern a sounder follows.
 *
 * Every step (20 ms) the strongest mel band of each of a few groups of bands goes into a history of 9 s. When asked,
 * `hk_cadence_analyze` looks in it for the patterns of the standards (T3: ISO 8201; T4: UL 2034), for any other
 * regular beat and for a tone without gaps. It fits piecewise-constant templates to the history by least squares,
 * over a span of onset intervals, and demands that every single gap, above all the long pause of the pattern, is
 * really quieter than the pulses around it: a washing machine's 0.5 s on, 0.5 s off has T3's pulses but not its pause.
 *
 * The caller owns the struct; nothing is allocated. Levels are log2 of band energy, as hk_frame_t has them, so the
 * gain of the microphone and the distance of the sounder do not matter. Not for use in an interrupt. */
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
    uint8_t confidence; /* 0..255: correlation of pattern and sound, 255 = perfect */
} hk_cadence_evidence_t;

#define HK_CADENCE_HISTORY_STEPS 448 /* 8.96 s: two periods of T3 at its slowest; T4's burst, pause and burst */
#define HK_CADENCE_GROUPS 5             /* of mel bands: about 400 Hz to 4.3 kHz */

typedef struct {
    uint8_t level[HK_CADENCE_GROUPS][HK_CADENCE_HISTORY_STEPS]; /* rings: strongest band, quarters of log2 energy */
    int16_t mean_q8[HK_MEL_BANDS]; /* spectrum of the last second or so: a steady tone stands out of it */
    uint16_t next;                 /* where the coming step goes */
} hk_cadence_state_t;

/* Forgets everything. */
void hk_cadence_init(hk_cadence_state_t *cadence);

/* Takes one step, two frames. */
void hk_cadence_push(hk_cadence_state_t *cadence, const hk_frame_t frames[2]);

/* What pattern the latest 9 s follow. About half a million instructions on a Cortex-M4, 1.1 million at most in what
 * was measured: call it a few times a second, only while an event is suspected. Uses 3 KB of stack. */
void hk_cadence_analyze(const hk_cadence_state_t *cadence, hk_cadence_evidence_t *out);

#endif
