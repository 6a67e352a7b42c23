#include "hk_cadence.h"

#include <stddef.h>
#include <string.h>

/* Time inside this file is counted in ticks of 5 ms, four to a step: sums between steps are interpolated, so that
 * the fit tells 0.20 s from 0.22 s although the history has a value every 20 ms. */
#define TICKS_PER_STEP 4
#define TICK_MS 5
#define STEPS HK_CADENCE_HISTORY_STEPS
#define TICKS (STEPS * TICKS_PER_STEP)

/* A level is limited to this much below the history's loud level (quarters of log2: 15 dB). Without a limit, the
 * echo of a loud alarm in a silent room would count as sound until it had decayed by half of 90 dB. */
#define RANGE 20
/* The history's loud level: this share of the steps may be louder and is cut down to it (clicks, slammed doors). */
#define LOUDER_STEPS_DIVISOR 40
/* A pulse must stand out by this much from the gaps around it (quarters of log2: 0.75 dB). */
#define CONTRAST_MIN 1
/* A burst begins where the mean level of three steps exceeds that of the three before by this much. */
#define RISE_STEPS 3
#define RISE_MIN 2
/* Correlation of pattern and sound (255 = 1) that a finding of two periods needs, and that a single burst needs to be
 * a hint: by chance, music has a burst of three like beats now and then, but below the second figure. */
#define FINDING_CORRELATION_MIN 160
#define HINT_CORRELATION_MIN 192
/* A group whose level hardly varies holds no pattern. */
#define SPREAD_MIN 4
/* The mean spectrum follows over 2^6 steps, 1.3 s. */
#define MEAN_SHIFT 6
/* A tone stands out of the mean spectrum by this much (Q8 log2: 6 dB) above the lowest of its neighbours, either side. */
#define TONE_Q8 512
#define TONE_NEIGHBOURS 3

typedef struct {
    uint8_t first_band;
    uint8_t last_band;
} band_group_t;

/* Around 520 Hz; the low partials of rich tones; appliances; alarms of 2.4-3.2 kHz; alarms above. */
static const band_group_t GROUPS[HK_CADENCE_GROUPS] = { { 5, 10 }, { 11, 17 }, { 18, 22 }, { 23, 26 }, { 27, 31 } };

_Static_assert(HK_MEL_BANDS > 31 + TONE_NEIGHBOURS, "the groups name bands up to 31, and their neighbours");
_Static_assert(STEPS *RANGE <= UINT16_MAX / TICKS_PER_STEP, "sums of levels, times ticks, fit 16 bits");

typedef struct {
    int16_t least, most;
} range_t;

/* A pattern of the standards: bursts of `pulses`, onsets `beat` apart, `pause` from the last onset to the next burst's
 * first. In ticks. The fit moves within the wide ranges, and only what comes to rest within the narrow ones is accepted:
 * a fit held back at the limit would look as if it lay within it. The narrow ranges of beat and pause lie between the
 * 10 % that the standards admit and the 25 % of beepers that are something else; that of a pulse's length reaches
 * farther up, because rooms prolong it. */
typedef struct {
    uint8_t kind;
    uint8_t pulses;
    uint8_t phase_steps;    /* coarse search: every so many steps */
    uint8_t block;          /* the pause is looked at in blocks of this length: each must be quiet */
    range_t beat, beat_wide;
    range_t on, on_wide;
    range_t pause, pause_wide;
    int16_t before, after;  /* silence around a burst: before the first pulse, after the last */
    int16_t quiet_after;    /* silence after a single burst that makes it a hint */
    int16_t coarse_beat[3];
    int16_t coarse_on[2];
} pattern_t;

static const pattern_t PATTERNS[] = {
    {
        .kind = HK_CADENCE_T3, .pulses = 3, .phase_steps = 2, .block = 24,
        .beat = { 178, 222 }, .on = { 84, 140 }, .pause = { 348, 452 },
        .beat_wide = { 150, 260 }, .on_wide = { 60, 180 }, .pause_wide = { 300, 520 },
        .before = 130, .after = 150, .quiet_after = 160,
        .coarse_beat = { 184, 200, 216 }, .coarse_on = { 96, 120 },
    },
    {
        .kind = HK_CADENCE_T4, .pulses = 4, .phase_steps = 1, .block = 20,
        .beat = { 34, 46 }, .on = { 12, 36 }, .pause = { 890, 1150 },
        .beat_wide = { 28, 54 }, .on_wide = { 8, 44 }, .pause_wide = { 860, 1180 },
        .before = 60, .after = 60, .quiet_after = 160,
        .coarse_beat = { 36, 40, 44 }, .coarse_on = { 18, 26 },
    },
};

