#include "hk_update.h"

#include <string.h>

#include "hk_catalogue.h"
#include "hk_error.h"
#include "hk_frontend_tables.h"
#include "hk_hmac_sha256.h"
#include "hk_media_set.h"
#include "hk_update_parts.h"

enum { MINUTE_SAMPLES = 60 * HK_SAMPLE_RATE_HZ };

_Static_assert(HK_UPDATES_TOLD_MAX >= HK_UPDATE_AREAS + 2, "one an area, one that waits, one that was refused");
_Static_assert(HK_NAME_MAX_CHARS + 1 == HK_HEAD_NAME_BYTES, "an event's name has one size");

/* --- Trials --- */

static void start_trial(hk_update_t *update, uint8_t area, const hk_update_envelope_t *envelope)
{
    const uint64_t now = update->listener->samples_heard;
    update->trial_area = area;
    update->trial_end_sample = now + (uint64_t)envelope->trial_seconds * HK_SAMPLE_RATE_HZ;
    update->minute_end_sample = now + MINUTE_SAMPLES;
    update->minute_triggers = 0;
}

static void use_all(hk_update_t *update)
{
    update->barred_areas = hk_update_use_all(&update->store, update->listener);
    update->is_changed = true;
}

static void roll_back(hk_update_t *update, uint8_t area, int code)
{
    (void)hk_update_store_roll_back(&update->store, area, code);
    update->trial_area = HK_UPDATE_NO_AREA;
    update->is_changed = true;
}

void hk_update_heard(hk_update_t *update)
{
    const uint64_t now = update->listener->samples_heard;
    if (update->trial_area == HK_UPDATE_NO_AREA) {
        return;
    }
    if (now >= update->trial_end_sample) {
        (void)hk_update_store_confirm(&update->store, update->trial_area);
        update->trial_area = HK_UPDATE_NO_AREA;
        update->is_changed = true;
    } else if (now >= update->minute_end_sample) {
        update->minute_end_sample = now + MINUTE_SAMPLES;
        update->minute_triggers = 0;
    }
}

void hk_update_triggered(hk_update_t *update, uint8_t event)
{
    hk_update_record_t held;
    if (update->trial_area == HK_UPDATE_NO_AREA || !hk_update_store_read(&update->store, update->trial_area, &held)) {
        return;
    }
    const hk_head_t *head = hk_detector_head(&update->listener->detector, event);
    const bool is_its_own = head != NULL && strcmp(head->event_name, held.envelope.event) == 0;
    if (held.envelope.part == HK_PART_HEAD && !is_its_own) {
        return;
    }
    update->minute_triggers++;
    if (update->minute_triggers > held.envelope.trial_triggers) {
        roll_back(update, update->trial_area, HK_ERROR_ABSURD);
        use_all(update);
    }
}

/* After a start: the first reset of a trial is noted, the second ends it. */
static void resume_trial(hk_update_t *update, uint8_t area)
{
    hk_update_record_t held;
    hk_update_record_t latest;
    if (!hk_update_store_read(&update->store, area, &held) || held.fate != HK_FATE_TRIAL
        || held.envelope.part == HK_PART_MEDIA
        || hk_update_store_latest(&update->store, held.envelope.part, held.envelope.event, &latest) != area) {
        return;
    }
    if (held.is_reset || hk_update_store_note_reset(&update->store, area) != 0) {
        roll_back(update, area, HK_ERROR_UNSTABLE);
    } else {
        start_trial(update, area, &held.envelope);
    }
}

/* --- What is refused --- */

static void refuse(hk_update_t *update, const uint8_t tag[HK_UPDATE_TAG_BYTES], const hk_update_envelope_t *envelope,
                   int code)
{
    memcpy(update->refused_tag, tag, sizeof update->refused_tag);
    update->refused_code = (int16_t)code;
    update->refused_version = envelope == NULL ? 0 : envelope->version;
    update->refused_part = envelope == NULL ? (uint8_t)HK_PART_HEAD : envelope->part;
    memset(update->refused_event, 0, sizeof update->refused_event);
    if (envelope != NULL) {
        memcpy(update->refused_event, envelope->event, sizeof update->refused_event - 1);
    }
    update->is_changed = true;
}

