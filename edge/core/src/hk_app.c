#include "hk_app.h"

#include <string.h>

#include "hk_error.h"
#include "hk_hmac_sha256.h"

enum {
    READ_BYTES = 128,        /* from the link in one turn */
    STOP_PATIENCE_MS = 2000, /* for the farewell to the broker */
    RETRY_MS = 2000,         /* after the broker refused or broke the session */
    PCM_HEADER_BYTES = 8,
};

_Static_assert((HK_LINK_PAYLOAD_MAX_BYTES - PCM_HEADER_BYTES) / 2 <= HK_STEP_SAMPLES,
               "one frame of PCM completes at most one step, so a turn's work is bounded");

/* --- Settings and identity --- */

static void apply_config(hk_app_t *app, const hk_config_t *config)
{
    hk_tracker_t *tracker = &app->listener.tracker;
    for (uint8_t i = 0; i < HK_EVENT_COUNT; i++) {
        const hk_event_setting_t *setting = &config->events[i];
        const hk_event_spec_t *spec = &hk_catalogue[i];
        (void)hk_tracker_set_event(tracker, i, setting->is_set ? setting->is_enabled : spec->is_enabled_by_default != 0,
                                   setting->is_set ? setting->sensitivity : spec->default_sensitivity);
    }
    hk_tracker_set_armed(tracker, config->is_armed);
    if (!config->is_armed) {
        hk_siren_off(&app->commands.siren);
    }
    hk_uplink_set_armed(&app->uplink, config->is_armed);
}

static void take_config(void *context, const uint8_t *payload, size_t length)
{
    hk_app_t *app = context;
    hk_config_t config;
    if (hk_message_decode_config(payload, length, &config) != 0) {
        app->uplink.malformed_messages++;
        return;
    }
    apply_config(app, &config);
    const int status = app->port->settings_save(app->port->context, HK_PORT_CHOICES, payload, length);
    if (status != 0) {
        app->error_due = status;
        app->error_text = "the settings could not be saved: they hold until the next restart";
    }
}

/* Settings of an earlier run; none, or what another version wrote, leave the defaults. */
static void load_settings(hk_app_t *app)
{
    uint8_t *saved = app->uplink.outbox.entries[0].payload; /* no trigger is held yet, and the stack is small */
    _Static_assert(HK_TRIGGER_MAX_BYTES >= HK_MQTT_INCOMING_MAX_BYTES, "it holds any config message");
    const size_t length =
        app->port->settings_load(app->port->context, HK_PORT_CHOICES, saved, HK_MQTT_INCOMING_MAX_BYTES);
    hk_config_t config;
    if (length > 0 && hk_message_decode_config(saved, length, &config) == 0) {
        apply_config(app, &config);
    }
}

/* --- Known media --- */

static void tell_media(hk_app_t *app)
{
    app->is_media_due = true;
    if (app->is_configured) {
        hk_uplink_set_media(&app->uplink, app->media_slot.set.version, app->media_status, app->media_guard.dismissed);
    }
}

/* Whether the set that is whole may be used, and that it is. */
static bool may_use_media(void *context, const uint8_t *seal)
{
    const hk_app_t *app = context;
    return hk_update_allows_media(&app->update, seal);
}

static void note_media_used(hk_app_t *app)
{
    const uint8_t *blob = app->media_slot.set.blob;
    if (blob != NULL) {
        hk_update_media_used(&app->update, blob + HK_MEDIA_SET_SEAL_AT);
    }
}

static void take_media(void *context, const hk_media_piece_t *piece)
{
    hk_app_t *app = context;
    bool is_whole;
    const int status = hk_media_slot_take(&app->media_slot, piece, &is_whole);
    if (is_whole) {
        note_media_used(app);
    }
    const bool is_told = status == app->media_status && memcmp(app->media_told, piece->hash, sizeof app->media_told) == 0;
    if (is_whole || (status != 0 && !is_told)) { /* not with every piece of a set that is refused */
        app->media_status = (int16_t)status;
        memcpy(app->media_told, piece->hash, sizeof app->media_told);
        tell_media(app);
    }
}

/* --- Updates --- */

static void take_update(void *context, const hk_update_piece_t *piece)
{
    hk_app_t *app = context;
    hk_update_take(&app->update, piece);
}

static void describe_installed(void *context, hk_installed_t *installed)
{
    const hk_app_t *app = context;
    hk_update_describe(&app->update, installed);
}

/* The key of updates is what the device was provisioned with. */
static void use_key(hk_app_t *app)
{
    uint8_t key[HK_UPDATE_KEY_BYTES];
    const bool has_key = hk_vault_key(&app->vault, key);
    hk_update_set_key(&app->update, has_key ? key : NULL);
    hk_wipe(key, sizeof key);
}