#define PATTERN_COUNT (sizeof PATTERNS / sizeof PATTERNS[0])
#define PULSES_MAX 4

/* One group's history, laid out straight. */
typedef struct {
    uint16_t prefix[STEPS + 1]; /* sum of the levels before a step */
    uint8_t level[STEPS];       /* 0..RANGE */
    int8_t burst[STEPS];        /* contrast of the best burst that begins at a step, or NO_BURST */
    uint8_t shape[STEPS];       /* which coarse beat and length that was */
} line_t;

#define NO_BURST (-128)

/* A burst, or two with the pause between them, laid over the history. Ticks from the history's start. */
typedef struct {
    int32_t at[2]; /* first onsets, earlier first; at[0] < 0: one burst only, at[1] */
    int32_t beat;
    int32_t on;
} fit_t;

void hk_cadence_init(hk_cadence_state_t *cadence)
{
    memset(cadence, 0, sizeof *cadence);
}

void hk_cadence_push(hk_cadence_state_t *cadence, const hk_frame_t frames[2])
{
    for (size_t g = 0; g < HK_CADENCE_GROUPS; g++) {
        int32_t strongest = 0;
        for (size_t b = GROUPS[g].first_band; b <= GROUPS[g].last_band; b++) {
            int32_t both = (int32_t)frames[0].log_mel_q8[b] + frames[1].log_mel_q8[b];
            strongest = both > strongest ? both : strongest;
        }
        /* mean of two Q8 values, in quarters: 0..200 for log2 energies of 0..50 */
        int32_t level = (strongest + 64) >> 7;
        cadence->level[g][cadence->next] = (uint8_t)(level > UINT8_MAX ? UINT8_MAX : level);
    }
    for (size_t b = 0; b < HK_MEL_BANDS; b++) {
        const int32_t mean = cadence->mean_q8[b];
        const int32_t both = ((int32_t)frames[0].log_mel_q8[b] + frames[1].log_mel_q8[b]) / 2;
        cadence->mean_q8[b] = (int16_t)(mean + (both - mean + (1 << (MEAN_SHIFT - 1))) / (1 << MEAN_SHIFT));
    }
    cadence->next = (uint16_t)((cadence->next + 1) % STEPS);
}

/* Whether a steady tone has been sounding in group `g`. */
static bool is_tonal(const hk_cadence_state_t *cadence, size_t g)
{
    for (size_t b = GROUPS[g].first_band; b <= GROUPS[g].last_band; b++) {
        int32_t below = INT16_MAX, above = INT16_MAX;
        for (size_t d = 1; d <= TONE_NEIGHBOURS; d++) {
            below = cadence->mean_q8[b - d] < below ? cadence->mean_q8[b - d] : below;
            above = cadence->mean_q8[b + d] < above ? cadence->mean_q8[b + d] : above;
        }
        if (cadence->mean_q8[b] - (below > above ? below : above) >= TONE_Q8) {
            return true;
        }
    }
    return false;
}

/* Lays group `g` out in order, cut to RANGE below its loud level. False if its level hardly varies. */
static bool line_open(line_t *line, const hk_cadence_state_t *cadence, size_t g)
{
    const uint8_t *ring = cadence->level[g];
    uint16_t histogram[UINT8_MAX + 1] = { 0 };
    for (size_t i = 0; i < STEPS; i++) {
        histogram[ring[i]]++;
    }
    int32_t loud = UINT8_MAX;
    for (size_t louder = histogram[UINT8_MAX]; loud > 0 && louder <= STEPS / LOUDER_STEPS_DIVISOR;) {
        loud--;
        louder += histogram[loud];
    }
    int32_t least = RANGE;
    line->prefix[0] = 0;
    for (size_t i = 0; i < STEPS; i++) {
        int32_t level = ring[(cadence->next + i) % STEPS] - (loud - RANGE);
        level = level < 0 ? 0 : (level > RANGE ? RANGE : level);
        least = level < least ? level : least;
        line->level[i] = (uint8_t)level;
        line->prefix[i + 1] = (uint16_t)(line->prefix[i] + level);
    }
    return RANGE - least >= SPREAD_MIN;
}

