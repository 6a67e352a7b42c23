#include "hk_tracker.h"

#include <string.h>

#include "hk_error.h"

#define SAMPLES_PER_STEP 320
#define UNNAMED UINT8_MAX

_Static_assert(SAMPLES_PER_STEP == 2 * HK_HOP_SAMPLES, "a step is two frames");

/* What the three names of a sensitivity are as numbers. */
static const uint8_t LEVELS[HK_TRACKER_SENSITIVITIES] = {
    [HK_SENSITIVITY_LOW] = 0,
    [HK_SENSITIVITY_NORMAL] = HK_TRACKER_LEVEL_MAX / 2,
    [HK_SENSITIVITY_HIGH] = HK_TRACKER_LEVEL_MAX,
};

_Static_assert(HK_SENSITIVITY_LOW == 0 && HK_SENSITIVITY_NORMAL == 1 && HK_SENSITIVITY_HIGH == 2,
               "thresholds go by sensitivity, in order");

static uint16_t steps_of(uint32_t ms)
{
    return (uint16_t)(ms / HK_TRACKER_STEP_MS);
}

static bool is_alarm_role(uint8_t role)
{
    return role == HK_TRACKER_ROLE_SMOKE_ALARM || role == HK_TRACKER_ROLE_CO_ALARM;
}

static bool are_valid_thresholds(const uint8_t thresholds[HK_TRACKER_SENSITIVITIES])
{
    for (size_t s = 0; s < HK_TRACKER_SENSITIVITIES; s++) {
        if (thresholds[s] == 0 || (s > 0 && thresholds[s] > thresholds[s - 1])) {
            return false;
        }
    }
    return true;
}

static bool are_valid_event_params(const hk_tracker_event_params_t *event)
{
    return are_valid_thresholds(event->thresholds) && event->release_percent > 0 && event->release_percent <= 100 &&
           event->sensitivity < HK_TRACKER_SENSITIVITIES && event->smoothing_shift <= 7 &&
           event->role <= HK_TRACKER_ROLE_CO_ALARM;
}

static bool are_valid_alarm_params(const hk_tracker_alarm_params_t *alarm)
{
    return alarm->proven_percent > 0 && alarm->proven_percent <= 100 && are_valid_thresholds(alarm->sure_scores) &&
           alarm->brief_percent <= 100 && alarm->certain_percent > 0 && alarm->certain_percent <= 100;
}

static bool are_valid_params(const hk_tracker_params_t *params)
{
    if (params->event_count == 0 || params->event_count > HK_TRACKER_EVENTS_MAX ||
        params->cadence_interval_ms < HK_TRACKER_STEP_MS || !are_valid_alarm_params(&params->alarm)) {
        return false;
    }
    for (size_t i = 0; i < params->event_count; i++) {
        if (!are_valid_event_params(&params->events[i])) {
            return false;
        }
    }
    return true;
}

int hk_tracker_init(hk_tracker_t *tracker, const hk_tracker_params_t *params)
{
    if (!are_valid_params(params)) {
        return HK_ERROR_ARGUMENT;
    }
    memset(tracker, 0, sizeof *tracker);
    tracker->params = *params;
    hk_cadence_init(&tracker->cadence);
    for (size_t i = 0; i < params->event_count; i++) {
        tracker->events[i].level = LEVELS[params->events[i].sensitivity];
        tracker->events[i].is_enabled = params->events[i].is_enabled;
    }
    return HK_OK;
}

/* Forgets the sound under way; smoothing and refractory time go on. */
static void end_sound(hk_tracker_event_state_t *state)
{
    state->is_sounding = false;
    state->is_above = false;
    state->is_reported = false;
    state->above_steps = 0;
    state->lone_steps = 0;
    state->gap_steps = 0;
    state->wait_steps = 0;
    state->reported_steps = 0;
    state->sounding_steps = 0;
    state->peak = 0;
}

void hk_tracker_set_armed(hk_tracker_t *tracker, bool is_armed)
{
    if (is_armed != tracker->is_armed) {
        for (size_t i = 0; i < tracker->params.event_count; i++) {
            if (tracker->params.events[i].is_armed_only) {
                end_sound(&tracker->events[i]);
            }
        }
    }
    tracker->is_armed = is_armed;
}

