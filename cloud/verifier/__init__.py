"""The stronger model that judges a clip, and the processes it runs in."""
