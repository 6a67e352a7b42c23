"""The way in: MQTT messages from devices, and the answers to them."""
