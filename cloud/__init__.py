"""From a trigger on MQTT to a verdict that a person sees."""