/* Sum of the level over [0, tick), in level x ticks. */
static inline int32_t line_sum(const line_t *line, int32_t tick)
{
    const uint32_t step = (uint32_t)tick / TICKS_PER_STEP;
    const int32_t rest = tick - (int32_t)step * TICKS_PER_STEP;
    const int32_t whole = line->prefix[step] * TICKS_PER_STEP;
    return rest == 0 ? whole : whole + line->level[step] * rest;
}

/* Mean level over [from, to), times 16; what lies outside the history is left out, and all of it outside is 0. */
static int32_t line_mean16(const line_t *line, int32_t from, int32_t to)
{
    from = from < 0 ? 0 : from;
    to = to > TICKS ? TICKS : to;
    return from >= to ? 0 : (line_sum(line, to) - line_sum(line, from)) * 16 / (to - from);
}

/* Loudest block in [from, to), times 16. */
static int32_t line_loudest16(const line_t *line, int32_t from, int32_t to, int32_t block)
{
    int32_t loudest = 0;
    to = to > TICKS ? TICKS : to;
    for (from = from < 0 ? 0 : from; from + block / 2 < to; from += block) {
        const int32_t end = from + block > to ? to : from + block;
        const int32_t mean = line_mean16(line, from, end);
        loudest = mean > loudest ? mean : loudest;
    }
    return loudest;
}

/* By how much the weakest pulse of a burst stands above the loudest gap in it and beside it, times 16. Gives up, with
 * a value below `least`, as soon as it must be less than that. */
static int32_t burst_contrast16(const line_t *line, const pattern_t *pattern, int32_t at, int32_t beat, int32_t on,
                                int32_t least)
{
    int32_t gap = line_mean16(line, at - (beat - on), at);
    int32_t pulse = INT32_MAX;
    for (int32_t k = 0; k < pattern->pulses; k++, at += beat) {
        const int32_t this_pulse = line_mean16(line, at, at + on);
        const int32_t this_gap = line_mean16(line, at + on, at + beat);
        pulse = this_pulse < pulse ? this_pulse : pulse;
        gap = this_gap > gap ? this_gap : gap;
        if (pulse - gap < least) {
            break;
        }
    }
    return pulse - gap;
}

/* Whether the level rises at a step: a burst begins with its first pulse after a silence. Spares nine tenths of the
 * search. */
static bool is_rise(const line_t *line, int32_t step)
{
    if (step < RISE_STEPS || step + RISE_STEPS > STEPS) {
        return false;
    }
    const int32_t before = line->prefix[step] - line->prefix[step - RISE_STEPS];
    return line->prefix[step + RISE_STEPS] - line->prefix[step] - before >= RISE_STEPS * RISE_MIN;
}

/* For each step, how well a burst begins there. */
static void find_bursts(line_t *line, const pattern_t *pattern)
{
    memset(line->burst, NO_BURST, sizeof line->burst);
    for (int32_t step = 0; step < STEPS; step += pattern->phase_steps) {
        int32_t best = CONTRAST_MIN * 16;
        if (!is_rise(line, step)) {
            continue;
        }
        for (uint8_t b = 0; b < 3; b++) {
            for (uint8_t w = 0; w < 2; w++) {
                const int32_t beat = pattern->coarse_beat[b], on = pattern->coarse_on[w];
                const int32_t at = step * TICKS_PER_STEP;
                /* heard to its end, and far enough on to know that no further pulse follows */
                if (at + (pattern->pulses - 1) * beat + on + pattern->after > TICKS) {
                    continue;
                }
                const int32_t contrast = burst_contrast16(line, pattern, at, beat, on, best);
                if (contrast >= best) {
                    best = contrast;
                    line->burst[step] = (int8_t)(contrast / 4);
                    line->shape[step] = (uint8_t)(b * 2 + w);
                }
            }
        }
    }
}

/* What a fit says about the history: sums over its pulses, over the gaps between them and over what should be silent. */
typedef struct {
    int32_t on_sum, on_ticks;
    int32_t gap_sum, gap_ticks;
    int32_t all_sum, all_ticks;
    int32_t from, to;
} sums_t;