int hk_tracker_set_event(hk_tracker_t *tracker, uint8_t index, bool is_enabled, uint8_t sensitivity)
{
    return sensitivity < HK_TRACKER_SENSITIVITIES
               ? hk_tracker_set_event_level(tracker, index, is_enabled, LEVELS[sensitivity])
               : HK_ERROR_ARGUMENT;
}

int hk_tracker_set_event_level(hk_tracker_t *tracker, uint8_t index, bool is_enabled, uint8_t level)
{
    if (index >= tracker->params.event_count || level > HK_TRACKER_LEVEL_MAX) {
        return HK_ERROR_ARGUMENT;
    }
    hk_tracker_event_state_t *state = &tracker->events[index];
    if (is_enabled != state->is_enabled) {
        end_sound(state);
    }
    state->is_enabled = is_enabled;
    state->level = level;
    return HK_OK;
}

int hk_tracker_set_alarm_params(hk_tracker_t *tracker, const hk_tracker_alarm_params_t *alarm)
{
    if (!are_valid_alarm_params(alarm)) {
        return HK_ERROR_ARGUMENT;
    }
    tracker->params.alarm = *alarm;
    return HK_OK;
}

bool hk_tracker_is_brief(const hk_cadence_evidence_t *evidence, const hk_tracker_alarm_params_t *alarm)
{
    return evidence->kind == HK_CADENCE_OTHER && evidence->periods >= alarm->brief_periods &&
           evidence->on_ms * 100U < alarm->brief_percent * ((uint32_t)evidence->on_ms + evidence->off_ms);
}

bool hk_tracker_alarm_is_valid(const hk_tracker_alarm_params_t *alarm)
{
    return are_valid_alarm_params(alarm);
}

bool hk_tracker_times_are_valid(const hk_tracker_times_t *times)
{
    return times->release_percent > 0 && times->release_percent <= 100 && times->smoothing_shift <= 7;
}

int hk_tracker_set_times(hk_tracker_t *tracker, uint8_t index, const hk_tracker_times_t *times)
{
    if (index >= tracker->params.event_count || !hk_tracker_times_are_valid(times)) {
        return HK_ERROR_ARGUMENT;
    }
    hk_tracker_event_params_t *event = &tracker->params.events[index];
    event->repeat_ms = times->repeat_ms;
    event->min_duration_ms = times->min_duration_ms;
    event->max_gap_ms = times->max_gap_ms;
    event->refractory_ms = times->refractory_ms;
    event->release_percent = times->release_percent;
    event->smoothing_shift = times->smoothing_shift;
    return HK_OK;
}

int hk_tracker_set_thresholds(hk_tracker_t *tracker, uint8_t index,
                              const uint8_t thresholds[HK_TRACKER_SENSITIVITIES])
{
    if (index >= tracker->params.event_count || !are_valid_thresholds(thresholds)) {
        return HK_ERROR_ARGUMENT;
    }
    memcpy(tracker->params.events[index].thresholds, thresholds, HK_TRACKER_SENSITIVITIES);
    return HK_OK;
}

int hk_tracker_add_event(hk_tracker_t *tracker, const hk_tracker_event_params_t *params)
{
    const uint8_t index = tracker->params.event_count;
    if (index == HK_TRACKER_EVENTS_MAX) {
        return HK_ERROR_FULL;
    }
    if (!are_valid_event_params(params)) {
        return HK_ERROR_ARGUMENT;
    }
    tracker->params.events[index] = *params;
    tracker->events[index] = (hk_tracker_event_state_t){
        .level = LEVELS[params->sensitivity],
        .is_enabled = params->is_enabled,
    };
    tracker->params.event_count = (uint8_t)(index + 1);
    return HK_OK;
}

void hk_tracker_keep_events(hk_tracker_t *tracker, uint8_t count)
{
    if (count >= 1 && count < tracker->params.event_count) {
        tracker->params.event_count = count;
    }
}