/* Between two steps: what has come whole takes effect, and what has changed is told. */
static void serve_updates(hk_app_t *app)
{
    hk_update_poll(&app->update);
    if (!app->update.is_changed) {
        return;
    }
    if (hk_media_slot_use_if_whole(&app->media_slot)) { /* its leave may be what has come */
        app->media_status = HK_OK;
        note_media_used(app);
        tell_media(app);
    }
    if (app->is_configured) {
        app->update.is_changed = false;
        hk_uplink_tell_installed(&app->uplink);
    }
}

static void take_explanation(void *context, uint8_t event)
{
    hk_app_t *app = context;
    hk_media_guard_hush(&app->media_guard, event, app->listener.samples_heard);
}

static void take_command(void *context, const hk_command_t *command)
{
    hk_app_t *app = context;
    const hk_commands_result_t result =
        hk_commands_take(&app->commands, command, app->boot_id, app->device_id, app->listener.tracker.is_armed,
                         app->listener.samples_heard);
    app->command_text = hk_commands_text(result);
    if (result == HK_COMMANDS_SIREN_IGNORED) {
        hk_uplink_set_siren(&app->uplink, app->commands.siren.is_on); /* the cloud thinks otherwise */
    }
}

/* Switches the outputs as they are to be now, and lets the cloud know of the siren. */
static void serve_outputs(hk_app_t *app)
{
    const uint8_t outputs = hk_commands_outputs(&app->commands, app->listener.samples_heard);
    const uint8_t changed = outputs ^ app->outputs;
    app->outputs = outputs;
    for (uint8_t i = 0; changed >> i != 0 && app->port->output_switch != NULL; i++) {
        if ((changed >> i & 1u) != 0) {
            app->port->output_switch(app->port->context, i, (outputs >> i & 1u) != 0);
        }
    }
    if (app->is_configured && app->commands.siren.is_on != app->uplink.status.is_siren_on) {
        hk_uplink_set_siren(&app->uplink, app->commands.siren.is_on);
    }
}

static void report_error(hk_app_t *app, int code, const char *text)
{
    app->error_due = code;
    app->error_text = text;
}

/* Who the device is for this boot: what the host says, unless it was provisioned as somebody else. */
static int choose_id(hk_app_t *app, const char *asked, char device_id[HK_DEVICE_ID_MAX_CHARS + 1])
{
    const bool is_provisioned = hk_vault_device_id(&app->vault, device_id);
    if (asked[0] == '\0') {
        return is_provisioned ? HK_OK : HK_ERROR_NOT_FOUND;
    }
    if (is_provisioned && strcmp(asked, device_id) != 0) {
        return HK_ERROR_MISMATCH;
    }
    memcpy(device_id, asked, HK_DEVICE_ID_MAX_CHARS + 1);
    return HK_OK;
}

static void configure(hk_app_t *app, const hk_host_control_t *control)
{
    char device_id[HK_DEVICE_ID_MAX_CHARS + 1];
    const int chosen = choose_id(app, control->u.configure.device_id, device_id);
    if (chosen == HK_ERROR_NOT_FOUND) {
        report_error(app, chosen, "the device has no id of its own: name one, or run harken provision write");
        return;
    }
    if (chosen != HK_OK) {
        report_error(app, chosen, "provisioned with another id: use that one, or run harken provision write anew");
        return;
    }
    if (app->is_configured) {
        const bool is_same = strcmp(app->device_id, device_id) == 0
                             && memcmp(app->boot_id, control->u.configure.boot_id, HK_BOOT_ID_BYTES) == 0;
        if (!is_same) {
            report_error(app, HK_ERROR_STATE, "the device has an identity already: restart it to give it another");
        }
        return;
    }
    memcpy(app->device_id, device_id, sizeof app->device_id);
    memcpy(app->boot_id, control->u.configure.boot_id, HK_BOOT_ID_BYTES);
    const hk_uplink_listener_t told = {
        .on_config = take_config,
        .on_media = take_media,
        .on_update = take_update,
        .describe = describe_installed,
        .on_explained = take_explanation,
        .on_command = take_command,
        .context = app,
    };
    const int status = hk_uplink_init(&app->uplink, app->device_id, app->port->board, HK_FIRMWARE_VERSION,
                                      hk_model_hash, &told);
    if (status != 0) {
        report_error(app, status, "the device cannot use this identity");
        return;
    }
    load_settings(app);
    hk_update_set_identity(&app->update, app->device_id);
    app->is_configured = true;
    app->has_cloud = true;
    app->is_network_due = true;
    hk_uplink_set_media(&app->uplink, app->media_slot.set.version, app->media_status, app->media_guard.dismissed);
}

