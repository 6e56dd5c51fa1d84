"""The confusion matrix as a picture whose bytes follow from its numbers alone."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

NUMBERS_UP_TO = 20
"""Labels beyond which the cells get too small for figures."""


def confusion_png(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> bytes:
    """Return a PNG: true labels down, predicted labels across, colour by the share of the true label's rows."""
    side = max(3.5, 0.6 * len(names) + 2.0)
    figure = Figure(figsize=(side, side), dpi=100, layout="constrained")
    axes = figure.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(names)), yticks=range(len(names)))
    axes.set_xticklabels(names, rotation=45, ha="right")
    axes.set_yticklabels(names)
    if len(names) <= NUMBERS_UP_TO:
        for i, row in enumerate(confusion):
            for j, count in enumerate(row):
                axes.text(j, i, str(count), ha="center", va="center", color="white" if shares[i][j] > 0.5 else "black")
    buffer = io.BytesIO()
    # The library's own name and version would otherwise be written into the file.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