static uint8_t smoothed_score(const hk_tracker_event_state_t *state)
{
    return (uint8_t)((state->smoothed_q8 + 128U) >> 8); /* at most 255 << 8, so this is at most 255 */
}

/* One of three values by sensitivity, or a value between them. */
static int32_t at_level(const uint8_t values[HK_TRACKER_SENSITIVITIES], uint8_t level)
{
    const int32_t half = HK_TRACKER_LEVEL_MAX / 2;
    const int32_t below = level >= half ? 1 : 0, way = level - below * half;
    return (values[below] * (half - way) + values[below + 1] * way + half / 2) / half;
}

uint8_t hk_tracker_score(const hk_tracker_t *tracker, uint8_t index)
{
    return smoothed_score(&tracker->events[index]);
}

uint8_t hk_tracker_threshold(const hk_tracker_t *tracker, uint8_t index)
{
    const hk_tracker_event_params_t *params = &tracker->params.events[index];
    const hk_tracker_event_state_t *state = &tracker->events[index];
    const bool is_heard = state->is_enabled && (tracker->is_armed || !params->is_armed_only);
    return is_heard ? (uint8_t)at_level(params->thresholds, state->level) : 0;
}

/* Follows one event's score: hysteresis, time above the threshold, gaps, end. `share` of the threshold is asked, in
 * percent; while `is_brief` beeps are measured, its time stands for no cadence. */
static void follow(hk_tracker_event_state_t *state, const hk_tracker_event_params_t *params, uint8_t score,
                   int32_t share, bool is_brief, uint64_t sample)
{
    /* a part of the way to the score, rounded up, so that a constant score is reached and a threshold of 255 with it */
    const int32_t way = ((int32_t)score << 8) - state->smoothed_q8;
    const int32_t length = way < 0 ? -way : way;
    const int32_t step = (length + (1 << params->smoothing_shift) - 1) >> params->smoothing_shift;
    state->smoothed_q8 = (uint16_t)(state->smoothed_q8 + (way < 0 ? -step : step));

    const int32_t threshold = at_level(params->thresholds, state->level);
    const int32_t asked = state->is_above && params->release_percent < share ? params->release_percent : share;
    state->is_above = state->smoothed_q8 * 100 >= (threshold << 8) * asked;

    if (state->quiet_steps > 0) {
        state->quiet_steps--;
    }
    if (state->is_above) {
        if (!state->is_sounding) {
            state->is_sounding = true;
            state->start_sample = sample - SAMPLES_PER_STEP;
        }
        state->gap_steps = 0;
        if (state->above_steps < UINT16_MAX) {
            state->above_steps++;
            state->lone_steps = (uint16_t)(state->lone_steps + !is_brief);
        }
        const uint8_t smoothed = smoothed_score(state);
        state->peak = smoothed > state->peak ? smoothed : state->peak;
    } else if (state->is_sounding && ++state->gap_steps > steps_of(params->max_gap_ms)) {
        if (state->is_reported) {
            const uint16_t refractory = steps_of(params->refractory_ms);
            state->quiet_steps = refractory > state->gap_steps ? (uint16_t)(refractory - state->gap_steps) : 0;
        }
        end_sound(state);
    }
    if (state->is_sounding && state->is_reported) {
        state->reported_steps++;
    }
    if (state->is_sounding && state->sounding_steps < UINT16_MAX) {
        state->sounding_steps++;
    }
}

static bool is_chosen(const hk_tracker_t *tracker, size_t index)
{
    return tracker->events[index].is_enabled && (tracker->is_armed || !tracker->params.events[index].is_armed_only);
}

static bool is_long_enough(const hk_tracker_t *tracker, size_t index)
{
    const hk_tracker_event_state_t *state = &tracker->events[index];
    return state->is_sounding && state->above_steps >= steps_of(tracker->params.events[index].min_duration_ms);
}

/* The pattern that names an event of this role. */
static uint8_t pattern_of(uint8_t role)
{
    return role == HK_TRACKER_ROLE_SMOKE_ALARM ? HK_CADENCE_T3
                                               : (role == HK_TRACKER_ROLE_CO_ALARM ? HK_CADENCE_T4 : HK_CADENCE_NONE);
}

