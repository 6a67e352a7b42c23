/* What updates change: whether one may take effect, and the listener as all of them make it.
 *
 * No update may make a safety event harder to hear than its owner could:
 *  - a head is tried on the self-test's vectors, and for a safety event at least HK_UPDATE_WITNESSES of them have to be such
 *    that the head of the image fires at normal sensitivity; wherever that one fires, at any sensitivity, the new one must.
 *    So it is with a head by cable too;
 *  - thresholds of a safety event stay at or under what its head in use asks for at low sensitivity;
 *  - settings may make a safety event come sooner and more often, never later or more seldom.
 * Whether an event is on, and how sensitive, remains its owner's choice, which no update touches. */
#ifndef HK_UPDATE_PARTS_H
#define HK_UPDATE_PARTS_H

#include "hk_listener.h"
#include "hk_update_store.h"

#define HK_UPDATE_WITNESSES 2u

/* Whether an update that is signed may take effect with what is in use now.
 * HK_ERROR_FORMAT: the payload is not as hk_update_envelope.h says. HK_ERROR_UNKNOWN: it names an event that the device lacks.
 * HK_ERROR_SELF_TEST: the scores are not those promised. HK_ERROR_UNSAFE. And errors of hk_head_open and
 * hk_head_check_trunk. Takes about 1,300 bytes of stack. */
int hk_update_check(const hk_update_envelope_t *envelope, const hk_listener_t *listener);

/* Whether a head that came by cable, unsigned, may be used: as over the air, but that only a safety event's needs vectors.
 * Returns, and takes, as hk_update_check. */
int hk_update_check_cabled(const hk_update_envelope_t *envelope);

/* Makes the listener what the image and the latest updates make of it. An update that does not go with the image (after
 * a change of firmware) is passed over, and so is a head by cable that may not be used with it:
 * returns a bit for the area of each of the latter. Takes about 1,600 bytes of stack. */
uint8_t hk_update_use_all(const hk_update_store_t *store, hk_listener_t *listener);

#endif