/* --- Sound --- */

static hk_wire_cadence_t wire_cadence(const hk_cadence_evidence_t *evidence)
{
    return (hk_wire_cadence_t){
        .kind = evidence->kind,
        .periods = evidence->periods,
        .confidence = evidence->confidence,
        .on_ms = evidence->on_ms,
        .off_ms = evidence->off_ms,
        .pause_ms = evidence->pause_ms,
    };
}

/* What is said on the link of a trigger; the name of an event that the catalogue lacks is looked up when it is said. */
static void queue_event(hk_app_t *app, const hk_trigger_t *trigger)
{
    if (app->event_count == HK_APP_EVENTS_WAITING) {
        app->events_unreported++;
        return;
    }
    hk_device_control_t *control = &app->events[app->event_count++];
    *control = (hk_device_control_t){
        .kind = HK_DEVICE_EVENT,
        .u.event = {
            .event = trigger->event,
            .event_start_sample = trigger->event_start_sample,
            .trigger_sample = trigger->trigger_sample,
            .score = trigger->score,
            .cadence = trigger->cadence,
            .clip = trigger->clip,
        },
    };
    memcpy(control->u.event.event_id, trigger->event_id, HK_EVENT_ID_BYTES);
}

/* The cloud knows the events of the catalogue: one that a head has brought is told on the link alone. */
static void tell_added_event(hk_app_t *app, const hk_event_t *event)
{
    enum { OF_ADDED_EVENTS = 1u << 31 }; /* sequence numbers that no trigger reaches */
    hk_trigger_t message = {
        .event = event->event,
        .event_start_sample = event->start_sample,
        .trigger_sample = event->trigger_sample,
        .score = event->score,
        .cadence = wire_cadence(&event->cadence),
        .clip = HK_CLIP_NONE,
    };
    hk_event_id_make(message.event_id, app->boot_id, OF_ADDED_EVENTS | app->added_events_made, app->device_id);
    app->added_events_made++;
    queue_event(app, &message);
}

static void trigger(hk_app_t *app, const hk_event_t *event)
{
    hk_update_triggered(&app->update, event->event);
    if (event->event == HK_EVENT_ADDED) {
        tell_added_event(app, event);
        return;
    }
    const hk_listener_words_t latest = hk_listener_fingerprint(&app->listener);
    hk_media_hint_t hint;
    if (hk_media_guard_dismisses(&app->media_guard, &app->media_slot.set, event->event, &latest,
                                 event->trigger_sample, &hint)) {
        tell_media(app);
        return;
    }
    hk_trigger_t message = {
        .device_seq = app->triggers_made,
        .event = event->event,
        .event_start_sample = event->start_sample,
        .trigger_sample = event->trigger_sample,
        .score = event->score,
        .sensitivity = event->sensitivity,
        .is_armed = event->is_armed,
        .cadence = wire_cadence(&event->cadence),
        .fingerprint = {
            .first_sample = latest.first_sample,
            .step_samples = HK_FINGERPRINT_WORD_SAMPLES,
            .word_count = latest.count,
            .words = latest.words,
            .reliable = latest.reliable,
            .usable = latest.usable,
        },
        .head_version = hk_listener_head_version(&app->listener, event->event),
        .media = hint,
    };
    hk_event_id_make(message.event_id, app->boot_id, app->triggers_made, app->device_id);
    memcpy(message.scores, event->scores, sizeof message.scores);
    memcpy(message.model_hash, hk_model_hash, HK_MODEL_HASH_BYTES);
    app->triggers_made++;
    const int status = hk_uplink_put(&app->uplink, &message);
    if (status == 0 && message.is_armed && hk_catalogue[message.event].is_armed_only) {
        hk_siren_note(&app->commands.siren, message.device_seq, event->trigger_sample);
    }
    if (status != 0 && status != HK_ERROR_FULL) {
        report_error(app, status, "a trigger could not be encoded");
    }
    queue_event(app, &message);
}

static void send_scores(hk_app_t *app)
{
    uint8_t payload[8 + HK_EVENT_COUNT];
    for (unsigned i = 0; i < 8; i++) {
        payload[i] = (uint8_t)(app->listener.samples_heard >> (8 * i));
    }
    memcpy(payload + 8, app->listener.detector.event_scores, HK_EVENT_COUNT);
    (void)hk_link_send(&app->sender, HK_CHANNEL_SCORES, payload, sizeof payload); /* a live view may skip a step */
}

/* An open event that is no safety event sounds like known media by now: take its trigger back where it has not left, and
 * let it be quiet. The cloud gets the hint with the next words. */
