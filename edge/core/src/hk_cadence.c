#include "hk_cadence.h"

#include <stddef.h>
#include <string.h>

/* Levels are in quarters of log2 (0.75 dB). A burst's levels are looked at within this much of its loudest (15 dB).
 * Without a limit, the echo of a loud alarm in a silent room would count as sound until it had decayed by half of 90 dB. */
#define RANGE 20
/* Positions within a burst, and beats, are in quarters of a tick; levels between ticks are interpolated. */
#define QUARTERS 4
#define SMOOTHED 4
/* The beat that two bursts have, and by which they are known, is told in parts of a quarter. */
#define BEAT_PARTS 8
/* Levels read off a window between its ticks: so many to a quarter of log2. */
#define FINE_LEVEL (QUARTERS * SMOOTHED)
#define FRAME_MS 10
#define FRAMES_PER_COARSE 8
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
_Static_assert(UINT8_MAX * FRAMES_PER_COARSE <= UINT16_MAX, "a coarse tick's sum fits 16 bits");

typedef struct {
    uint16_t least, most;
} range_t;

/* A pattern of the standards: bursts of `pulses`, onsets `beat` apart, `pause` from the end of the last to the next
 * burst. What is accepted lies between the 10 % that the standards admit and the 25 % of beepers that are something
 * else. Times are in ticks, beats in quarters of a tick. */
typedef struct {
    uint8_t kind;
    uint8_t pulses;
    uint8_t tick_frames;     /* a tick is so many frames */
    uint8_t rise;            /* a rise is measured over so many ticks */
    uint8_t before, after;   /* ticks that are looked at, up to a beat, before and after the burst */
    uint8_t behind;          /* ticks after its first onset at which a burst is looked for */
    uint8_t beat_coarse;     /* step of the first search for the beat ... */
    uint8_t stride;          /* ... in which every so many ticks are looked at */
    uint8_t glance;          /* and so many at the first glance, which decides whether to look at all */
    range_t beat_search;     /* the beat that fits best is looked for in this range ... */
    range_t beats_kept;      /* ... and is kept where it lies in this one: other groups of bands may know it better */
    range_t beats;           /* the sum of two bursts' beats, by all groups, must lie in this one: eighths of a quarter */
    range_t on, on_dry;      /* with an echo, and where the pulses end at once */
    uint16_t pause_ms_least, pause_ms_most;
    int8_t late;             /* the shape may rise so many ticks beside the first onset ... */
    bool is_late_allowed;    /* ... or anywhere */
    uint8_t clicks;          /* so many coarse ticks of the pause may be loud nevertheless */
    uint8_t lull;            /* but none as long as this many, about a burst */
    uint16_t grace_ms;       /* how long an echo may ring into the pause */
    uint16_t hint_quiet_ms;  /* silence after a single burst that makes it a hint */
    uint8_t agreement_least; /* of one burst */
    uint8_t finding_least;   /* mean of two */
    uint8_t hint_least;      /* of a burst that is to be a hint */
    uint8_t beat_alike;      /* two bursts' beats may differ by this */
} pattern_t;

static const pattern_t PATTERNS[HK_CADENCE_PATTERNS] = {
    {
        .kind = HK_CADENCE_T3, .pulses = 3, .tick_frames = 2, .rise = 3, .before = 40, .after = 40, .behind = 168, .beat_coarse = 4, .stride = 4, .glance = 4,
        .beat_search = { 160, 222 }, .beats_kept = { 166, 222 }, .beats = { 2840, 3560 }, .on = { 14, 42 }, .on_dry = { 19, 31 },
        .pause_ms_least = 1210, .pause_ms_most = 1790, .late = 12, .clicks = 1, .lull = 6, .grace_ms = 500, .hint_quiet_ms = 800,
        .agreement_least = 140, .finding_least = 200, .hint_least = 190, .beat_alike = 6,
    },
    {
        .kind = HK_CADENCE_T4, .pulses = 4, .tick_frames = 1, .rise = 4, .before = 22, .after = 22, .behind = 118, .beat_coarse = 2, .stride = 1, .glance = 2,
        .beat_search = { 62, 104 }, .beats_kept = { 64, 98 }, .beats = { 1142, 1422 }, .on = { 4, 22 }, .on_dry = { 6, 16 },
        .pause_ms_least = 4200, .pause_ms_most = 5800, .late = 3, .is_late_allowed = true, .clicks = 2, .lull = 9, .grace_ms = 700, .hint_quiet_ms = 800,
        .agreement_least = 120, .finding_least = 170, .hint_least = 180, .beat_alike = 4,
    },
};

#define PULSES_MAX 4
#define BEAT_TICKS_MAX 58  /* of both patterns */
#define WINDOW_MAX HK_CADENCE_MEDIUM
/* Two bursts of one sounder are as loud as each other, give or take this (quarters of log2). */
#define LOUD_ALIKE 6
/* A burst is of no use any more after this: the longest period of both patterns. */
#define KEPT_FRAMES 900
/* Rises smaller than this are not looked into (quarters of log2). */
#define RISE_MIN 2
/* Nor bursts that stand out of what was before by less than this, 1.1 dB, and half of it after. */
#define BODY_MIN (3 * FINE_LEVEL / 2)
/* At the first glance, which sees few levels, by less. */
#define GLANCE_MIN (FINE_LEVEL * 3 / 4)
/* Steady noise is hardly ever louder than its mean by this, over a coarse tick (quarters of log2). */
#define NOISE_RANGE 3
/* What came before a burst must be hardly louder than what came in this long before that. */
#define LONG_BEFORE_FRAMES 48
/* Before a burst, every so many ticks must be quiet. */
#define SILENCE_TICKS 4

/* A stretch of one group's history, cut to RANGE below its loudest. */
typedef struct {
    uint8_t level[WINDOW_MAX]; /* above loud - RANGE, times SMOOTHED */
    int32_t length;
    int32_t loud; /* level that RANGE stands for */
} window_t;

