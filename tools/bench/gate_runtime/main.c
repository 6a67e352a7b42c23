/* Hears a file as the device does, once without a gate in front of the network and once with each gate asked for, and
 * writes the events of all. Runs on the host, on the device's own front end, trunk, heads and tracker.
 *
 * gate PCM EVENTS TALLY RULE...: PCM holds 16 kHz mono int16 samples. Each RULE is margin:quiet:catch-up, a margin over
 * the noise floor in 1/256 of log2 energy and two counts of steps; "0:0:0" is the exact gate. EVENTS gets an event_row_t
 * for each event, TALLY a tally_t for each listener: the one without a gate first, then the rules in their order. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hk_detector.h"
#include "hk_error.h"
#include "hk_port.h"
#include "hk_tracker.h"
#include "hk_tracker_params.h"

enum {
    LISTENERS_MAX = 16,
    CATCH_UP_MAX = 512, /* steps that can wait */
    GROUPS = 8,         /* of bands next to each other: single ones flicker too much to have a floor */
    BANDS_PER_GROUP = HK_MEL_BANDS / GROUPS,
    FLOOR_RISE_SHIFT = 9, /* the floor follows a louder room in about 10 s, ... */
    FLOOR_FALL_SHIFT = 5, /* ... a quieter one in 0.6 s */
    STEPS_PER_BLOCK = 64,
};

_Static_assert(GROUPS * BANDS_PER_GROUP == HK_MEL_BANDS, "the groups hold every band");

typedef struct {
    int32_t margin_q8;
    uint32_t quiet_steps; /* so long a quiet before the gate closes */
    uint32_t catch_up_steps;
    bool is_exact; /* skip only a step that cannot change anything */
} rule_t;

/* What a step is to the network and to the tracker. */
typedef struct {
    int8_t features[HK_STEP_FEATURES];
    hk_frame_t frames[HK_FRAMES_PER_STEP];
    uint64_t sample;
} heard_t;

/* steps: heard. skipped: of those, never run through the network. same_trunk: run, with the outputs of the step before,
 * so that the heads could have been spared. */
typedef struct {
    uint32_t steps;
    uint32_t skipped;
    uint32_t same_trunk;
    uint32_t events;
} tally_t;

typedef struct {
    rule_t rule;
    hk_engine_t engine;
    hk_engine_t engine_before;
    hk_tracker_t tracker;
    int8_t trunk[HK_ENGINE_OUTPUT_BYTES];
    uint8_t scores[HK_EVENT_COUNT];
    int8_t features[HK_STEP_FEATURES]; /* of the last step that was run, ... */
    uint64_t sample;                   /* ... and where it ended */
    bool has_run;
    bool is_settled; /* the last step left the engine as it was */
    uint32_t quiet_for;
    /* While the gate is closed: the latest steps, which are run if it opens. */
    heard_t waiting[CATCH_UP_MAX];
    uint32_t waiting_first;
    uint32_t waiting_count;
    tally_t tally;
} listener_t;

typedef struct {
    uint64_t start_sample;
    uint64_t trigger_sample;
    uint8_t listener;
    uint8_t event;
    uint8_t score;
    uint8_t cadence_kind;
    uint8_t cadence_periods;
    uint8_t cadence_confidence;
    uint8_t is_repeat;
    uint8_t is_renamed;
} event_row_t;

_Static_assert(sizeof(event_row_t) == 24, "as tools/bench/gate.py reads it");
_Static_assert(sizeof(tally_t) == 16, "as tools/bench/gate.py reads it");

static hk_detector_t detector; /* its front end and heads; every listener has an engine of its own */
static int32_t floor_q16[GROUPS];
static listener_t listeners[LISTENERS_MAX];
static uint32_t listener_count;
static int16_t pcm[STEPS_PER_BLOCK * HK_STEP_SAMPLES];
static int events_file;

static const rule_t no_gate = {.quiet_steps = UINT32_MAX};

static int init_listener(listener_t *listener, rule_t rule)
{
    listener->rule = rule;
    hk_engine_reset(&listener->engine);
    int status = hk_tracker_init(&listener->tracker, &hk_tracker_default_params);
    for (uint8_t i = 0; status == 0 && i < detector.head_count; i++) {
        const hk_head_t *head = &detector.heads[i];
        const uint8_t thresholds[HK_TRACKER_SENSITIVITIES] = {
            [HK_SENSITIVITY_LOW] = head->threshold_low,
            [HK_SENSITIVITY_NORMAL] = head->threshold_normal,
            [HK_SENSITIVITY_HIGH] = head->threshold_high,
        };
        status = hk_tracker_set_thresholds(&listener->tracker, detector.head_events[i], thresholds);
    }
    for (uint8_t i = 0; status == 0 && i < HK_EVENT_COUNT; i++) {
        status = hk_tracker_set_event(&listener->tracker, i, true, HK_SENSITIVITY_NORMAL);
    }
    hk_tracker_set_armed(&listener->tracker, true); /* so that every event there is gets reported */
    return status;
}

