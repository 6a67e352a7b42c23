"""Updates over the air: signing, pushing and rolling out heads, thresholds, media sets and settings."""