/* Pulses laid over each other. Levels times FINE_LEVEL. */
typedef struct {
    int32_t beat;
    int32_t ticks;                    /* whole ticks in a beat */
    int16_t shape[BEAT_TICKS_MAX];    /* sum over the pulses */
    int32_t segment[PULSES_MAX];      /* mean level over each pulse and the gap after it */
    int32_t agreement;                /* 0..255 */
    int32_t agreement_q8;
} fold_t;

void hk_cadence_init(hk_cadence_state_t *cadence)
{
    memset(cadence, 0, sizeof *cadence);
}

static const uint8_t *ring_of(const hk_cadence_state_t *cadence, const pattern_t *pattern, size_t group, int32_t *size)
{
    const bool is_fine = pattern->tick_frames == 1;
    *size = is_fine ? HK_CADENCE_FINE : HK_CADENCE_MEDIUM;
    return is_fine ? cadence->fine[group] : cadence->medium[group];
}

static int32_t window_cut(const window_t *window, int32_t i)
{
    const int32_t level = window->level[i] - (window->loud - RANGE);
    return level < 0 ? 0 : (level > RANGE ? RANGE : level);
}

/* Copies `length` ticks up to and with tick `last` out of a ring, cut to the range below the level that is held for
 * three ticks somewhere from `from` on, or below `ceiling` if that is lower, and smooths them a little: what lies between two ticks is then hardly smoother than
 * a tick itself, and a beat of whole ticks fares no worse than any other. */
static void window_open(window_t *window, const uint8_t *ring, int32_t size, uint32_t last, int32_t length, int32_t from,
                        int32_t ceiling)
{
    int32_t index = (int32_t)(last % (uint32_t)size) - (length - 1);
    index += index < 0 ? size : 0;
    window->length = length;
    int32_t loud = 0;
    for (int32_t i = 0; i < length; i++) {
        window->level[i] = ring[index];
        index = index + 1 == size ? 0 : index + 1;
        if (i >= from + 2) {
            int32_t held = window->level[i];
            held = window->level[i - 1] < held ? window->level[i - 1] : held;
            held = window->level[i - 2] < held ? window->level[i - 2] : held;
            loud = held > loud ? held : loud;
        }
    }
    window->loud = loud < ceiling ? loud : ceiling;
    int32_t before = -1, here = window_cut(window, 0);
    for (int32_t i = 0; i < length; i++) {
        const int32_t next = i + 1 < length ? window_cut(window, i + 1) : here;
        window->level[i] = (uint8_t)((before < 0 ? here : before) + 2 * here + next);
        before = here;
        here = next;
    }
}

static int32_t window_sum(const window_t *window, int32_t from, int32_t to)
{
    int32_t sum = 0;
    for (int32_t i = from; i < to; i++) {
        sum += window->level[i];
    }
    return sum;
}

/* Lays the pulses that begin at tick `at` over each other at a beat. The agreement is the share of the variance within
 * the pulses that their mean shape explains; their mean levels do not count, since in a room a burst's first pulse is
 * not yet borne by the echo of those before. */
static void fold_at(const window_t *window, const pattern_t *pattern, int32_t at, int32_t beat, int32_t ticks,
                    int32_t stride, fold_t *fold)
{
    const int32_t pulses = pattern->pulses;
    int32_t total = 0, squares = 0, between = 0;
    int64_t within = 0;
    memset(fold->shape, 0, (size_t)ticks * sizeof fold->shape[0]);
    for (int32_t k = 0; k < pulses; k++) {
        /* between two ticks, as far from each as the pulse's start is: the same for all of its ticks */
        const uint32_t start = (uint32_t)(at * QUARTERS + k * beat), rest = start % QUARTERS;
        const int32_t here = QUARTERS - (int32_t)rest, next = (int32_t)rest;
        const uint8_t *level = &window->level[start / QUARTERS];
        int32_t sum = 0;
        for (int32_t j = 0; j < ticks; j++, level += stride) {
            const int32_t between_ticks = level[0] * here + level[1] * next;
            fold->shape[j] = (int16_t)(fold->shape[j] + between_ticks);
            sum += between_ticks;
            squares += between_ticks * between_ticks;
        }
        fold->segment[k] = sum / ticks;
        total += sum;
        within += (int64_t)sum * sum;
    }
    for (int32_t j = 0; j < ticks; j++) {
        between += fold->shape[j] * fold->shape[j];
    }
    const int64_t explained = (int64_t)between * ticks - (int64_t)total * total;
    const int64_t variance = ((int64_t)squares * ticks - within) * pulses;
    fold->beat = beat;
    fold->ticks = ticks;
    fold->agreement_q8 = variance > 0 ? (int32_t)(explained * (UINT8_MAX << 8) / variance) : 0;
    fold->agreement = fold->agreement_q8 >> 8;
}

/* By how much the best beat is longer than `beat`, in parts of a quarter: where the parabola through the agreement at
 * it and its neighbours is highest. */
static int32_t beat_rest(const window_t *window, const pattern_t *pattern, int32_t at, int32_t beat)
{
    fold_t fold;
    const int32_t ticks = pattern->beat_search.least / QUARTERS;
    int32_t agreement[3];
    for (int32_t i = 0; i < 3; i++) {
        fold_at(window, pattern, at, beat + i - 1, ticks, 1, &fold);
        agreement[i] = fold.agreement_q8;
    }
    const int32_t bend = 2 * agreement[1] - agreement[0] - agreement[2];
    const int32_t rest = bend > 0 ? (agreement[2] - agreement[0]) * BEAT_PARTS / (2 * bend) : 0;
    return rest > BEAT_PARTS / 2 ? BEAT_PARTS / 2 : rest < -BEAT_PARTS / 2 ? -BEAT_PARTS / 2 : rest;
}