/* A broker gives what it retains with every connection. */
static bool is_known(const hk_update_t *update, const uint8_t tag[HK_UPDATE_TAG_BYTES])
{
    if (update->refused_code != 0 && memcmp(tag, update->refused_tag, HK_UPDATE_TAG_BYTES) == 0) {
        return true;
    }
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        hk_update_record_t held;
        if (hk_update_store_read(&update->store, area, &held)
            && memcmp(tag, held.envelope.bytes + HK_UPDATE_TAG_AT, HK_UPDATE_TAG_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

/* --- From piece to use --- */

void hk_update_take(hk_update_t *update, const hk_update_piece_t *piece)
{
    if (is_known(update, piece->tag)) {
        return;
    }
    const int status = update->has_key ? hk_update_store_take(&update->store, piece) : HK_ERROR_NO_KEY;
    if (status != 0) {
        refuse(update, piece->tag, NULL, status);
        if (status == HK_ERROR_BUSY) {
            memset(update->refused_tag, 0, sizeof update->refused_tag); /* it may come again */
        }
    } else if (update->store.is_whole) {
        update->is_changed = true;
    }
}

static int check(const hk_update_t *update, const hk_update_envelope_t *envelope)
{
    if (!update->has_key || update->device_id == NULL) {
        return HK_ERROR_NO_KEY;
    }
    const int status = hk_update_envelope_verify(envelope, update->key, update->device_id, hk_trunk_hash);
    if (status != 0) {
        return status;
    }
    if (envelope->version <= hk_update_store_version(&update->store, envelope->part, envelope->event)
        || envelope->version <= hk_update_store_floor(&update->store)) {
        return HK_ERROR_OLDER;
    }
    if (!hk_update_store_has_room_for(&update->store, envelope->part, envelope->event)) {
        return HK_ERROR_FULL;
    }
    return hk_update_check(envelope, update->listener);
}


static bool needs_trial(const hk_update_envelope_t *envelope)
{
    return envelope->part != HK_PART_MEDIA && envelope->payload_bytes > 0;
}

/* Whether it takes the place of the one on trial: what takes an update back must not wait for its end. */
static bool replaces_trial(const hk_update_t *update, const hk_update_envelope_t *envelope)
{
    hk_update_record_t held;
    return update->trial_area != HK_UPDATE_NO_AREA && hk_update_store_read(&update->store, update->trial_area, &held)
           && envelope->part == held.envelope.part && strcmp(envelope->event, held.envelope.event) == 0;
}

void hk_update_poll(hk_update_t *update)
{
    hk_update_store_t *store = &update->store;
    if (!store->is_whole) {
        return;
    }
    hk_update_envelope_t envelope;
    uint8_t tag[HK_UPDATE_TAG_BYTES];
    memcpy(tag, store->tag, sizeof tag);
    int status = hk_update_envelope_open(&envelope, hk_update_store_arrived(store), store->total);
    const bool is_open = status == 0;
    const bool is_instead = is_open && replaces_trial(update, &envelope);
    if (is_open && update->trial_area != HK_UPDATE_NO_AREA && needs_trial(&envelope) && !is_instead) {
        return;
    }
    if (is_open && memcmp(tag, envelope.bytes + HK_UPDATE_TAG_AT, sizeof tag) != 0) {
        status = HK_ERROR_PROTOCOL; /* pieces of one update that claim to be of another */
    }
    if (status == 0) {
        status = check(update, &envelope);
    }
    if (status != 0) {
        refuse(update, tag, is_open ? &envelope : NULL, status);
        hk_update_store_drop(store);
        return;
    }
    const bool is_on_trial = envelope.payload_bytes > 0;
    const uint8_t area = hk_update_store_commit(store, true, is_on_trial);
    if (area == HK_UPDATE_NO_AREA) {
        refuse(update, tag, &envelope, HK_ERROR_TRANSPORT);
        return;
    }
    update->refused_code = 0;
    if (is_instead) {
        roll_back(update, update->trial_area, HK_OK);
    }
    if (needs_trial(&envelope)) {
        start_trial(update, area, &envelope);
    }
    use_all(update);
}

/* --- Known media --- */

/* The area of the update that names a seal; HK_UPDATE_NO_AREA. */
static uint8_t find_seal(const hk_update_t *update, const uint8_t *seal, hk_update_record_t *held)
{
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        if (hk_update_store_read(&update->store, area, held) && held->envelope.part == HK_PART_MEDIA
            && held->envelope.payload_bytes == HK_MEDIA_SET_SEAL_BYTES
            && memcmp(held->envelope.payload, seal, HK_MEDIA_SET_SEAL_BYTES) == 0) {
            return area;
        }
    }
    return HK_UPDATE_NO_AREA;
}

bool hk_update_allows_media(const hk_update_t *update, const uint8_t *seal)
{
    hk_update_record_t held;
    return !update->has_key || find_seal(update, seal, &held) != HK_UPDATE_NO_AREA;
}

void hk_update_media_used(hk_update_t *update, const uint8_t *seal)
{
    hk_update_record_t held;
    const uint8_t area = find_seal(update, seal, &held);
    if (area != HK_UPDATE_NO_AREA && held.fate == HK_FATE_TRIAL) {
        (void)hk_update_store_confirm(&update->store, area);
        update->is_changed = true;
    }
}

/* --- By cable --- */

/* Gives what came its envelope and tries it; it does not count yet. */
static int check_cabled(hk_update_store_t *store, uint16_t total)
{
    const uint8_t *payload = hk_update_store_arrived(store) + HK_UPDATE_ENVELOPE_BYTES;
    const hk_update_envelope_t bare = {.payload = payload, .payload_bytes = total, .part = HK_PART_HEAD};
    const size_t blob_bytes = hk_update_envelope_blob_bytes(&bare);
    const size_t vectors = (total - blob_bytes) / (HK_ENGINE_OUTPUT_BYTES + 1u);
    uint8_t bytes[HK_UPDATE_ENVELOPE_BYTES];
    hk_head_t head;
    int status = hk_head_open(&head, payload, blob_bytes);
    if (status == 0) {
        hk_update_envelope_write_unsigned(bytes, &head, total, (uint8_t)vectors);
        status = hk_update_store_write(store, 0, bytes, sizeof bytes);
    }
    if (status != 0) {
        return status;
    }
    hk_update_envelope_t envelope;
    status = hk_update_envelope_open(&envelope, hk_update_store_arrived(store), store->total);
    return status == 0 ? hk_update_check_cabled(&envelope) : status;
}

int hk_update_load_head(hk_update_t *update, uint16_t offset, uint16_t total, const uint8_t *bytes, size_t n,
                        bool *is_whole)
{
    hk_update_store_t *store = &update->store;
    *is_whole = false;
    if (update->has_key) {
        return HK_ERROR_SIGNATURE;
    }
    if (total > HK_UPDATE_MAX_BYTES - HK_UPDATE_ENVELOPE_BYTES) {
        hk_update_store_drop(store);
        return HK_ERROR_TOO_LARGE;
    }
    if (offset == 0) {
        const int status = hk_update_store_begin(store, (uint16_t)(HK_UPDATE_ENVELOPE_BYTES + total));
        if (status != 0) {
            return status;
        }
        update->loaded_bytes = 0;
    }
    const bool is_next = store->area != HK_UPDATE_NO_AREA && offset == update->loaded_bytes
                         && store->total == HK_UPDATE_ENVELOPE_BYTES + total;
    if (!is_next || n == 0 || n > (size_t)(total - offset)) {
        hk_update_store_drop(store);
        return HK_ERROR_PROTOCOL;
    }
    int status = hk_update_store_write(store, (uint16_t)(HK_UPDATE_ENVELOPE_BYTES + offset), bytes, n);
    update->loaded_bytes = (uint16_t)(offset + n);
    if (status != 0 || update->loaded_bytes < total) {
        return status;
    }
    status = check_cabled(store, total);
    if (status != 0) {
        hk_update_store_drop(store);
        return status;
    }
    update->loaded_area = hk_update_store_commit(store, false, false);
    if (update->loaded_area == HK_UPDATE_NO_AREA) {
        return HK_ERROR_TRANSPORT;
    }
    status = hk_update_store_make_room(store);
    use_all(update);
    *is_whole = status == 0;
    return status;
}

bool hk_update_loaded_head(const hk_update_t *update, hk_head_t *head)
{
    hk_update_record_t held;
    return update->loaded_area != HK_UPDATE_NO_AREA && hk_update_store_read(&update->store, update->loaded_area, &held)
           && hk_head_open(head, held.envelope.payload, hk_update_envelope_blob_bytes(&held.envelope)) == 0;
}

/* --- Start, key, identity --- */

void hk_update_open(hk_update_t *update, const hk_port_t *port, hk_listener_t *listener)
{
    memset(update, 0, sizeof *update);
    hk_update_store_init(&update->store, port);
    update->listener = listener;
    update->trial_area = HK_UPDATE_NO_AREA;
    update->loaded_area = HK_UPDATE_NO_AREA;
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        resume_trial(update, area);
    }
    use_all(update);
}

void hk_update_set_key(hk_update_t *update, const uint8_t key[HK_UPDATE_KEY_BYTES])
{
    update->has_key = key != NULL;
    update->store.is_unsigned_barred = update->has_key;
    hk_wipe(update->key, sizeof update->key);
    if (update->has_key) {
        memcpy(update->key, key, sizeof update->key);
    }
    use_all(update);
}

void hk_update_set_identity(hk_update_t *update, const char *device_id)
{
    update->device_id = device_id;
    update->is_changed = true;
}

/* --- What is told --- */

static void tell(hk_installed_t *installed, const hk_update_envelope_t *envelope, uint8_t fate, int code)
{
    installed->updates[installed->count++] = (hk_update_told_t){
        .event = envelope->event,
        .version = envelope->version,
        .code = (int16_t)code,
        .part = envelope->part,
        .fate = fate,
    };
}

void hk_update_describe(const hk_update_t *update, hk_installed_t *installed)
{
    const hk_update_store_t *store = &update->store;
    memset(installed, 0, sizeof *installed);
    memcpy(installed->model_hash, hk_model_hash, sizeof installed->model_hash);
    installed->has_key = update->has_key;
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        hk_update_record_t held;
        hk_update_record_t latest;
        if (!hk_update_store_read(store, area, &held)) {
            continue;
        }
        const uint8_t part = held.envelope.part;
        const char *event = held.envelope.event;
        const bool is_barred = held.fate == HK_FATE_ROLLED_BACK
                               && held.envelope.version == hk_update_store_version(store, part, event);
        if (hk_update_envelope_check_trunk(&held.envelope, hk_trunk_hash) != 0) {
            tell(installed, &held.envelope, HK_FATE_REFUSED, HK_ERROR_MISMATCH); /* the firmware has changed */
        } else if ((update->barred_areas >> area & 1u) != 0) {
            tell(installed, &held.envelope, HK_FATE_REFUSED, HK_ERROR_UNSAFE);
        } else if (is_barred || hk_update_store_latest(store, part, event, &latest) == area) {
            tell(installed, &held.envelope, held.fate, held.code);
        }
    }
    hk_update_envelope_t waiting;
    if (store->is_whole && hk_update_envelope_open(&waiting, hk_update_store_arrived(store), store->total) == 0) {
        tell(installed, &waiting, HK_FATE_WAITING, 0);
    }
    if (update->refused_code != 0) {
        installed->updates[installed->count++] = (hk_update_told_t){
            .event = update->refused_event,
            .version = update->refused_version,
            .code = update->refused_code,
            .part = update->refused_part,
            .fate = HK_FATE_REFUSED,
        };
    }
}