static bool names_an_alarm(const hk_cadence_evidence_t *evidence)
{
    return evidence->kind == HK_CADENCE_T3 || evidence->kind == HK_CADENCE_T4;
}

static bool is_finding(const hk_cadence_evidence_t *evidence)
{
    return names_an_alarm(evidence) && evidence->periods >= 2;
}

/* Share of its threshold that an alarm's score must reach, percent. */
static int32_t asked_share(const hk_cadence_evidence_t *evidence, const hk_tracker_alarm_params_t *alarm)
{
    if (!is_finding(evidence)) {
        return 100;
    }
    const bool is_certain =
        evidence->periods >= alarm->certain_periods || evidence->confidence >= alarm->certain_confidence;
    return is_certain && alarm->certain_percent < alarm->proven_percent ? alarm->certain_percent : alarm->proven_percent;
}

static size_t add_event(hk_tracker_t *tracker, size_t index, uint64_t start_sample, uint8_t peak, uint64_t sample,
                        hk_event_t *out, size_t count)
{
    hk_tracker_event_state_t *state = &tracker->events[index];
    const hk_cadence_evidence_t *evidence = &tracker->evidence;
    hk_event_t *event = &out[count];
    *event = (hk_event_t){
        .start_sample = start_sample,
        .trigger_sample = sample,
        .cadence = *evidence,
        .event = (uint8_t)index,
        .score = peak,
        .sensitivity = (uint8_t)((state->level * 2 + HK_TRACKER_LEVEL_MAX / 2) / HK_TRACKER_LEVEL_MAX),
        .is_armed = tracker->is_armed,
        .is_repeat = state->is_reported,
    };
    for (size_t i = 0; i < tracker->params.event_count; i++) {
        event->scores[i] = smoothed_score(&tracker->events[i]);
    }
    if (is_finding(evidence) && pattern_of(tracker->params.events[index].role) == evidence->kind) {
        /* as sure of it as score and cadence together: 1 - (1 - score)(1 - confidence) */
        event->score = (uint8_t)(255 - (255 - peak) * (255 - evidence->confidence) / 255);
    }
    state->is_reported = true;
    state->reported_steps = 0;
    return count + 1;
}

/* The other alarm, whose head fires on the same tone; UNNAMED if there is none. */
static size_t rival_of(const hk_tracker_t *tracker, size_t index)
{
    const uint8_t role = tracker->params.events[index].role;
    for (size_t i = 0; i < tracker->params.event_count; i++) {
        if (is_alarm_role(tracker->params.events[i].role) && tracker->params.events[i].role != role) {
            return i;
        }
    }
    return UNNAMED;
}

/* Smoke and CO that sound together are one sound under two names: it has ended when neither head hears it. */
static void share_gaps(hk_tracker_t *tracker)
{
    for (size_t i = 0; i < tracker->params.event_count; i++) {
        hk_tracker_event_state_t *state = &tracker->events[i];
        const size_t rival = is_alarm_role(tracker->params.events[i].role) ? rival_of(tracker, i) : UNNAMED;
        if (rival != UNNAMED && state->is_sounding && tracker->events[rival].is_sounding &&
            tracker->events[rival].gap_steps < state->gap_steps) {
            state->gap_steps = tracker->events[rival].gap_steps;
        }
    }
}

/* An alarm whose score alone suffices: whether to name it now, and as which of the two. Returns the index to report,
 * or UNNAMED to wait for more evidence. */
static size_t name_alarm(hk_tracker_t *tracker, size_t index)
{
    hk_tracker_event_state_t *state = &tracker->events[index];
    const size_t rival = rival_of(tracker, index);
    if (rival == UNNAMED || !is_chosen(tracker, rival)) {
        return index; /* an alarm that may only be called one thing is called that, never dropped */
    }
    if (names_an_alarm(&tracker->evidence)) {
        const bool is_own = tracker->evidence.kind == pattern_of(tracker->params.events[index].role);
        /* one period is a hint: it settles a doubt, but to overrule a score that stands alone it must be a clear one */
        if (is_own || tracker->evidence.periods >= 2 || tracker->events[rival].is_sounding ||
            tracker->evidence.confidence >= tracker->params.hint_confidence) {
            return is_own ? index : rival;
        }
    }
    const int32_t lead = (int32_t)state->peak - tracker->events[rival].peak;
    const bool is_in_doubt = lead < tracker->params.doubt_margin || tracker->events[rival].is_above;
    const uint16_t wait_ms = is_in_doubt ? tracker->params.doubt_wait_ms : tracker->params.naming_wait_ms;
    if (tracker->evidence.kind != HK_CADENCE_CONTINUOUS && state->wait_steps < steps_of(wait_ms)) {
        state->wait_steps++;
        return UNNAMED;
    }
    return lead >= 0 || !is_long_enough(tracker, rival) ? index : rival;
}