static void recognise(hk_app_t *app, uint64_t samples_heard)
{
    hk_further_t *further = &app->uplink.further;
    for (uint8_t i = 0; i < HK_FURTHER_EVENTS_MAX; i++) {
        const uint8_t event = further->events[i].event;
        if (!hk_further_is_open(further, i, samples_heard) || hk_catalogue[event].is_safety) {
            continue;
        }
        hk_media_guard_hush(&app->media_guard, event, samples_heard);
        uint8_t event_id[HK_EVENT_ID_BYTES];
        memcpy(event_id, further->events[i].event_id, sizeof event_id);
        if (hk_uplink_withdraw(&app->uplink, event_id)) {
            app->media_guard.dismissed++;
            tell_media(app);
        }
    }
}

/* What sounds after a trigger: the device goes on to look for it among its known media, and the cloud gets the words. */
static void follow_triggers(hk_app_t *app)
{
    enum { LOOK_SAMPLES = HK_FURTHER_WORDS_MAX * HK_FINGERPRINT_WORD_SAMPLES }; /* a second */
    hk_further_t *further = &app->uplink.further;
    const uint64_t samples_heard = app->listener.samples_heard;
    if (!hk_further_has_open(further, samples_heard)) {
        return;
    }
    const bool is_look_due = app->media_slot.set.blob != NULL && !further->hint.is_set
                             && samples_heard >= further->looked_sample + LOOK_SAMPLES;
    const bool is_offer_due = hk_uplink_wants_words(&app->uplink, samples_heard);
    if (!is_look_due && !is_offer_due) {
        return;
    }
    const hk_listener_words_t latest = hk_listener_fingerprint(&app->listener);
    if (is_look_due) {
        further->looked_sample = samples_heard;
        hk_media_guard_look(&app->media_slot.set, false, &latest, &further->hint);
        if (further->hint.is_set) {
            recognise(app, samples_heard);
        }
    }
    if (is_offer_due) {
        hk_uplink_offer_words(&app->uplink, &latest, samples_heard);
    }
}

static void serve_commands(hk_app_t *app)
{
    const uint64_t samples_heard = app->listener.samples_heard;
    const hk_tracker_t *tracker = &app->listener.tracker;
    if (hk_commands_heard(&app->commands, &app->uplink.slot, tracker, samples_heard)
        && hk_uplink_wants_scores(&app->uplink)) {
        hk_live_scores_t message;
        hk_live_next(&app->commands.live, tracker, samples_heard, &message);
        hk_uplink_offer_scores(&app->uplink, &message);
    }
}

static void hear_step(hk_app_t *app)
{
    hk_event_t events[HK_TRACKER_EVENTS_MAX];
    app->step.fill = 0;
    const size_t count = hk_listener_step(&app->listener, app->step.pcm, events);
    for (size_t i = 0; i < count; i++) {
        trigger(app, &events[i]);
    }
    hk_update_heard(&app->update);
    follow_triggers(app);
    serve_commands(app);
    hk_uplink_heard(&app->uplink, &app->listener.ring, app->listener.samples_heard);
    if (app->is_scores_on) {
        send_scores(app);
    }
    app->steps_since_heard++;
    if (app->steps_since_heard >= HK_APP_HEARD_STEPS) {
        app->is_heard_due = true;
    }
}

int hk_app_push(hk_app_t *app, const int16_t *pcm, size_t n)
{
    if (!app->is_configured) {
        return HK_ERROR_STATE;
    }
    while (n > 0) {
        const size_t taken = hk_step_take(&app->step, pcm, n);
        pcm += taken;
        n -= taken;
        if (hk_step_is_whole(&app->step)) {
            hear_step(app);
        }
    }
    return 0;
}

/* Pulls up to one step from the microphone; whether there was any. */
static bool listen_to_microphone(hk_app_t *app)
{
    const uint64_t taken = app->listener.samples_heard + app->step.fill;
    if (!app->is_configured || app->is_stopping || taken >= app->samples_available) {
        return false;
    }
    const uint64_t left = app->samples_available - taken;
    const size_t room = hk_step_room(&app->step);
    const size_t wanted = left < room ? (size_t)left : room;
    const size_t n = app->port->microphone_read(app->port->context, app->step.pcm + app->step.fill, wanted);
    app->step.fill = (uint16_t)(app->step.fill + n);
    if (hk_step_is_whole(&app->step)) {
        hear_step(app);
    }
    if (taken + n == app->samples_available) {
        app->is_heard_due = true; /* all that was announced: the host may be waiting for just that */
    }
    return n > 0;
}

/* --- The link: what the host says --- */

