"""Lays two rows of int8 weights side by side in int16, as edge/core/include/hk_row_pairs.h multiplies them."""

import numpy as np
import numpy.typing as npt

BLOCK_COLUMNS = 16


def pair_rows(weights: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Return int64[rows / 2 rounded up, columns rounded up to whole blocks] of 256 * second + first.

    weights: int64[rows, columns] of int8 values. None where a second row's -128 does not leave room for the first's.
    """
    rows, columns = weights.shape
    padded = np.pad(weights, ((0, rows % 2), (0, -columns % BLOCK_COLUMNS)))
    pairs = np.asarray(256 * padded[1::2] + padded[::2])
    return pairs if pairs.min(initial=0) >= -(2**15) else None