static sums_t fit_sums(const line_t *line, const pattern_t *pattern, const fit_t *fit)
{
    sums_t sums = { 0 };
    const int32_t span = (pattern->pulses - 1) * fit->beat + fit->on;
    const int32_t first = fit->at[0] < 0 ? fit->at[1] : fit->at[0];
    const int32_t from = first - pattern->before, to = fit->at[1] + span + pattern->after;
    sums.from = from < 0 ? 0 : from;
    sums.to = to > TICKS ? TICKS : to;
    sums.all_sum = line_sum(line, sums.to) - line_sum(line, sums.from);
    sums.all_ticks = sums.to - sums.from;
    for (size_t burst = fit->at[0] < 0 ? 1U : 0U; burst < 2; burst++) {
        int32_t on_sum = 0;
        for (int32_t k = 0; k < pattern->pulses; k++) {
            const int32_t at = fit->at[burst] + k * fit->beat;
            on_sum += line_sum(line, at + fit->on) - line_sum(line, at);
        }
        sums.on_sum += on_sum;
        sums.on_ticks += pattern->pulses * fit->on;
        sums.gap_sum += line_sum(line, fit->at[burst] + span) - line_sum(line, fit->at[burst]) - on_sum;
        sums.gap_ticks += span - pattern->pulses * fit->on;
    }
    return sums;
}

/* The energy (squared level x ticks, times 16) that a template of three levels explains: pulses, the gaps between them,
 * silence. Least squares choose the fit that makes it largest. In a room that rings, the gaps of T4 are far from
 * silent: with two levels, the best fit would count them as sound. */
static int64_t fit_explained(const sums_t *sums)
{
    const int64_t on = sums->on_sum, gap = sums->gap_sum, all = sums->all_sum, rest = all - on - gap;
    const int32_t rest_ticks = sums->all_ticks - sums->on_ticks - sums->gap_ticks;
    if (on * sums->gap_ticks <= gap * sums->on_ticks || on * rest_ticks <= rest * sums->on_ticks) {
        return 0;
    }
    return 16 * on * on / sums->on_ticks + 16 * gap * gap / sums->gap_ticks + 16 * rest * rest / rest_ticks -
           16 * all * all / sums->all_ticks;
}

static bool is_within(int32_t value, range_t range)
{
    return value >= range.least && value <= range.most;
}

static int32_t fit_pause(const pattern_t *pattern, const fit_t *fit)
{
    return fit->at[1] - fit->at[0] - (pattern->pulses - 1) * fit->beat;
}

static bool fit_is_possible(const pattern_t *pattern, const fit_t *fit)
{
    const int32_t span = (pattern->pulses - 1) * fit->beat;
    return is_within(fit->beat, pattern->beat_wide) && is_within(fit->on, pattern->on_wide) && fit->on < fit->beat &&
           fit->at[1] >= 0 && fit->at[1] + span + fit->on <= TICKS &&
           (fit->at[0] < 0 || is_within(fit_pause(pattern, fit), pattern->pause_wide));
}

static bool fit_is_accepted(const pattern_t *pattern, const fit_t *fit)
{
    const bool has_two = fit->at[0] >= 0;
    const int32_t end = fit->at[1] + (pattern->pulses - 1) * fit->beat + fit->on;
    /* what came just before and after must have been heard as well: there may be one more pulse to the burst */
    return is_within(fit->beat, pattern->beat) && is_within(fit->on, pattern->on) &&
           fit->at[has_two ? 0 : 1] >= pattern->before / 2 && end + pattern->after <= TICKS &&
           (!has_two || is_within(fit_pause(pattern, fit), pattern->pause));
}

/* Ways in which a fit is moved. Beat and length change about a burst's middle as well as about its start: else the
 * onsets would have to follow in moves of their own, each of which by itself makes the fit worse. */
static const fit_t MOVES[] = {
    { .at = { 1, 1 } },
    { .at = { 1, 0 } },
    { .at = { 0, 1 } },
    { .beat = 1 },
    { .at = { -1, -1 }, .beat = 1 },
    { .at = { -2, -2 }, .beat = 1 },
    { .on = 1 },
    { .at = { -1, -1 }, .on = 1 },
    { .at = { -1, -1 }, .on = 2 },
    { .at = { -1, -1 }, .beat = 1, .on = -1 },
};

