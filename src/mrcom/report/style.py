"""How every figure looks. Matplotlib is imported when the first one is drawn."""

import contextlib
import pathlib
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from mrcom.core.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE, GREY = (
    "#1a1a1a", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#8c8c8c",
)  # fmt: skip

COLOURS = {"random": GREY, "expert": BLACK, "behaviour": ORANGE, "adapted": BLUE, "sac": RED}
"""Of methods; others take those that are left."""
SPARE = (GREEN, PURPLE, SKY)
LINES = (BLUE, RED, GREEN, ORANGE, PURPLE, BLACK, SKY, GREY, "#7a5195", "#8c6d31", "#2f4b7c")
"""Of curves that share a plot."""

_STYLE: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 130,
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}


def colour_of(method: str, number: int = 0) -> str:
    """The colour of a method, the same in every figure."""
    return COLOURS.get(method, SPARE[number % len(SPARE)])


@contextlib.contextmanager
def drawing(path: pathlib.Path, **sizes: Any) -> Generator["Figure"]:
    """An empty figure, written to `path` as PNG when the block ends.

    Neither pyplot nor a window is used, and no global setting of matplotlib changes.

    Raises:
        RunFolderError: the file cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(**sizes)
        FigureCanvasAgg(figure)
        yield figure
        write_whole(path, lambda file: figure.savefig(file, format="png"))