static void track(listener_t *listener, const heard_t *step)
{
    hk_event_t events[HK_TRACKER_EVENTS_MAX];
    const size_t count = hk_tracker_step(&listener->tracker, step->frames, listener->scores, step->sample, events);
    for (size_t i = 0; i < count; i++) {
        const event_row_t row = {
            .start_sample = events[i].start_sample,
            .trigger_sample = events[i].trigger_sample,
            .listener = (uint8_t)(listener - listeners),
            .event = events[i].event,
            .score = events[i].score,
            .cadence_kind = events[i].cadence.kind,
            .cadence_periods = events[i].cadence.periods,
            .cadence_confidence = events[i].cadence.confidence,
            .is_repeat = events[i].is_repeat,
            .is_renamed = events[i].is_renamed,
        };
        if (hk_board_file_write(events_file, &row, sizeof row) != 0) {
            hk_board_print("harken: gate: the events cannot be written: free space on the disk");
            hk_board_exit(1);
        }
        listener->tally.events++;
    }
}

/* Lets the network see the step. From one state the network does one thing with a step, so that a listener whose state
 * is that of the listener without a gate, who saw the same step just before, takes over what came of it: much faster. */
static void run_step(listener_t *listener, const heard_t *step)
{
    const listener_t *ungated = &listeners[0];
    int8_t trunk[HK_ENGINE_OUTPUT_BYTES];
    const bool is_known = listener != ungated && step->sample == ungated->sample
                          && memcmp(&listener->engine, &ungated->engine_before, sizeof listener->engine) == 0;
    listener->engine_before = listener->engine;
    if (is_known) {
        listener->engine = ungated->engine;
        memcpy(trunk, ungated->trunk, sizeof trunk);
    } else {
        hk_engine_step(&listener->engine, step->features, trunk);
    }
    listener->is_settled = memcmp(&listener->engine_before, &listener->engine, sizeof listener->engine) == 0;
    const bool is_same_trunk = listener->has_run && memcmp(trunk, listener->trunk, sizeof trunk) == 0;
    listener->tally.same_trunk += is_same_trunk;
    if (is_known) {
        memcpy(listener->scores, ungated->scores, sizeof listener->scores);
    } else if (!is_same_trunk) {
        uint8_t head_scores[HK_EVENT_COUNT];
        hk_head_score(detector.heads, detector.head_count, trunk, head_scores);
        for (uint8_t i = 0; i < detector.head_count; i++) {
            listener->scores[detector.head_events[i]] = head_scores[i];
        }
    }
    memcpy(listener->trunk, trunk, sizeof trunk);
    memcpy(listener->features, step->features, sizeof listener->features);
    listener->sample = step->sample;
    listener->has_run = true;
    track(listener, step);
}

/* The network does not see it; its scores are those of the last step that it saw. */
static void skip_step(listener_t *listener, const heard_t *step)
{
    listener->tally.skipped++;
    track(listener, step);
}

static const heard_t *take_oldest_waiting(listener_t *listener)
{
    const heard_t *oldest = &listener->waiting[listener->waiting_first];
    listener->waiting_first = (listener->waiting_first + 1) % CATCH_UP_MAX;
    listener->waiting_count--;
    return oldest;
}

static void wait_in_line(listener_t *listener, const heard_t *step)
{
    listener->waiting[(listener->waiting_first + listener->waiting_count) % CATCH_UP_MAX] = *step;
    listener->waiting_count++;
    if (listener->waiting_count > listener->rule.catch_up_steps) {
        skip_step(listener, take_oldest_waiting(listener));
    }
}

static void catch_up(listener_t *listener)
{
    while (listener->waiting_count > 0) {
        run_step(listener, take_oldest_waiting(listener));
    }
}

static bool is_suspecting(const hk_tracker_t *tracker)
{
    bool is_sounding = false;
    for (size_t i = 0; i < HK_EVENT_COUNT; i++) {
        is_sounding = is_sounding || tracker->events[i].is_sounding;
    }
    return is_sounding;
}

/* excess_q8: how far the loudest group is over its floor. */
static void hear(listener_t *listener, const heard_t *step, int32_t excess_q8)
{
    listener->tally.steps++;
    if (listener->rule.is_exact) {
        const bool is_same = memcmp(step->features, listener->features, sizeof step->features) == 0;
        if (listener->has_run && listener->is_settled && is_same) {
            skip_step(listener, step);
        } else {
            run_step(listener, step);
        }
        return;
    }
    const bool is_quiet = excess_q8 <= listener->rule.margin_q8 && !is_suspecting(&listener->tracker);
    listener->quiet_for = is_quiet ? listener->quiet_for + 1 : 0;
    if (listener->quiet_for > listener->rule.quiet_steps) {
        wait_in_line(listener, step);
        return;
    }
    catch_up(listener);
    run_step(listener, step);
}