/* The beat at which the pulses agree best. All beats are compared over as many ticks: those of the shortest. */
static void fold_best(const window_t *window, const pattern_t *pattern, int32_t at, fold_t *fold)
{
    const int32_t ticks = pattern->beat_search.least / QUARTERS, stride = pattern->stride;
    int32_t best = 0, best_beat = pattern->beat_search.least;
    for (int32_t beat = pattern->beat_search.least; beat <= pattern->beat_search.most; beat += pattern->beat_coarse) {
        fold_at(window, pattern, at, beat, ticks / stride, stride, fold);
        if (fold->agreement > best) {
            best = fold->agreement;
            best_beat = beat;
        }
    }
    if (best < pattern->agreement_least * 3 / 4) {
        fold->agreement = best;
        return;
    }
    fold_at(window, pattern, at, best_beat, ticks, 1, fold);
    best = fold->agreement;
    for (int32_t by = pattern->beat_coarse / 2; by >= 1; by /= 2) {
        const int32_t middle = best_beat;
        for (int32_t beat = middle - by; beat <= middle + by; beat += 2 * by) {
            fold_at(window, pattern, at, beat, ticks, 1, fold);
            if (fold->agreement > best) {
                best = fold->agreement;
                best_beat = beat;
            }
        }
    }
    fold_at(window, pattern, at, best_beat, best_beat / QUARTERS, 1, fold);
    fold->agreement = best;
}

/* Sum of three neighbours of the shape, around its end as well. */
static int32_t shape_smooth(const fold_t *fold, int32_t j)
{
    const int32_t before = j == 0 ? fold->ticks - 1 : j - 1, after = j + 1 == fold->ticks ? 0 : j + 1;
    return fold->shape[before] + fold->shape[j] + fold->shape[after];
}

/* Where the shape rises most, in ticks from its start: -ticks/2 .. ticks/2. */
static int32_t steepest_rise(const fold_t *fold, int32_t over)
{
    int32_t most = INT32_MIN, where = 0;
    for (int32_t j = 0; j < fold->ticks; j++) {
        int32_t rise = 0;
        for (int32_t i = 0; i < over; i++) {
            rise += fold->shape[(j + i) % fold->ticks] - fold->shape[(j + fold->ticks - 2 - i) % fold->ticks];
        }
        if (rise > most) {
            most = rise;
            where = j;
        }
    }
    return where > fold->ticks / 2 ? where - fold->ticks : where;
}

/* Whether the shape is one pulse: a beat twice or three times as fast fits the fold as well, but agrees with itself when
 * it is shifted by a half or a third. */
static bool is_one_pulse(const fold_t *fold)
{
    int32_t mean = 0;
    for (int32_t j = 0; j < fold->ticks; j++) {
        mean += fold->shape[j];
    }
    mean /= fold->ticks;
    int64_t own = 0, half = 0, third = 0;
    for (int32_t j = 0; j < fold->ticks; j++) {
        const int32_t here = fold->shape[j] - mean;
        own += here * here;
        half += here * (fold->shape[(j + fold->ticks / 2) % fold->ticks] - mean);
        third += here * (fold->shape[(j + fold->ticks / 3) % fold->ticks] - mean);
    }
    return half * 10 < own * 8 && third * 10 < own * 8;
}

/* A pulse's length in ticks: where the level, having been steady, begins to fall. In a room the level falls slowly, so
 * half of the fall would come too late: the bend is looked for, as the best fit of a steady level followed by a straight
 * decline down to the shape's floor. */
static int32_t pulse_length(const fold_t *fold, int32_t *fall_ticks)
{
    int32_t floor = INT32_MAX, top = 0;
    for (int32_t j = 0; j < fold->ticks; j++) {
        const int32_t level = fold->shape[j];
        floor = level < floor ? level : floor;
        top = level > top ? level : top;
    }
    int64_t best = INT64_MAX;
    int32_t best_on = fold->ticks / 2;
    for (int32_t on = fold->ticks / 4; on <= fold->ticks * 7 / 8; on++) {
        int32_t steady = 0, count = 0;
        for (int32_t j = 2; j < on; j++) {
            steady += fold->shape[j];
            count++;
        }
        steady = count > 0 ? steady / count : top;
        /* the decline takes from one tick to three quarters of a beat */
        for (int32_t fall = 1; fall <= fold->ticks * 3 / 4; fall = fall * 2) {
            int64_t error = 0;
            for (int32_t j = 2; j < fold->ticks; j++) {
                int32_t level = steady;
                if (j >= on) {
                    level = j - on >= fall ? floor : steady - (steady - floor) * (j - on) / fall;
                }
                error += (int64_t)(fold->shape[j] - level) * (fold->shape[j] - level);
            }
            if (error < best) {
                best = error;
                best_on = on;
                *fall_ticks = fall;
            }
        }
    }
    /* a pulse that ends at once is smeared by the window and the smoothing: its end is the middle of a short fall */
    return best_on + (*fall_ticks < 4 ? *fall_ticks : 4) / 2;
}

/* The number of coarse ticks within [from, to) frames at which a group is above `level`. */
static int32_t coarse_above(const hk_cadence_state_t *cadence, size_t group, uint32_t from, uint32_t to, int32_t level)
{
    int32_t above = 0;
    const uint32_t done = cadence->frames / FRAMES_PER_COARSE;
    for (uint32_t tick = (from + FRAMES_PER_COARSE - 1) / FRAMES_PER_COARSE; (tick + 1) * FRAMES_PER_COARSE <= to; tick++) {
        if (tick < done && done - tick <= HK_CADENCE_COARSE) {
            above += cadence->coarse[group][tick % HK_CADENCE_COARSE] > level;
        }
    }
    return above;
}

/* Mean level of a group over the coarse ticks within [from, to) frames; -1 where none is known. */
static int32_t coarse_mean(const hk_cadence_state_t *cadence, size_t group, uint32_t from, uint32_t to)
{
    int32_t sum = 0, count = 0;
    const uint32_t done = cadence->frames / FRAMES_PER_COARSE;
    for (uint32_t tick = (from + FRAMES_PER_COARSE - 1) / FRAMES_PER_COARSE; (tick + 1) * FRAMES_PER_COARSE <= to; tick++) {
        if (tick < done && done - tick <= HK_CADENCE_COARSE) {
            sum += cadence->coarse[group][tick % HK_CADENCE_COARSE];
            count++;
        }
    }
    return count > 0 ? sum / count : -1;
}

/* Whether some stretch of the pause, [from, to) frames, as long as a burst is louder than its gaps are: bursts that
 * come oftener than the pattern's may have pulses too short for a coarse tick to be loud by itself. */
