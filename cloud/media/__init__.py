"""Sound that comes from a loudspeaker: what is known of it, and when it may explain an event away."""