static void handle_pcm(hk_app_t *app, const uint8_t *payload, size_t n)
{
    hk_link_credit_consume(&app->pcm_credit, n);
    if (n < PCM_HEADER_BYTES || n % 2 != 0) {
        report_error(app, HK_ERROR_FORMAT, "a PCM frame is not a u64 and int16 samples");
        return;
    }
    uint64_t first_sample = 0;
    for (unsigned i = 0; i < PCM_HEADER_BYTES; i++) {
        first_sample |= (uint64_t)payload[i] << (8 * i);
    }
    const size_t samples = (n - PCM_HEADER_BYTES) / 2;
    if (first_sample != app->next_pcm_sample) {
        report_error(app, HK_ERROR_PROTOCOL, "PCM does not continue where it ended: audio was lost on the link");
    }
    app->next_pcm_sample = first_sample + samples;
    if (!app->is_configured) {
        report_error(app, HK_ERROR_STATE, "configure the device before it is to hear anything");
        return;
    }
    for (size_t i = 0; i < samples; i++) {
        const uint8_t *bytes = payload + PCM_HEADER_BYTES + 2 * i;
        const int16_t sample = (int16_t)(uint16_t)(bytes[0] | (uint16_t)(bytes[1] << 8));
        (void)hk_app_push(app, &sample, 1); /* not by way of a buffer: the stack is small and a step may follow */
    }
}

/* The session cannot go on: let the host close the socket, and try again a little later. */
static void drop_session(hk_app_t *app)
{
    hk_uplink_close(&app->uplink);
    app->has_cloud = false;
    app->is_network_due = true;
    app->is_retry_waiting = true;
    app->retry_since_ms = app->port->clock_ms(app->port->context);
}

static void handle_mqtt(hk_app_t *app, const uint8_t *payload, size_t n)
{
    hk_link_credit_consume(&app->mqtt_credit, n);
    if (!app->is_configured) {
        return;
    }
    const int status = hk_uplink_receive(&app->uplink, payload, n);
    if (status != 0 && app->has_cloud) {
        report_error(app, status, "the MQTT session failed: it is opened again in 2 s");
        drop_session(app);
    }
}

static void greet(hk_app_t *app, uint16_t protocol)
{
    if (protocol != HK_LINK_PROTOCOL_VERSION) {
        app->is_greeted = false;
        report_error(app, HK_ERROR_VERSION, "host and device speak different link protocols: update the older one");
        return;
    }
    hk_link_receiver_restart(&app->receiver);
    hk_link_sender_restart(&app->sender);
    hk_link_credit_init(&app->pcm_credit);
    hk_link_credit_init(&app->mqtt_credit);
    app->next_pcm_sample = app->listener.samples_heard + app->step.fill;
    app->is_greeted = true;
    app->is_hello_due = true;
    app->is_heard_due = app->is_configured;
    app->is_network_due = app->is_configured;
    app->is_vault_loss_due = app->vault.state == HK_VAULT_REPAIRED || app->vault.state == HK_VAULT_DAMAGED;
    if (app->is_configured) {
        hk_uplink_close(&app->uplink); /* a new host knows nothing of the old one's socket */
    }
}

static void handle_network(hk_app_t *app, bool is_open)
{
    if (!app->is_configured) {
        return;
    }
    hk_uplink_close(&app->uplink);
    if (is_open && app->has_cloud) {
        hk_uplink_open(&app->uplink, app->port->clock_ms(app->port->context));
    } else {
        app->is_network_due = true; /* an answer: no byte of the old session follows it */
    }
}

static void stop(hk_app_t *app)
{
    app->is_stopping = true;
    app->stopping_since_ms = app->port->clock_ms(app->port->context);
    if (app->is_configured) {
        hk_uplink_stop(&app->uplink);
    }
}

static void handle_head(hk_app_t *app, const hk_host_control_t *control)
{
    bool is_whole;
    const int status = hk_update_load_head(&app->update, control->u.head.offset, control->u.head.total,
                                           control->u.head.data, control->u.head.data_bytes, &is_whole);
    if (is_whole || status != 0) { /* else more is to come */
        app->head_status = (int16_t)status;
        app->is_head_due = true;
    }
}

/* Whoever holds the cable can write all of flash: asking for the key before would only lock out an owner who lost it. */
static void provision(hk_app_t *app, const hk_provision_t *provision)
{
    app->vault_status = (int16_t)hk_vault_write(&app->vault, provision);
    use_key(app);
    app->is_vault_due = true;
}