/* Reports alarm `index`, which was found as `found`, unless that was done before. */
static size_t report_alarm(hk_tracker_t *tracker, size_t index, size_t found, uint64_t sample, hk_event_t *out,
                           size_t count)
{
    hk_tracker_event_state_t *state = &tracker->events[index];
    const hk_tracker_event_state_t source = tracker->events[found];
    if (index != found && !state->is_sounding) {
        /* the other head heard nothing: from here on the sound is tracked under its right name too */
        state->is_sounding = true;
        state->start_sample = source.start_sample;
        state->gap_steps = 0;
    }
    const uint8_t peak = source.peak > state->peak ? source.peak : state->peak;
    const uint64_t start = source.start_sample < state->start_sample ? source.start_sample : state->start_sample;
    state->peak = peak;
    return add_event(tracker, index, start, peak, sample, out, count);
}

/* Whether bursts of T3 or T4 bear out what head `index` hears. Any do, except a single one of T4 beside a modest score, or one of
 * T3 that is none too clear and that only the head of the other alarm hears: an alarm clock's beeps are like either. */
static bool is_cadence_enough(const hk_tracker_t *tracker, size_t index)
{
    const hk_cadence_evidence_t *evidence = &tracker->evidence;
    if (!names_an_alarm(evidence) || is_finding(evidence)) {
        return names_an_alarm(evidence);
    }
    const hk_tracker_alarm_params_t *alarm = &tracker->params.alarm;
    if (evidence->kind == HK_CADENCE_T4 && evidence->periods < alarm->t4_periods &&
        tracker->events[index].peak < alarm->t4_sure_score) {
        return false;
    }
    const size_t rival = rival_of(tracker, index);
    const bool is_own = evidence->kind == pattern_of(tracker->params.events[index].role);
    return is_own || evidence->confidence >= tracker->params.hint_confidence ||
           (rival != UNNAMED && tracker->events[rival].is_sounding);
}

/* Whether an alarm's score is borne out by something that a few beeps do not have. */
static bool is_borne_out(const hk_tracker_t *tracker, size_t index)
{
    const hk_tracker_event_state_t *state = &tracker->events[index];
    const hk_tracker_alarm_params_t *alarm = &tracker->params.alarm;
    return is_cadence_enough(tracker, index) || state->peak >= at_level(alarm->sure_scores, state->level) ||
           state->lone_steps >= steps_of(alarm->lone_duration_ms) ||
           (state->is_above && state->sounding_steps >= steps_of(alarm->persistent_ms));
}

static bool is_repeat_due(const hk_tracker_t *tracker, size_t index)
{
    const uint32_t repeat_ms = tracker->params.events[index].repeat_ms;
    return repeat_ms > 0 && tracker->events[index].reported_steps >= repeat_ms / HK_TRACKER_STEP_MS;
}