static bool is_burst_in_pause(const hk_cadence_state_t *cadence, const pattern_t *pattern,
                              const hk_cadence_burst_t *burst, uint32_t from, uint32_t to)
{
    const uint32_t done = cadence->frames / FRAMES_PER_COARSE, stretch = pattern->lull;
    /* a third of the way from the gaps to the pulses, and half a unit more, in tenths */
    const int32_t level = 10 * burst->loud - 7 * burst->contrast + 5;
    const uint8_t *ring = cadence->coarse[burst->group];
    int32_t sum = 0;
    uint32_t count = 0;
    for (uint32_t tick = (from + FRAMES_PER_COARSE - 1) / FRAMES_PER_COARSE; (tick + 1) * FRAMES_PER_COARSE <= to; tick++) {
        if (tick >= done || done - tick > HK_CADENCE_COARSE) {
            continue;
        }
        sum += ring[tick % HK_CADENCE_COARSE];
        count++;
        if (count > stretch) {
            sum -= ring[(tick - stretch) % HK_CADENCE_COARSE];
        }
        if (count >= stretch && 10 * sum > level * (int32_t)stretch) {
            return true;
        }
    }
    return false;
}

/* Below this a moment counts as silent beside a burst's pulses. */
static int32_t silence_level(const hk_cadence_burst_t *burst)
{
    const int32_t below = burst->contrast / 2;
    return burst->loud - (below > 1 ? below : 1);
}

static uint32_t frames_of_quarters(const pattern_t *pattern, uint32_t quarters)
{
    return quarters * pattern->tick_frames / QUARTERS;
}

/* From a burst's first onset to the end of its last pulse, in frames. */
static uint32_t span_frames(const pattern_t *pattern, const hk_cadence_burst_t *burst)
{
    return frames_of_quarters(pattern, (uint32_t)(pattern->pulses - 1) * burst->beat) +
           (uint32_t)burst->on * pattern->tick_frames;
}

/* Whether two bursts may be of one sounder: one beat, one loudness, one shape. */
static bool are_bursts_alike(const pattern_t *pattern, const hk_cadence_burst_t *a, const hk_cadence_burst_t *b)
{
    const int32_t beat_difference = a->beat - b->beat, loud_difference = a->loud - b->loud;
    return a->group == b->group && beat_difference <= pattern->beat_alike && beat_difference >= -pattern->beat_alike &&
           a->agreement + b->agreement >= 2 * pattern->finding_least && loud_difference <= LOUD_ALIKE &&
           loud_difference >= -LOUD_ALIKE && a->contrast <= 2 * b->contrast + 1 && b->contrast <= 2 * a->contrast + 1;
}

/* Whether a pause, [from, to) frames, is silent beside a burst. */
static bool is_pause_silent(const hk_cadence_state_t *cadence, const pattern_t *pattern,
                            const hk_cadence_burst_t *burst, uint32_t from, uint32_t to)
{
    /* a quarter of the way from the gaps to the pulses, and above what noise does; half way where that is less */
    const int32_t quarter = burst->contrast / 4, half = burst->contrast / 2;
    const int32_t below = burst->contrast - (quarter > NOISE_RANGE ? quarter : NOISE_RANGE);
    const int32_t level = burst->loud - (below > half ? below : half > 1 ? half : 1);
    return coarse_above(cadence, burst->group, from, to, level) <= pattern->clicks &&
           !is_burst_in_pause(cadence, pattern, burst, from, to);
}

/* Whether it is so in every group of bands that heard the burst better: a tone leaks into others, in which it hardly rises
 * above the noise, and what sounds between two bursts may be missed there. */
static bool is_pause_silent_elsewhere(const hk_cadence_state_t *cadence, const pattern_t *pattern,
                                      const hk_cadence_burst_t *burst, uint32_t from, uint32_t to)
{
    const hk_cadence_burst_t *others = cadence->bursts[pattern - PATTERNS];
    const uint32_t near = frames_of_quarters(pattern, burst->beat);
    for (size_t i = 0; i < HK_CADENCE_BURSTS; i++) {
        const hk_cadence_burst_t *other = &others[i];
        if (other->periods > 0 && other->group != burst->group && other->contrast > burst->contrast &&
            other->at + near > burst->at && burst->at + near > other->at &&
            !is_pause_silent(cadence, pattern, other, from, to)) {
            return false;
        }
    }
    return true;
}

/* Whether `later` follows `earlier` as a pattern's period asks; if so, the pause between them in frames. Half a beat is
 * taken for a pulse's length here: in a room its end is known worse than that. */
static uint32_t pause_between(const hk_cadence_state_t *cadence, const pattern_t *pattern,
                              const hk_cadence_burst_t *earlier, const hk_cadence_burst_t *later)
{
    const uint32_t span = frames_of_quarters(pattern, (uint32_t)(2 * pattern->pulses - 1) * earlier->beat) / 2;
    const uint32_t end = earlier->at + span;
    if (earlier->periods == 0 || end >= later->at || !are_bursts_alike(pattern, earlier, later)) {
        return 0;
    }
    const uint32_t pause = later->at - end;
    if (pause * FRAME_MS < pattern->pause_ms_least || pause * FRAME_MS > pattern->pause_ms_most) {
        return 0;
    }
    const uint32_t from = end + pattern->grace_ms / FRAME_MS, to = later->at - 2;
    if (!is_pause_silent(cadence, pattern, earlier, from, to) || !is_pause_silent(cadence, pattern, later, from, to) ||
        !is_pause_silent_elsewhere(cadence, pattern, earlier, from, to) ||
        !is_pause_silent_elsewhere(cadence, pattern, later, from, to)) {
        return 0;
    }
    return pause;
}

/* Whether the beat of a burst is the pattern's, by all groups of bands that heard as many bursts in a row: each knows it
 * the better the more its pulses agree, with the fourth power of that. */
