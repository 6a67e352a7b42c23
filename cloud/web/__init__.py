"""The pages: history, event, devices, media."""
