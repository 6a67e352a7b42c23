"""Bit error rates of pairs of fingerprints, as a PNG file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.errors import HarkenError

_COLOURS = ("tab:green", "tab:red")


def draw_bit_errors(pairs: Mapping[str, npt.NDArray[np.float64]], path: Path) -> None:
    """Draw histograms of bit error rates, float[n] each, by names "kind, bits": a panel for each sort of bits.

    Raises:
        HarkenError: matplotlib is missing, or the file cannot be written.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise HarkenError("pictures need matplotlib: pip install 'harken[train]'") from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = [tuple(name.split(", ")) for name in pairs]
    kinds, sorts = (list(dict.fromkeys(name[place] for name in names)) for place in (0, 1))
    figure, panels = plt.subplots(len(sorts), 1, sharex=True, figsize=(7, 2.4 * len(sorts)), layout="constrained")
    for panel, bits in zip(np.atleast_1d(panels), sorts, strict=True):
        for kind, colour in zip(kinds, _COLOURS, strict=True):
            panel.hist(pairs[f"{kind}, {bits}"], bins=np.linspace(0, 0.7, 71), color=colour, alpha=0.7, label=kind)
        panel.set_title(f"3 s, 10 dB: {bits}", fontsize=10)
        panel.set_ylabel("pairs")
        panel.legend(fontsize=8)
    np.atleast_1d(panels)[-1].set_xlabel("bit error rate")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise HarkenError(f"{path} cannot be written ({error.strerror}): name another file") from error
    finally:
        plt.close(figure)