/* Moves the fit in ever smaller steps while more is explained. Returns what is explained in the end. */
static int64_t fit_refine(const line_t *line, const pattern_t *pattern, fit_t *fit)
{
    sums_t sums = fit_sums(line, pattern, fit);
    int64_t best = fit_explained(&sums);
    const bool has_two = fit->at[0] >= 0;
    for (int32_t size = 8; size >= 1; size /= 2) {
        bool is_better = true;
        for (int32_t round = 0; is_better && round < 6; round++) {
            is_better = false;
            for (size_t m = 0; m < sizeof MOVES / sizeof MOVES[0]; m++) {
                for (int32_t by = -size; by <= size; by += 2 * size) {
                    fit_t moved = *fit;
                    moved.at[0] += has_two ? by * MOVES[m].at[0] : 0;
                    moved.at[1] += by * MOVES[m].at[1];
                    moved.beat += by * MOVES[m].beat;
                    moved.on += by * MOVES[m].on;
                    if ((has_two && moved.at[0] < 0) || !fit_is_possible(pattern, &moved)) {
                        continue;
                    }
                    sums = fit_sums(line, pattern, &moved);
                    const int64_t explained = fit_explained(&sums);
                    if (explained > best) {
                        best = explained;
                        *fit = moved;
                        is_better = true;
                    }
                }
            }
        }
    }
    return best;
}

/* The weakest pulse against the loudest moment of the silences that the pattern demands, times 16. */
static int32_t fit_contrast16(const line_t *line, const pattern_t *pattern, const fit_t *fit)
{
    const int32_t span = (pattern->pulses - 1) * fit->beat + fit->on;
    const bool has_two = fit->at[0] >= 0;
    int32_t contrast = burst_contrast16(line, pattern, fit->at[1], fit->beat, fit->on, INT32_MIN);
    if (has_two) {
        const int32_t earlier = burst_contrast16(line, pattern, fit->at[0], fit->beat, fit->on, INT32_MIN);
        contrast = earlier < contrast ? earlier : contrast;
    }
    int32_t pulse = INT32_MAX;
    for (size_t burst = has_two ? 0U : 1U; burst < 2; burst++) {
        for (int32_t k = 0; k < pattern->pulses; k++) {
            const int32_t at = fit->at[burst] + k * fit->beat;
            const int32_t mean = line_mean16(line, at, at + fit->on);
            pulse = mean < pulse ? mean : pulse;
        }
    }
    /* an echo may ring into the silence: a tenth of a second of grace after a burst */
    const int32_t grace = 20;
    const int32_t first = has_two ? fit->at[0] : fit->at[1];
    const int32_t quiet = has_two ? pattern->pause.least - pattern->on.most : pattern->quiet_after;
    int32_t silence = line_loudest16(line, first - pattern->before, first - 4, pattern->block);
    const int32_t end = fit->at[1] + span;
    int32_t loudest = line_loudest16(line, end + grace, end + quiet, pattern->block);
    silence = loudest > silence ? loudest : silence;
    if (has_two) {
        loudest = line_loudest16(line, fit->at[0] + span + grace, fit->at[1] - 4, pattern->block);
        silence = loudest > silence ? loudest : silence;
    }
    return pulse - silence < contrast ? pulse - silence : contrast;
}

/* Share of the history's variance within the fit that the template explains, as a correlation of 0..255. */
static uint8_t fit_correlation(const line_t *line, const pattern_t *pattern, const fit_t *fit, int64_t explained)
{
    const sums_t sums = fit_sums(line, pattern, fit);
    int64_t squares = 0;
    for (int32_t step = sums.from / TICKS_PER_STEP; step < sums.to / TICKS_PER_STEP; step++) {
        squares += (int64_t)line->level[step] * line->level[step] * TICKS_PER_STEP;
    }
    const int64_t variance = squares - (int64_t)sums.all_sum * sums.all_sum / sums.all_ticks;
    if (variance <= 0) {
        return 0;
    }
    /* square root of the share, bit by bit */
    const int64_t share = explained * 255 * 255 / (16 * variance);
    int64_t root = 0;
    for (int64_t bit = 128; bit > 0; bit /= 2) {
        if ((root + bit) * (root + bit) <= share) {
            root += bit;
        }
    }
    return (uint8_t)root;
}