/* Smoke and CO, which are one decision: something is sounding an alarm, and what to call it. */
static size_t step_alarms(hk_tracker_t *tracker, uint64_t sample, hk_event_t *out, size_t count)
{
    for (size_t i = 0; i < tracker->params.event_count; i++) {
        hk_tracker_event_state_t *state = &tracker->events[i];
        if (!is_alarm_role(tracker->params.events[i].role) || !is_chosen(tracker, i) || !state->is_sounding) {
            continue;
        }
        const size_t rival = rival_of(tracker, i);
        const bool is_rival_reported = rival != UNNAMED && tracker->events[rival].is_reported;
        const bool is_own_pattern = tracker->evidence.kind == pattern_of(tracker->params.events[i].role);
        const bool is_contradicted = is_finding(&tracker->evidence) && !is_own_pattern;
        if (state->is_reported) {
            if (is_contradicted && rival != UNNAMED && is_chosen(tracker, rival) && !is_rival_reported) {
                count = report_alarm(tracker, rival, i, sample, out, count);
                out[count - 1].is_renamed = true;
            } else if (is_repeat_due(tracker, i) && state->is_above && !is_contradicted) {
                count = add_event(tracker, i, state->start_sample, state->peak, sample, out, count);
            }
            continue;
        }
        if (!is_long_enough(tracker, i) || state->quiet_steps > 0) {
            continue;
        }
        if (!is_borne_out(tracker, i)) {
            /* who has waited for evidence has waited for a name */
            state->wait_steps = (uint16_t)(state->wait_steps + (state->wait_steps < UINT16_MAX));
            continue;
        }
        if (is_rival_reported) {
            /* reported under the other name; a second name needs the cadence to contradict the first */
            if (is_finding(&tracker->evidence) && is_own_pattern) {
                count = report_alarm(tracker, i, i, sample, out, count);
                out[count - 1].is_renamed = true;
            }
            continue;
        }
        const size_t name = name_alarm(tracker, i);
        if (name != UNNAMED && tracker->events[name].quiet_steps == 0) {
            count = report_alarm(tracker, name, i, sample, out, count);
        }
    }
    return count;
}

static size_t step_sounds(hk_tracker_t *tracker, uint64_t sample, hk_event_t *out, size_t count)
{
    for (size_t i = 0; i < tracker->params.event_count; i++) {
        hk_tracker_event_state_t *state = &tracker->events[i];
        if (is_alarm_role(tracker->params.events[i].role) || !is_chosen(tracker, i) || !is_long_enough(tracker, i) ||
            state->quiet_steps > 0) {
            continue;
        }
        /* above: what was heard only during the refractory time is not reported once that is over */
        if (state->is_above && (!state->is_reported || is_repeat_due(tracker, i))) {
            count = add_event(tracker, i, state->start_sample, state->peak, sample, out, count);
        }
    }
    return count;
}

size_t hk_tracker_step(hk_tracker_t *tracker, const hk_frame_t frames[2], const uint8_t *scores, uint64_t sample,
                       hk_event_t out[HK_TRACKER_EVENTS_MAX])
{
    hk_cadence_push(&tracker->cadence, frames);
    const int32_t share = asked_share(&tracker->evidence, &tracker->params.alarm);
    const bool is_brief = hk_tracker_is_brief(&tracker->evidence, &tracker->params.alarm);
    bool is_suspected = false;
    for (size_t i = 0; i < tracker->params.event_count; i++) {
        const hk_tracker_event_params_t *params = &tracker->params.events[i];
        follow(&tracker->events[i], params, scores[i], is_alarm_role(params->role) ? share : 100, is_brief, sample);
        is_suspected = is_suspected || (tracker->events[i].is_sounding && is_chosen(tracker, i));
    }
    share_gaps(tracker);
    if (tracker->steps_to_analysis == 0) {
        if (is_suspected) {
            hk_cadence_analyze(&tracker->cadence, &tracker->evidence);
        } else {
            hk_cadence_standard(&tracker->cadence, &tracker->evidence);
        }
        tracker->steps_to_analysis = steps_of(tracker->params.cadence_interval_ms);
    } else if (tracker->steps_to_analysis == steps_of(tracker->params.cadence_interval_ms) / 2) {
        /* halfway for a finding only, which costs little: at the fastest T3 it comes hardly before two periods are over */
        hk_cadence_evidence_t evidence;
        hk_cadence_standard(&tracker->cadence, &evidence);
        if (is_finding(&evidence)) {
            tracker->evidence = evidence;
        }
    }
    tracker->steps_to_analysis--;
    if (!is_suspected) {
        return 0;
    }
    const size_t count = step_alarms(tracker, sample, out, 0);
    return step_sounds(tracker, sample, out, count);
}