static void handle_control(hk_app_t *app, const uint8_t *payload, size_t n)
{
    hk_host_control_t control;
    const int status = hk_message_decode_host_control(payload, n, &control);
    if (status != 0) {
        report_error(app, status, "a control message is not of the schema");
        return;
    }
    if (control.kind != HK_HOST_HELLO && !app->is_greeted) {
        report_error(app, HK_ERROR_STATE, "say hello first");
        return;
    }
    switch (control.kind) {
    case HK_HOST_HELLO:
        greet(app, control.u.hello.protocol);
        break;
    case HK_HOST_CONFIGURE:
        configure(app, &control);
        break;
    case HK_HOST_MICROPHONE:
        app->samples_available = control.u.microphone.samples_available;
        break;
    case HK_HOST_NETWORK:
        handle_network(app, control.u.network.is_open);
        break;
    case HK_HOST_SCORES:
        app->is_scores_on = control.u.scores.is_on;
        break;
    case HK_HOST_STATS:
        app->is_stats_due = true;
        break;
    case HK_HOST_SHUTDOWN:
        stop(app);
        break;
    case HK_HOST_HEAD:
        handle_head(app, &control);
        break;
    case HK_HOST_MEDIA:
        take_media(app, &control.u.media);
        break;
    case HK_HOST_VAULT:
        app->vault_status = HK_OK;
        app->is_vault_due = true;
        break;
    case HK_HOST_PROVISION:
        provision(app, &control.u.provision);
        break;
    case HK_HOST_CREDENTIALS:
        app->vault_status = HK_ERROR_REFUSED; /* a board with a gateway has no TLS of its own */
        app->is_vault_due = true;
        break;
    default:
        break;
    }
}

/* Reads from the link, at most READ_BYTES; whether there was anything. */
static bool serve_link(hk_app_t *app)
{
    uint8_t buffer[READ_BYTES];
    const uint8_t *bytes = buffer;
    size_t n = app->port->link_read(app->port->context, buffer, sizeof buffer);
    const bool is_busy = n > 0;
    hk_link_frame_t frame;
    while (hk_link_receive(&app->receiver, &bytes, &n, &frame)) {
        switch (frame.channel) {
        case HK_CHANNEL_CONTROL:
            handle_control(app, frame.payload, frame.length);
            break;
        case HK_CHANNEL_PCM:
            handle_pcm(app, frame.payload, frame.length);
            break;
        case HK_CHANNEL_MQTT:
            handle_mqtt(app, frame.payload, frame.length);
            break;
        default:
            report_error(app, HK_ERROR_UNKNOWN, "the device hears nothing on this channel");
        }
    }
    return is_busy;
}

/* --- The link: what the device says --- */

static bool send_control(hk_app_t *app, const hk_device_control_t *control)
{
    uint8_t payload[HK_CONTROL_MAX_BYTES];
    size_t length = 0;
    return hk_message_encode_device_control(control, payload, sizeof payload, &length) == 0
           && hk_link_send(&app->sender, HK_CHANNEL_CONTROL, payload, length) == 0;
}

/* One line for whoever reads the device's console; false while the link is full. */
static bool log_line(hk_app_t *app, const char *line)
{
    return hk_link_send(&app->sender, HK_CHANNEL_LOG, line, strlen(line)) == 0;
}

/* Tells whoever reads the console how the device stands with the cloud. */
static void log_session(hk_app_t *app)
{
    const hk_mqtt_state_t state = app->is_configured ? hk_mqtt_state(&app->uplink.mqtt) : HK_MQTT_CLOSED;
    const bool is_up = state == HK_MQTT_UP;
    if (is_up != app->is_up_said && log_line(app, is_up ? "the cloud is reached" : "the cloud is out of reach")) {
        app->is_up_said = is_up;
    }
}

static void say_hello(hk_app_t *app)
{
    hk_device_control_t control = {
        .kind = HK_DEVICE_HELLO,
        .u.hello = {
            .protocol = HK_LINK_PROTOCOL_VERSION,
            .max_payload = HK_LINK_PAYLOAD_MAX_BYTES,
            .board = app->port->board,
            .firmware = HK_FIRMWARE_VERSION,
        },
    };
    memcpy(control.u.hello.model_hash, hk_model_hash, HK_MODEL_HASH_BYTES);
    app->is_hello_due = !send_control(app, &control);
}

static void say_credit(hk_app_t *app, uint8_t channel, hk_link_credit_t *credit)
{
    uint64_t total;
    if (!hk_link_credit_is_due(credit, &total)) {
        return;
    }
    const hk_device_control_t control = {
        .kind = HK_DEVICE_CREDIT,
        .u.credit = {.channel = channel, .total = total},
    };
    if (send_control(app, &control)) {
        hk_link_credit_grant(credit, total);
    }
}

