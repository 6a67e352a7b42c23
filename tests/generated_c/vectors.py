"""Inputs that compiled engines are compared on."""

import numpy as np
import numpy.typing as npt


def extremes(width: int) -> npt.NDArray[np.int8]:
    """Stretches of constant ends of the range, of alternation, steps between them: what saturates states."""
    rng = np.random.default_rng(5)
    low, high = np.full(width, -128, np.int8), np.full(width, 127, np.int8)
    stripes = np.where(np.arange(width) % 2 == 0, low, high).astype(np.int8)
    rows = [low] * 40 + [high] * 40 + [stripes, ~stripes] * 20 + [stripes] * 40
    rows += [np.zeros(width, np.int8)] * 10 + list(rng.choice(np.array([-128, 127], np.int8), (80, width)))
    return np.stack(rows)