static bool is_beat_right(const hk_cadence_state_t *cadence, size_t p, const hk_cadence_burst_t *burst)
{
    const pattern_t *pattern = &PATTERNS[p];
    const uint32_t near = frames_of_quarters(pattern, burst->beat);
    int64_t sum = 0, weights = 0;
    for (size_t i = 0; i < HK_CADENCE_BURSTS; i++) {
        const hk_cadence_burst_t *other = &cadence->bursts[p][i];
        if (other->periods > 0 && (other->periods > 1) == (burst->periods > 1) && other->at + near > burst->at &&
            burst->at + near > other->at) {
            const int32_t square = other->agreement * other->agreement >> 8, weight = square * square;
            sum += (int64_t)weight * other->beats;
            weights += weight;
        }
    }
    return sum >= weights * pattern->beats.least && sum <= weights * pattern->beats.most;
}

/* Whether two entries are one burst, taken for two because its onset was. */
static bool is_same_burst(const pattern_t *pattern, const hk_cadence_burst_t *a, const hk_cadence_burst_t *b)
{
    const uint32_t apart = a->at > b->at ? a->at - b->at : b->at - a->at;
    return a->periods > 0 && b->periods > 0 && a->group == b->group &&
           apart < frames_of_quarters(pattern, (uint32_t)b->beat * 3 / 4);
}

static void remember(hk_cadence_state_t *cadence, size_t p, hk_cadence_burst_t burst)
{
    const pattern_t *pattern = &PATTERNS[p];
    hk_cadence_burst_t *bursts = cadence->bursts[p];
    burst.periods = 1;
    burst.beats = (uint16_t)(2 * (burst.beat * BEAT_PARTS + burst.beat_rest));
    /* in the place of the same burst if that agrees less, of an empty one, of one too old, or of the weakest */
    size_t place = 0;
    int32_t least = INT32_MAX;
    for (size_t i = 0; i < HK_CADENCE_BURSTS; i++) {
        int32_t worth = bursts[i].agreement;
        if (is_same_burst(pattern, &bursts[i], &burst)) {
            if (bursts[i].agreement >= burst.agreement) {
                return;
            }
            worth = -2;
        } else if (bursts[i].periods == 0 || cadence->frames - bursts[i].at > KEPT_FRAMES) {
            worth = -1;
        }
        if (worth < least) {
            least = worth;
            place = i;
        }
    }
    for (size_t i = 0; i < HK_CADENCE_BURSTS; i++) {
        const uint32_t pause = pause_between(cadence, pattern, &bursts[i], &burst);
        if (pause > 0 && bursts[i].periods >= burst.periods) {
            burst.periods = (uint8_t)(bursts[i].periods < UINT8_MAX ? bursts[i].periods + 1 : UINT8_MAX);
            burst.pause = (uint16_t)pause;
            burst.beats = (uint16_t)((burst.beat + bursts[i].beat) * BEAT_PARTS + burst.beat_rest + bursts[i].beat_rest);
        }
    }
    bursts[place] = burst;
}

/* Sum of the `over` ticks of a ring from `at` on, less that of as many before the one before it. */
static int32_t rise_at(const uint8_t *ring, int32_t size, uint32_t at, int32_t over)
{
    const int32_t here = (int32_t)(at % (uint32_t)size);
    int32_t after = here, before = here >= 2 ? here - 2 : here - 2 + size, sum = 0;
    for (int32_t i = 0; i < over; i++) {
        sum += ring[after] - ring[before];
        after = after + 1 == size ? 0 : after + 1;
        before = before == 0 ? size - 1 : before - 1;
    }
    return sum;
}

/* Whether a level rises at tick `at` of a ring more than it does shortly before and after. */
static bool is_rise(const uint8_t *ring, int32_t size, uint32_t at, int32_t over)
{
    const int32_t rise = rise_at(ring, size, at, over);
    return rise >= RISE_MIN * over && rise > rise_at(ring, size, at - 1, over) && rise >= rise_at(ring, size, at + 1, over);
}

/* From onset to onset as the standard has it, in ticks. */
static int32_t nominal_beat(const pattern_t *pattern)
{
    return (pattern->beats.least + pattern->beats.most) / (4 * QUARTERS * BEAT_PARTS);
}

/* From its first onset to where the slowest burst's last beat has ended, in ticks. */
static int32_t last_end(const pattern_t *pattern)
{
    return pattern->pulses * pattern->beat_search.most / QUARTERS;
}

/* Sum of `count` levels of a ring from tick `from` on, every so many ticks; none counts as less than `floor`. `loudest`
 * becomes the loudest if that is louder. */
static int32_t glance_sum(const uint8_t *ring, int32_t size, uint32_t from, int32_t count, int32_t every, int32_t floor,
                          int32_t *loudest)
{
    int32_t index = (int32_t)(from % (uint32_t)size), sum = 0;
    for (int32_t i = 0; i < count; i++) {
        const int32_t level = ring[index];
        *loudest = level > *loudest ? level : *loudest;
        sum += level < floor ? floor : level;
        index += every;
        index -= index >= size ? size : 0;
    }
    return sum;
}

/* Whether what follows tick `at` may be louder than what came before it and comes after it, by few of their levels: nine
 * rises in ten are noise, and need not be copied and folded to find that out. */
static bool may_be_burst(const uint8_t *ring, int32_t size, const pattern_t *pattern, uint32_t at)
{
    const int32_t every = pattern->glance, nominal = nominal_beat(pattern), end = last_end(pattern);
    const int32_t ahead = (pattern->before - 2) / every, span = (pattern->pulses - 1) * nominal / every;
    const int32_t behind = (pattern->behind - end) / every + 1;
    int32_t loudest = 0;
    (void)glance_sum(ring, size, at, span, every, 0, &loudest);
    const int32_t floor = loudest - RANGE;
    const int32_t body = glance_sum(ring, size, at, span, every, floor, &loudest);
    const int32_t before = glance_sum(ring, size, at - (uint32_t)pattern->before, ahead, every, floor, &loudest);
    if ((body * ahead - before * span) * FINE_LEVEL < GLANCE_MIN * ahead * span) {
        return false;
    }
    const int32_t after = glance_sum(ring, size, at + (uint32_t)end, behind, every, floor, &loudest);
    return body * behind >= after * span;
}

