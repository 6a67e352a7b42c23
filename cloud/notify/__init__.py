"""Telling people: the port, and the adapters behind it."""
