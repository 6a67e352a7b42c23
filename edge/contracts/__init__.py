"""What devices and cloud say to each other: messages, topics, limits and errors, each from one source."""