/* Weighs what began `behind` ticks ago, in levels up to `ceiling`, and remembers it where it is a burst of pattern `p`. True
 * where it would be one, but for each of its pulses looking like two. */
static bool weigh_burst(hk_cadence_state_t *cadence, size_t p, size_t group, uint32_t last_tick, int32_t ceiling)
{
    const pattern_t *pattern = &PATTERNS[p];
    const int32_t behind = pattern->behind, ahead = pattern->before;
    const int32_t length = ahead + behind + 1;
    int32_t size;
    const uint8_t *ring = ring_of(cadence, pattern, group, &size);
    const uint32_t at_tick = last_tick - (uint32_t)behind;
    window_t window;
    window_open(&window, ring, size, last_tick, length, ahead, ceiling);
    const int32_t at = ahead;
    /* what came before must be quieter than what follows, and so must what comes after, whatever the beat */
    const int32_t nominal = nominal_beat(pattern);
    const int32_t before = window_sum(&window, 0, at - 2) * QUARTERS / (at - 2);
    const int32_t body = window_sum(&window, at, at + (pattern->pulses - 1) * nominal) * QUARTERS /
                         ((pattern->pulses - 1) * nominal);
    const int32_t tail_at = at + last_end(pattern);
    const int32_t tail = window_sum(&window, tail_at, length) * QUARTERS / (length - tail_at);
    if (body - before < BODY_MIN || body - tail < BODY_MIN / 2) {
        return false;
    }
    fold_t fold;
    fold_best(&window, pattern, at, &fold);
    if (fold.agreement < pattern->agreement_least || fold.beat < pattern->beats_kept.least ||
        fold.beat > pattern->beats_kept.most) {
        return false;
    }
    int32_t floor = INT32_MAX, top = 0;
    for (int32_t j = 0; j < fold.ticks; j++) {
        const int32_t level = shape_smooth(&fold, j);
        floor = level < floor ? level : floor;
        top = level > top ? level : top;
    }
    const int32_t contrast = (top - floor) / (3 * pattern->pulses); /* times FINE_LEVEL */
    const int32_t end = at + (pattern->pulses * fold.beat + QUARTERS - 1) / QUARTERS;
    const int32_t to = end + pattern->after < length ? end + pattern->after : length;
    const int32_t after = window_sum(&window, end, to) * QUARTERS / (to - end);
    int32_t least = INT32_MAX, most = 0;
    for (int32_t k = 1; k < pattern->pulses; k++) {
        least = fold.segment[k] < least ? fold.segment[k] : least;
        most = fold.segment[k] > most ? fold.segment[k] : most;
    }
    const int32_t last = fold.segment[pattern->pulses - 1];
    const int32_t slack = FINE_LEVEL / 2;
    if (contrast < FINE_LEVEL || most - least > contrast / 2 + slack || most - last > contrast / 4 + slack ||
        most - fold.segment[0] > contrast * 5 / 4 + slack ||
        fold.segment[0] - before < contrast / 4 || last - after < contrast / 5) {
        return false;
    }
    if (!is_one_pulse(&fold)) {
        return fold.agreement >= pattern->finding_least;
    }
    /* in a room that is slow to fill, a pulse too many may be no louder than the gaps after it, but is louder than nothing */
    int32_t silence = floor / (3 * pattern->pulses) + contrast * 3 / 10 + FINE_LEVEL;
    const uint32_t quiet_to = (at_tick - (uint32_t)ahead) * pattern->tick_frames;
    const int32_t long_before =
        quiet_to < LONG_BEFORE_FRAMES ? -1 : coarse_mean(cadence, group, quiet_to - LONG_BEFORE_FRAMES, quiet_to);
    if (long_before >= 0) {
        const int32_t quiet = long_before - (window.loud - RANGE);
        const int32_t hardly_louder = (quiet > 0 ? quiet : 0) * FINE_LEVEL + contrast / 4 + 5 * FINE_LEVEL / 2;
        silence = hardly_louder < silence ? hardly_louder : silence;
    }
    const int32_t rise = (window_sum(&window, at, at + pattern->rise) -
                          window_sum(&window, at - 1 - pattern->rise, at - 1)) * QUARTERS / pattern->rise;
    for (int32_t from = at - 2 - SILENCE_TICKS; from >= 0; from -= SILENCE_TICKS) {
        if (window_sum(&window, from, from + SILENCE_TICKS) * QUARTERS / SILENCE_TICKS > silence) {
            return false;
        }
    }
    if (rise < contrast / 8) {
        return false;
    }
    /* the first onset may have been taken for one somewhat beside it; from burst to burst, the shape's own is the same */
    int32_t late = steepest_rise(&fold, pattern->rise);
    if (late > pattern->late || late < -pattern->late) {
        if (!pattern->is_late_allowed) {
            return false;
        }
        late = 0;
    }
    int32_t fall = 0;
    const int32_t on = pulse_length(&fold, &fall);
    const range_t *range = fall == 1 ? &pattern->on_dry : &pattern->on;
    if (on < range->least || on > range->most) {
        return false;
    }
    const int32_t loud = window.loud - RANGE + (top / (3 * pattern->pulses) + FINE_LEVEL / 2) / FINE_LEVEL;
    remember(cadence, p,
             (hk_cadence_burst_t){
                 .at = (at_tick + (uint32_t)late) * pattern->tick_frames,
                 .beat = (uint16_t)fold.beat,
                 .beat_rest = (int8_t)beat_rest(&window, pattern, at, fold.beat),
                 .on = (uint8_t)on,
                 .group = (uint8_t)group,
                 .agreement = (uint8_t)(fold.agreement > UINT8_MAX ? UINT8_MAX : fold.agreement),
                 .loud = (uint8_t)(loud < 0 ? 0 : loud),
                 .contrast = (uint8_t)((contrast + FINE_LEVEL / 2) / FINE_LEVEL),
             });
    return false;
}