static void say_heard(hk_app_t *app)
{
    const uint8_t pending = app->is_configured ? hk_uplink_pending(&app->uplink) : 0;
    if (!app->is_heard_due && pending == app->said_pending) {
        return;
    }
    const hk_device_control_t control = {
        .kind = HK_DEVICE_HEARD,
        .u.heard = {.samples_heard = app->listener.samples_heard, .pending = pending},
    };
    if (send_control(app, &control)) {
        app->is_heard_due = false;
        app->said_pending = pending;
        app->steps_since_heard = 0;
    }
}

static void say_network(hk_app_t *app)
{
    if (!app->is_network_due) {
        return;
    }
    const hk_device_control_t control = {.kind = HK_DEVICE_NETWORK, .u.network = {.want_open = app->has_cloud}};
    app->is_network_due = !send_control(app, &control);
}

static bool say_event(hk_app_t *app, hk_device_control_t *control)
{
    if (control->u.event.event == HK_EVENT_ADDED) {
        const hk_head_t *head = hk_detector_head(&app->listener.detector, HK_EVENT_ADDED);
        if (head == NULL) {
            return true; /* its head has been replaced: nobody waits for it */
        }
        control->u.event.name = head->event_name;
    }
    return send_control(app, control);
}

static void say_events(hk_app_t *app)
{
    while (app->event_count > 0 && say_event(app, &app->events[0])) {
        app->event_count--;
        memmove(app->events, app->events + 1, app->event_count * sizeof app->events[0]);
    }
    if (app->events_unreported != app->events_unreported_said
        && log_line(app, "events were not reported on the link, which was full; the cloud gets them all the same")) {
        app->events_unreported_said = app->events_unreported;
    }
}

static void say_stats(hk_app_t *app)
{
    if (!app->is_stats_due) {
        return;
    }
    const hk_link_counters_t *counters = &app->receiver.counters;
    const hk_device_control_t control = {
        .kind = HK_DEVICE_STATS,
        .u.stats = {
            .samples_heard = app->listener.samples_heard,
            .triggers_made = app->triggers_made,
            .triggers_dropped = app->uplink.outbox.dropped,
            .clips_dropped = app->uplink.status.clips_dropped,
            .outbox_depth = hk_outbox_depth(&app->uplink.outbox),
            .frames_received = counters->frames_received,
            .frames_lost = counters->frames_lost,
            .crc_errors = counters->crc_errors,
            .oversize_frames = counters->oversize_frames,
            .garbage_bytes = counters->garbage_bytes,
        },
    };
    app->is_stats_due = !send_control(app, &control);
}

static void say_head(hk_app_t *app)
{
    if (!app->is_head_due) {
        return;
    }
    hk_device_control_t control = {.kind = HK_DEVICE_HEAD, .u.head = {.code = app->head_status, .event = ""}};
    hk_head_t head;
    if (app->head_status == 0 && hk_update_loaded_head(&app->update, &head)) {
        control.u.head.event = head.event_name;
        control.u.head.head_version = head.head_version;
    }
    app->is_head_due = !send_control(app, &control);
}

static void say_media(hk_app_t *app)
{
    if (!app->is_media_due) {
        return;
    }
    const hk_device_control_t control = {
        .kind = HK_DEVICE_MEDIA,
        .u.media = {
            .set_version = app->media_slot.set.version,
            .set_code = app->media_status,
            .dismissed = app->media_guard.dismissed,
        },
    };
    app->is_media_due = !send_control(app, &control);
    if (!app->is_media_due && app->media_status != 0) {
        (void)log_line(app, "the last set of known media was refused: the one before stays");
    }
}

static void log_vault(hk_app_t *app)
{
    const char *line = app->vault.state == HK_VAULT_DAMAGED
                           ? "what the device was provisioned with is half-written: run harken provision write"
                           : "one copy of what the device was provisioned with is half-written: the other one holds";
    if (app->is_vault_loss_due && log_line(app, line)) {
        app->is_vault_loss_due = false;
    }
}

static void say_vault(hk_app_t *app)
{
    hk_vault_record_t record;
    hk_device_control_t control;
    if (!app->is_vault_due) {
        return;
    }
    hk_vault_tell(&app->vault, app->vault_status, &record, &control);
    app->is_vault_due = !send_control(app, &control);
}

static void say_error(hk_app_t *app)
{
    if (app->error_due == 0) {
        return;
    }
    const hk_device_control_t control = {
        .kind = HK_DEVICE_ERROR,
        .u.error = {.code = (int16_t)app->error_due, .text = app->error_text},
    };
    if (send_control(app, &control)) {
        app->error_due = 0;
    }
}

