/* The tracker's parameters for the events of the catalogue, as `edge/tracker.toml` has them; their definitions are generated.
 *
 * Thresholds here are those of a head that says nothing about itself; a head's blob brings its own, which the
 * application hands to hk_tracker_set_thresholds. */
#ifndef HK_TRACKER_PARAMS_H
#define HK_TRACKER_PARAMS_H

#include "hk_tracker.h"

/* In catalogue order. In flash; hk_tracker_init copies it. */
extern const hk_tracker_params_t hk_tracker_default_params;

/* Those of an event that the catalogue lacks: a sound that comes in bouts, reported armed or not. */
extern const hk_tracker_event_params_t hk_tracker_added_event_params;

#endif