/* The level that `share` in 16 of a ring's `count` ticks from `first` on reach. */
static int32_t level_reached(const uint8_t *ring, int32_t size, uint32_t first, int32_t count, int32_t share)
{
    int32_t least = 0, most = UINT8_MAX;
    while (least < most) {
        const int32_t middle = (least + most + 1) / 2;
        int32_t reached = 0, index = (int32_t)(first % (uint32_t)size);
        for (int32_t i = 0; i < count; i++) {
            reached += ring[index] >= middle;
            index = index + 1 == size ? 0 : index + 1;
        }
        if (reached * 16 >= count * share) {
            least = middle;
        } else {
            most = middle - 1;
        }
    }
    return least;
}

/* Looks at the moment that lies just so far back that a burst of pattern `p` which began there has been heard to its end. */
static void look_for_burst(hk_cadence_state_t *cadence, size_t p, size_t group, uint32_t last_tick)
{
    const pattern_t *pattern = &PATTERNS[p];
    const int32_t behind = pattern->behind, ahead = pattern->before;
    int32_t size;
    const uint8_t *ring = ring_of(cadence, pattern, group, &size);
    if (last_tick < (uint32_t)(ahead + behind + 1 + pattern->rise + 2)) {
        return;
    }
    const uint32_t at_tick = last_tick - (uint32_t)behind;
    if (!is_rise(ring, size, at_tick, pattern->rise) || !may_be_burst(ring, size, pattern, at_tick)) {
        return;
    }
    if (!weigh_burst(cadence, p, group, last_tick, INT32_MAX)) {
        return;
    }
    /* Pulses that agree, but each looks like two. Where a room's reflections cancel a steady tone, it is loudest before they
     * have come and after it has ended: what is louder than the tone while it lasts is taken for as loud. It lasts for
     * 7 in 16 of a burst at least, and stands out of what was before by the whole range. */
    const int32_t ceiling = level_reached(ring, size, at_tick, last_end(pattern), 7);
    const int32_t before = level_reached(ring, size, at_tick - (uint32_t)ahead, ahead - 2, 8);
    if (ceiling - before >= RANGE) {
        (void)weigh_burst(cadence, p, group, last_tick, ceiling);
    }
}

void hk_cadence_push(hk_cadence_state_t *cadence, const hk_frame_t frames[2])
{
    const uint32_t frame = cadence->frames;
    for (size_t g = 0; g < HK_CADENCE_GROUPS; g++) {
        int32_t sum = 0;
        for (size_t n = 0; n < 2; n++) {
            int32_t strongest = 0;
            for (size_t b = GROUPS[g].first_band; b <= GROUPS[g].last_band; b++) {
                strongest = frames[n].log_mel_q8[b] > strongest ? frames[n].log_mel_q8[b] : strongest;
            }
            /* quarters: 0..200 for log2 energies of 0..50 */
            const int32_t level = (strongest + 32) >> 6;
            cadence->fine[g][(frame + n) % HK_CADENCE_FINE] = (uint8_t)(level > UINT8_MAX ? UINT8_MAX : level);
            sum += level > UINT8_MAX ? UINT8_MAX : level;
        }
        cadence->medium[g][frame / 2 % HK_CADENCE_MEDIUM] = (uint8_t)((sum + 1) / 2);
        cadence->coarse_sum[g] = (uint16_t)(cadence->coarse_sum[g] + sum);
        if ((frame + 2) % FRAMES_PER_COARSE == 0) {
            cadence->coarse[g][frame / FRAMES_PER_COARSE % HK_CADENCE_COARSE] =
                (uint8_t)(cadence->coarse_sum[g] / FRAMES_PER_COARSE);
            cadence->coarse_sum[g] = 0;
        }
    }
    for (size_t b = 0; b < HK_MEL_BANDS; b++) {
        const int32_t mean = cadence->mean_q8[b];
        const int32_t both = ((int32_t)frames[0].log_mel_q8[b] + frames[1].log_mel_q8[b]) / 2;
        cadence->mean_q8[b] = (int16_t)(mean + (both - mean + (1 << (MEAN_SHIFT - 1))) / (1 << MEAN_SHIFT));
    }
    cadence->frames += 2;
    for (size_t g = 0; g < HK_CADENCE_GROUPS; g++) {
        look_for_burst(cadence, 0, g, frame / 2);
        look_for_burst(cadence, 1, g, frame);
        look_for_burst(cadence, 1, g, frame + 1);
    }
}