static void say_outputs(hk_app_t *app)
{
    for (uint8_t i = 0; (app->outputs ^ app->outputs_said) >> i != 0; i++) {
        const uint8_t bit = (uint8_t)(1u << i);
        const bool is_on = (app->outputs & bit) != 0;
        const hk_device_control_t control = {.kind = HK_DEVICE_OUTPUT, .u.output = {.output = i, .is_on = is_on}};
        if (((app->outputs ^ app->outputs_said) & bit) != 0 && send_control(app, &control)) {
            app->outputs_said ^= bit;
        }
    }
    if (app->command_text != NULL && log_line(app, app->command_text)) {
        app->command_text = NULL;
    }
}

static void say_what_is_due(hk_app_t *app)
{
    if (app->is_hello_due) {
        say_hello(app);
    }
    say_error(app);
    if (!app->is_greeted || app->is_hello_due) {
        return; /* nothing else makes sense to the host before */
    }
    log_session(app);
    log_vault(app);
    if (app->malformed_said != app->uplink.malformed_messages
        && log_line(app, "a message from the cloud was not of the schema: it was ignored")) {
        app->malformed_said = app->uplink.malformed_messages;
    }
    say_credit(app, HK_CHANNEL_PCM, &app->pcm_credit);
    say_credit(app, HK_CHANNEL_MQTT, &app->mqtt_credit);
    say_network(app);
    say_events(app); /* before `heard`, so that whoever waits for the sound to be heard has its events by then */
    if (app->event_count == 0) {
        say_heard(app);
    }
    say_stats(app);
    say_head(app);
    say_media(app);
    say_outputs(app);
    say_vault(app);
}

/* Moves MQTT bytes into link frames as far as there is room; whether any moved. */
static bool serve_uplink(hk_app_t *app)
{
    if (!app->is_configured) {
        return false;
    }
    const uint32_t now_ms = app->port->clock_ms(app->port->context);
    if (hk_uplink_poll(&app->uplink, now_ms) != 0 && app->has_cloud) {
        report_error(app, HK_ERROR_TIMEOUT, "the broker does not answer: the session is opened again in 2 s");
        drop_session(app);
    }
    if (app->is_retry_waiting && now_ms - app->retry_since_ms >= RETRY_MS) {
        app->is_retry_waiting = false;
        app->has_cloud = true;
        app->is_network_due = true;
    }
    const uint8_t *bytes;
    const size_t n = hk_uplink_output(&app->uplink, &bytes);
    const size_t taken = n < HK_LINK_PAYLOAD_MAX_BYTES ? n : HK_LINK_PAYLOAD_MAX_BYTES;
    if (taken == 0 || hk_link_send(&app->sender, HK_CHANNEL_MQTT, bytes, taken) != 0) {
        return false;
    }
    hk_uplink_output_taken(&app->uplink, taken, now_ms);
    return true;
}

/* Hands the board what waits to go out; whether it took any. */
static bool flush(hk_app_t *app)
{
    const uint8_t *bytes;
    const size_t n = hk_link_output(&app->sender, &bytes);
    const size_t taken = n > 0 ? app->port->link_write(app->port->context, bytes, n) : 0;
    hk_link_output_taken(&app->sender, taken);
    return taken > 0;
}

static bool is_stopped(hk_app_t *app)
{
    if (!app->is_stopping) {
        return false;
    }
    const uint8_t *bytes;
    const bool is_late = app->port->clock_ms(app->port->context) - app->stopping_since_ms >= STOP_PATIENCE_MS;
    const bool is_said = (!app->is_configured || hk_uplink_is_stopped(&app->uplink)) && !app->is_heard_due
                         && hk_link_output(&app->sender, &bytes) == 0;
    return is_late || is_said;
}

int hk_app_init(hk_app_t *app, const hk_port_t *port)
{
    memset(app, 0, sizeof *app);
    app->port = port;
    hk_vault_open(&app->vault, port);
    hk_link_receiver_init(&app->receiver);
    hk_link_sender_init(&app->sender);
    const int status = hk_listener_init(&app->listener);
    if (status == 0) {
        hk_update_open(&app->update, port, &app->listener);
        use_key(app);
    }
    hk_media_slot_init(&app->media_slot, port, may_use_media, app);
    note_media_used(app);
    return status;
}

hk_app_state_t hk_app_poll(hk_app_t *app)
{
    bool is_busy = serve_link(app);
    serve_updates(app);
    is_busy |= listen_to_microphone(app);
    if (!is_busy && app->steps_since_heard > 0) {
        app->is_heard_due = true; /* the sound has stopped coming: say how far it was heard */
    }
    serve_outputs(app);
    say_what_is_due(app);
    is_busy |= serve_uplink(app);
    is_busy |= flush(app);
    if (is_stopped(app)) {
        return HK_APP_STOPPED;
    }
    return is_busy ? HK_APP_BUSY : HK_APP_IDLE;
}