static void take_if_better(const line_t *line, const pattern_t *pattern, fit_t fit, hk_cadence_evidence_t *best)
{
    const int64_t explained = fit_refine(line, pattern, &fit);
    if (!fit_is_accepted(pattern, &fit) || fit_contrast16(line, pattern, &fit) < CONTRAST_MIN * 16) {
        return;
    }
    const bool has_two = fit.at[0] >= 0;
    const uint8_t periods = has_two ? 2 : 1;
    const uint8_t confidence = fit_correlation(line, pattern, &fit, explained);
    if (confidence < (has_two ? FINDING_CORRELATION_MIN : HINT_CORRELATION_MIN)) {
        return;
    }
    if (periods < best->periods || (periods == best->periods && confidence <= best->confidence)) {
        return;
    }
    const int32_t pause = has_two ? fit_pause(pattern, &fit) - fit.on : 0;
    *best = (hk_cadence_evidence_t){
        .on_ms = (uint16_t)(fit.on * TICK_MS),
        .off_ms = (uint16_t)((fit.beat - fit.on) * TICK_MS),
        .pause_ms = (uint16_t)(pause * TICK_MS),
        .kind = pattern->kind,
        .periods = periods,
        .confidence = confidence,
    };
}

static fit_t fit_at(const line_t *line, const pattern_t *pattern, int32_t earlier_step, int32_t later_step)
{
    const uint8_t shape = line->shape[later_step];
    return (fit_t){
        .at = { earlier_step < 0 ? -1 : earlier_step * TICKS_PER_STEP, later_step * TICKS_PER_STEP },
        .beat = pattern->coarse_beat[shape / 2],
        .on = pattern->coarse_on[shape % 2],
    };
}

/* The best pair of bursts a period apart, and failing that the best single burst with silence after it. */
static void find_pattern(line_t *line, const pattern_t *pattern, hk_cadence_evidence_t *best)
{
    find_bursts(line, pattern);
    const int32_t gaps = pattern->pulses - 1;
    const int32_t nearest = (gaps * pattern->beat.least + pattern->pause.least) / TICKS_PER_STEP;
    const int32_t farthest = (gaps * pattern->beat.most + pattern->pause.most) / TICKS_PER_STEP;
    int32_t best_sum = 0, best_single = 0, earlier = -1, later = -1, single = -1;
    for (int32_t step = 0; step < STEPS; step++) {
        if (line->burst[step] == NO_BURST) {
            continue;
        }
        const int32_t end = step * TICKS_PER_STEP + gaps * pattern->coarse_beat[2] + pattern->coarse_on[1];
        if (line->burst[step] > best_single && end + pattern->quiet_after <= TICKS) {
            best_single = line->burst[step];
            single = step;
        }
        for (int32_t before = step - farthest; before <= step - nearest; before++) {
            if (before < 0 || line->burst[before] == NO_BURST) {
                continue;
            }
            const int32_t sum = line->burst[before] + line->burst[step];
            if (sum > best_sum) {
                best_sum = sum;
                earlier = before;
                later = step;
            }
        }
    }
    if (later >= 0) {
        take_if_better(line, pattern, fit_at(line, pattern, earlier, later), best);
    }
    if (best->periods < 2 && single >= 0) {
        take_if_better(line, pattern, fit_at(line, pattern, -1, single), best);
    }
}

/* On and off times of a line, cut at half its range, with hysteresis; the latest RUNS pulses. */
#define RUNS 8
typedef struct {
    int32_t onset[RUNS]; /* steps, oldest first */
    int32_t on[RUNS];
    int32_t count;
    int32_t loud_steps;  /* of the latest CONTINUOUS_STEPS */
    int32_t longest_gap; /* in the latest CONTINUOUS_STEPS */
} runs_t;

#define CONTINUOUS_STEPS 150 /* 3 s */
#define CONTINUOUS_LOUD_STEPS 112
#define CONTINUOUS_GAP_STEPS 6
#define PULSE_STEPS_MIN 3 /* shorter ones are clicks */
#define RISE_LEVEL 13
#define FALL_LEVEL 8

static void find_runs(const line_t *line, runs_t *runs)
{
    bool is_on = false;
    int32_t onset = 0, gap = 0;
    memset(runs, 0, sizeof *runs);
    for (int32_t step = 0; step < STEPS; step++) {
        const int32_t level = line->level[step];
        const bool was_on = is_on;
        is_on = level >= (was_on ? FALL_LEVEL : RISE_LEVEL);
        if (is_on && !was_on) {
            onset = step;
        }
        if (was_on && !is_on && onset > 0) { /* a pulse that was on already when the history began has no length */
            if (runs->count == RUNS) {
                memmove(runs->onset, runs->onset + 1, sizeof runs->onset - sizeof runs->onset[0]);
                memmove(runs->on, runs->on + 1, sizeof runs->on - sizeof runs->on[0]);
                runs->count--;
            }
            runs->onset[runs->count] = onset;
            runs->on[runs->count] = step - onset;
            runs->count++;
        }
        if (step >= STEPS - CONTINUOUS_STEPS) {
            runs->loud_steps += is_on;
            gap = is_on ? 0 : gap + 1;
            runs->longest_gap = gap > runs->longest_gap ? gap : runs->longest_gap;
        }
    }
}