/* The best that the remembered bursts of a pattern prove now. */
static void weigh_bursts(const hk_cadence_state_t *cadence, size_t p, hk_cadence_evidence_t *best, int32_t *best_worth)
{
    const pattern_t *pattern = &PATTERNS[p];
    for (size_t i = 0; i < HK_CADENCE_BURSTS; i++) {
        const hk_cadence_burst_t *burst = &cadence->bursts[p][i];
        if (burst->periods == 0 || !is_beat_right(cadence, p, burst)) {
            continue;
        }
        const uint32_t span = span_frames(pattern, burst), age = cadence->frames - burst->at;
        /* known until the next burst would have been heard to its end */
        if (age > 2 * span + pattern->pause_ms_most / FRAME_MS + 100) {
            continue;
        }
        if (burst->periods == 1) {
            const uint32_t quiet = span + pattern->hint_quiet_ms / FRAME_MS;
            if (burst->agreement < pattern->hint_least || age < quiet ||
                coarse_above(cadence, burst->group, burst->at + span + 20, burst->at + quiet, silence_level(burst)) > 1) {
                continue;
            }
        }
        /* of the groups that heard it, the one that heard it best knows its times best */
        const int32_t worth = burst->agreement + 4 * burst->contrast;
        if (burst->periods < best->periods || (burst->periods == best->periods && worth <= *best_worth)) {
            continue;
        }
        *best_worth = worth;
        const uint32_t on_ms = (uint32_t)burst->on * pattern->tick_frames * FRAME_MS;
        *best = (hk_cadence_evidence_t){
            .on_ms = (uint16_t)on_ms,
            .off_ms = (uint16_t)(frames_of_quarters(pattern, burst->beat * FRAME_MS) - on_ms),
            .pause_ms = (uint16_t)(burst->pause * FRAME_MS),
            .kind = pattern->kind,
            .periods = burst->periods,
            .confidence = burst->agreement,
        };
    }
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

/* On and off times of the medium history, cut at half its range, with hysteresis; the latest RUNS pulses. */
#define RUNS 8
typedef struct {
    int32_t onset[RUNS]; /* ticks, oldest first */
    int32_t on[RUNS];
    int32_t count;
    int32_t loud_ticks;  /* of the latest CONTINUOUS_TICKS */
    int32_t longest_gap; /* in the latest CONTINUOUS_TICKS */
} runs_t;

#define MEDIUM_MS 20
#define CONTINUOUS_TICKS 150 /* 3 s */
#define CONTINUOUS_LOUD_TICKS 112
#define CONTINUOUS_GAP_TICKS 6
#define PULSE_TICKS_MIN 3 /* shorter ones are clicks */
#define RISE_LEVEL 13
#define FALL_LEVEL 8

static void find_runs(const window_t *window, runs_t *runs)
{
    bool is_on = false;
    int32_t onset = 0, gap = 0;
    memset(runs, 0, sizeof *runs);
    for (int32_t tick = 0; tick < window->length; tick++) {
        const int32_t level = window->level[tick] / SMOOTHED;
        const bool was_on = is_on;
        is_on = level >= (was_on ? FALL_LEVEL : RISE_LEVEL);
        if (is_on && !was_on) {
            onset = tick;
        }
        if (was_on && !is_on && onset > 0) { /* a pulse that was on already when the history began has no length */
            if (runs->count == RUNS) {
                memmove(runs->onset, runs->onset + 1, sizeof runs->onset - sizeof runs->onset[0]);
                memmove(runs->on, runs->on + 1, sizeof runs->on - sizeof runs->on[0]);
                runs->count--;
            }
            runs->onset[runs->count] = onset;
            runs->on[runs->count] = tick - onset;
            runs->count++;
        }
        if (tick >= window->length - CONTINUOUS_TICKS) {
            runs->loud_ticks += is_on;
            gap = is_on ? 0 : gap + 1;
            runs->longest_gap = gap > runs->longest_gap ? gap : runs->longest_gap;
        }
    }
}

/* a and b within a quarter of each other, give or take a tick */
static bool are_alike(int32_t a, int32_t b)
{
    const int32_t difference = a > b ? a - b : b - a;
    return difference * 4 <= (a > b ? a : b) + 4;
}

/* Whether a beat could still turn out to be the first burst of a pattern of the standards. */
static bool is_begun_pattern(int32_t pulses, int32_t beat_ticks)
{
    for (size_t p = 0; p < HK_CADENCE_PATTERNS; p++) {
        const pattern_t *pattern = &PATTERNS[p];
        const int32_t beats = 2 * beat_ticks * 2 * QUARTERS * BEAT_PARTS / pattern->tick_frames;
        const int32_t slack = 4 * QUARTERS * BEAT_PARTS;
        if (pulses <= pattern->pulses && beats >= pattern->beats.least - slack && beats <= pattern->beats.most + slack) {
            return true;
        }
    }
    return false;
}

/* A tone without gaps, or a sound that beats evenly: the latest pulses, at least three, of one length and distance. */
static void find_other(const hk_cadence_state_t *cadence, size_t group, hk_cadence_evidence_t *best)
{
    window_t window;
    runs_t runs;
    window_open(&window, cadence->medium[group], HK_CADENCE_MEDIUM,
                cadence->frames / 2 + HK_CADENCE_MEDIUM - 1, HK_CADENCE_MEDIUM, 0, INT32_MAX);
    find_runs(&window, &runs);
    if (runs.loud_ticks >= CONTINUOUS_LOUD_TICKS && runs.longest_gap <= CONTINUOUS_GAP_TICKS &&
        is_tonal(cadence, group)) {
        *best = (hk_cadence_evidence_t){
            .kind = HK_CADENCE_CONTINUOUS,
            .on_ms = (uint16_t)(runs.loud_ticks * MEDIUM_MS),
            .periods = 1,
            .confidence = (uint8_t)(runs.loud_ticks * 255 / CONTINUOUS_TICKS),
        };
        return;
    }
    int32_t last = runs.count - 1, pulses = 1;
    if (last < 2 || runs.on[last] < PULSE_TICKS_MIN) {
        return;
    }
    const int32_t beat = runs.onset[last] - runs.onset[last - 1];
    while (last - pulses >= 0 && are_alike(runs.on[last - pulses], runs.on[last]) &&
           are_alike(runs.onset[last - pulses + 1] - runs.onset[last - pulses], beat)) {
        pulses++;
    }
    if (pulses < 3 || is_begun_pattern(pulses, beat)) {
        return;
    }
    *best = (hk_cadence_evidence_t){
        .on_ms = (uint16_t)(runs.on[last] * MEDIUM_MS),
        .off_ms = (uint16_t)((beat - runs.on[last]) * MEDIUM_MS),
        .kind = HK_CADENCE_OTHER,
        .periods = (uint8_t)(pulses - 1),
        .confidence = (uint8_t)(255 * pulses / (pulses + 1)),
    };
}

void hk_cadence_standard(const hk_cadence_state_t *cadence, hk_cadence_evidence_t *out)
{
    int32_t worth = 0;
    *out = (hk_cadence_evidence_t){ .kind = HK_CADENCE_NONE };
    for (size_t p = 0; p < HK_CADENCE_PATTERNS; p++) {
        weigh_bursts(cadence, p, out, &worth);
    }
}

void hk_cadence_analyze(const hk_cadence_state_t *cadence, hk_cadence_evidence_t *out)
{
    hk_cadence_standard(cadence, out);
    for (size_t g = 0; out->kind != HK_CADENCE_T3 && out->kind != HK_CADENCE_T4 && g < HK_CADENCE_GROUPS; g++) {
        hk_cadence_evidence_t here = { .kind = HK_CADENCE_NONE };
        find_other(cadence, g, &here);
        /* a tone without gaps tells more than a beat in another group of bands */
        if (here.kind > out->kind || (here.kind == out->kind && here.confidence > out->confidence)) {
            *out = here;
        }
    }
}
