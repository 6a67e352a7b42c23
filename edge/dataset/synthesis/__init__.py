"""Sounds made from their physics and their standards, where recordings are few or none.

Every function takes a ``numpy.random.Generator`` and is determined by its state and the arguments: the same
seed gives the same samples. Audio is float32 at 16 kHz, mono, with a peak of at most 1.
"""