/* a and b within a quarter of each other, give or take a step */
static bool are_alike(int32_t a, int32_t b)
{
    const int32_t difference = a > b ? a - b : b - a;
    return difference * 4 <= (a > b ? a : b) + 4;
}

/* Whether a beat could still turn out to be the first burst of a pattern of the standards. */
static bool is_begun_pattern(int32_t pulses, int32_t beat_steps, int32_t on_steps)
{
    for (size_t p = 0; p < PATTERN_COUNT; p++) {
        const pattern_t *pattern = &PATTERNS[p];
        const int32_t beat = beat_steps * TICKS_PER_STEP, on = on_steps * TICKS_PER_STEP;
        const int32_t slack = TICKS_PER_STEP;
        if (pulses <= pattern->pulses && beat >= pattern->beat.least - slack && beat <= pattern->beat.most + slack &&
            on >= pattern->on.least - slack && on <= pattern->on.most + slack) {
            return true;
        }
    }
    return false;
}

/* A tone without gaps, or a sound that beats evenly: the latest pulses, at least three, of one length and distance. */
static void find_other(const line_t *line, bool has_tone, hk_cadence_evidence_t *best)
{
    runs_t runs;
    find_runs(line, &runs);
    if (has_tone && runs.loud_steps >= CONTINUOUS_LOUD_STEPS &&
        runs.longest_gap <= CONTINUOUS_GAP_STEPS) {
        *best = (hk_cadence_evidence_t){
            .kind = HK_CADENCE_CONTINUOUS,
            .on_ms = (uint16_t)(runs.loud_steps * TICKS_PER_STEP * TICK_MS),
            .periods = 1,
            .confidence = (uint8_t)(runs.loud_steps * 255 / CONTINUOUS_STEPS),
        };
        return;
    }
    int32_t last = runs.count - 1, pulses = 1;
    if (last < 2 || runs.on[last] < PULSE_STEPS_MIN) {
        return;
    }
    const int32_t beat = runs.onset[last] - runs.onset[last - 1];
    while (last - pulses >= 0 && are_alike(runs.on[last - pulses], runs.on[last]) &&
           are_alike(runs.onset[last - pulses + 1] - runs.onset[last - pulses], beat)) {
        pulses++;
    }
    if (pulses < 3 || is_begun_pattern(pulses, beat, runs.on[last])) {
        return;
    }
    *best = (hk_cadence_evidence_t){
        .on_ms = (uint16_t)(runs.on[last] * TICKS_PER_STEP * TICK_MS),
        .off_ms = (uint16_t)((beat - runs.on[last]) * TICKS_PER_STEP * TICK_MS),
        .kind = HK_CADENCE_OTHER,
        .periods = (uint8_t)(pulses - 1),
        .confidence = (uint8_t)(255 * pulses / (pulses + 1)),
    };
}

void hk_cadence_analyze(const hk_cadence_state_t *cadence, hk_cadence_evidence_t *out)
{
    line_t line;
    hk_cadence_evidence_t standard = { .kind = HK_CADENCE_NONE }, other = { .kind = HK_CADENCE_NONE };
    for (size_t g = 0; g < HK_CADENCE_GROUPS; g++) {
        const bool is_varied = line_open(&line, cadence, g);
        for (size_t p = 0; is_varied && p < PATTERN_COUNT; p++) {
            find_pattern(&line, &PATTERNS[p], &standard);
        }
        hk_cadence_evidence_t here = { .kind = HK_CADENCE_NONE };
        find_other(&line, is_tonal(cadence, g), &here);
        if (here.kind > other.kind || (here.kind == other.kind && here.confidence > other.confidence)) {
            other = here;
        }
    }
    /* a tone without gaps tells more than a beat in another group of bands */
    *out = standard.kind != HK_CADENCE_NONE ? standard : other;
}
