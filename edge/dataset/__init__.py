"""Recordings and made sound: manifests, splits by original, mixtures, rooms, synthesis."""
