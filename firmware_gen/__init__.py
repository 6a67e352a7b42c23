"""From a model and a board to a firmware image."""