/* Follows the noise floor of each group of bands; returns how far the loudest was over it before this step. */
static int32_t follow_floor(const hk_frame_t frames[HK_FRAMES_PER_STEP], bool is_first)
{
    int32_t loudest_q8 = INT32_MIN;
    for (int group = 0; group < GROUPS; group++) {
        int32_t sum_q8 = 0;
        for (int frame = 0; frame < (int)HK_FRAMES_PER_STEP; frame++) {
            for (int band = 0; band < BANDS_PER_GROUP; band++) {
                sum_q8 += frames[frame].log_mel_q8[group * BANDS_PER_GROUP + band];
            }
        }
        const int32_t level_q16 = sum_q8 * 256 / (BANDS_PER_GROUP * (int)HK_FRAMES_PER_STEP);
        if (is_first) {
            floor_q16[group] = level_q16;
        }
        const int32_t way_q16 = level_q16 - floor_q16[group];
        loudest_q8 = way_q16 / 256 > loudest_q8 ? way_q16 / 256 : loudest_q8;
        floor_q16[group] += way_q16 / (1 << (way_q16 > 0 ? FLOOR_RISE_SHIFT : FLOOR_FALL_SHIFT));
    }
    return loudest_q8;
}

/* Returns whole steps. */
static size_t read_steps(int file)
{
    return hk_board_file_fill(file, pcm, sizeof pcm) / (HK_STEP_SAMPLES * sizeof pcm[0]);
}

static void listen_to(int file)
{
    static heard_t step;
    size_t steps = STEPS_PER_BLOCK;
    while (steps == STEPS_PER_BLOCK) {
        steps = read_steps(file);
        for (size_t i = 0; i < steps; i++) {
            for (uint32_t frame = 0; frame < HK_FRAMES_PER_STEP; frame++) {
                const int16_t *hop = pcm + i * HK_STEP_SAMPLES + frame * HK_HOP_SAMPLES;
                hk_frontend_push(&detector.frontend, hop, &step.frames[frame]);
                hk_frame_features(&step.frames[frame], step.features + frame * HK_MEL_BANDS);
            }
            const int32_t excess_q8 = follow_floor(step.frames, step.sample == 0);
            step.sample += HK_STEP_SAMPLES;
            for (uint32_t n = 0; n < listener_count; n++) {
                hear(&listeners[n], &step, excess_q8);
            }
        }
    }
    for (uint32_t n = 0; n < listener_count; n++) {
        while (listeners[n].waiting_count > 0) {
            skip_step(&listeners[n], take_oldest_waiting(&listeners[n]));
        }
    }
}

static bool read_rule(const char *text, rule_t *rule)
{
    char *end;
    rule->margin_q8 = (int32_t)strtol(text, &end, 10);
    if (*end != ':') {
        return false;
    }
    rule->quiet_steps = (uint32_t)strtoul(end + 1, &end, 10);
    if (*end != ':') {
        return false;
    }
    rule->catch_up_steps = (uint32_t)strtoul(end + 1, &end, 10);
    rule->is_exact = rule->margin_q8 == 0 && rule->quiet_steps == 0;
    return *end == '\0' && rule->catch_up_steps < CATCH_UP_MAX;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc - 4 >= LISTENERS_MAX) {
        hk_board_print("harken: usage: gate PCM EVENTS TALLY RULE... (15 rules at most)");
        return 2;
    }
    int status = hk_detector_init(&detector);
    status = status == 0 ? init_listener(&listeners[0], no_gate) : status;
    listener_count = 1;
    for (int i = 4; status == 0 && i < argc; i++) {
        rule_t rule;
        if (!read_rule(argv[i], &rule)) {
            hk_board_print("harken: gate: a rule is no margin:quiet:catch-up");
            return 2;
        }
        status = init_listener(&listeners[listener_count++], rule);
    }
    if (status != 0) {
        hk_board_print("harken: gate: the heads of this image cannot be used:");
        hk_board_print(hk_error_text(status));
        return 1;
    }
    const int in = hk_board_file_open(argv[1], HK_BOARD_FILE_READ);
    events_file = hk_board_file_open(argv[2], HK_BOARD_FILE_WRITE);
    const int tally_file = hk_board_file_open(argv[3], HK_BOARD_FILE_WRITE);
    if (in < 0 || events_file < 0 || tally_file < 0) {
        hk_board_print("harken: gate: cannot read the first file or write the others");
        return 1;
    }
    listen_to(in);
    for (uint32_t n = 0; n < listener_count; n++) {
        if (hk_board_file_write(tally_file, &listeners[n].tally, sizeof listeners[n].tally) != 0) {
            hk_board_print("harken: gate: the tally cannot be written: free space on the disk");
            return 1;
        }
    }
    hk_board_file_close(in);
    hk_board_file_close(events_file);
    hk_board_file_close(tally_file);
    return 0;
}
