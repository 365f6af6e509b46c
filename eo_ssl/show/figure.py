"""The look of every figure in the book, and the one way to show a figure: with alt text."""

import base64
import html
import io
import os
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from eo_ssl.errors import ConfigError
from eo_ssl.files import atomic_path
from eo_ssl.show.words import minus

INK, FAINT, GRID = "#1f2933", "#5f6b7a", "#e3e7ec"
# After Paul Tol's "bright" scheme: distinct for colour-blind readers and in print.
PALETTE = ("#4477aa", "#cc6677", "#228833", "#ccaa22", "#aa3377", "#66aacc", "#777777")
# Fixed colours for things that recur in every chapter.
COLOURS = {
    "S1": "#aa3377",
    "S2": "#4477aa",
    "VV": "#aa3377",
    "VH": "#cc8899",
    "fused": "#228833",
    "chance": "#999999",
}
STYLE = {
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelcolor": FAINT,
    "axes.labelsize": 8.5,
    "axes.edgecolor": "#b8c0ca",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": "#b8c0ca",
    "ytick.color": "#b8c0ca",
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "image.interpolation": "nearest",
}
_DPI = 176  # sharp on high-density screens
_LARGE, _LOWER_DPI = 300_000, 144  # bytes: a larger picture is stored smaller, in 256 colours


def use_style() -> None:
    """Set the style of the book for all figures drawn from here on; importing `eo_ssl.show` calls it."""
    mpl.rcParams.update(STYLE)


class Picture:
    """A rendered figure: PNG bytes with alt text; shows itself as `<figure><img alt=…></figure>`."""

    def __init__(self, png: bytes, alt: str, width: int, caption: str = "") -> None:
        self.png, self.alt, self.width, self.caption = png, alt, width, caption

    def _repr_html_(self) -> str:
        source = base64.b64encode(self.png).decode()
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption>" if self.caption else ""
        return (
            f'<figure class="eo-figure" style="margin:1em 0"><img alt="{html.escape(self.alt, quote=True)}" '
            f'width="{self.width}" style="max-width:100%;height:auto" '
            f'src="data:image/png;base64,{source}">{caption}</figure>'
        )

    def __repr__(self) -> str:
        return f"[Figure: {self.alt}]"


def figure(fig: Figure, alt: str = "", caption: str = "", name: str = "") -> None:
    """Show a figure with alt text, close it, and keep a copy in the run's figure folder.

    `alt` says what a reader who cannot see the picture needs to know; plots of this package bring their
    own, made from the data (`describe`), which is used when `alt` is empty. With neither: `ConfigError`.
    `name` is the file name of the copy (default: made from the alt text); it goes to `$EO_SSL_FIGURES`.
    """
    alt = minus(" ".join((alt or getattr(fig, "eo_alt", "")).split()))
    if not alt:
        plt.close(fig)
        raise ConfigError('figure without alt text: call show.figure(fig, alt="what the picture shows")')
    from IPython.display import display

    picture = render(fig, alt, caption)
    save(picture, name)
    display(picture)


def render(fig: Figure, alt: str, caption: str = "") -> Picture:
    """Draw the figure into a `Picture` and close it."""
    dpi = _DPI
    png = _png(fig, dpi)
    if len(png) > _LARGE:
        dpi = _LOWER_DPI
        png = _fewer_colours(_png(fig, dpi))
    plt.close(fig)
    pixels = int.from_bytes(png[16:20], "big")  # the width field of the PNG header
    return Picture(png, alt, round(pixels / dpi * 96), caption)


def _png(fig: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    # No software version inside: the same figure gives the same bytes.
    options = {"metadata": {"Software": None}, "pil_kwargs": {"optimize": True}}
    fig.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.05, **options)
    return buffer.getvalue()


def _fewer_colours(png: bytes) -> bytes:
    """Photographs in 256 colours of their own, dithered: a third of the bytes, hardly a visible change."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        small = image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT)
    small.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save(picture: Picture, name: str = "") -> Path | None:
    """Write the PNG into the folder named by `EO_SSL_FIGURES`, if it is set."""
    folder = os.environ.get("EO_SSL_FIGURES")
    if not folder:
        return None
    stem = name or "-".join(re.findall(r"[a-z0-9]+", picture.alt.lower())[:8]) or "figure"
    target = Path(folder) / f"{stem}.png"
    with atomic_path(target) as path:
        path.write_bytes(picture.png)
    return target


def describe(fig: Figure, alt: str) -> Figure:
    """Attach alt text made from the data to a figure; `figure` uses it unless it is given another."""
    fig.eo_alt = alt  # type: ignore[attr-defined]
    return fig


def text(markdown: str) -> None:
    """Show a computed sentence: `text(f"It varies by **{cv:.0%}**.")`; -1.5 gets a true minus."""
    from IPython.display import Markdown, display

    display(Markdown(minus(markdown)))


def axes_grid(rows: int, columns: int, cell: float = 1.75, **options: Any) -> tuple[Figure, Any]:
    """A grid of bare axes for images, `cell` inches each; returns the figure and a 2-D array of axes."""
    width, height = columns * cell, rows * (cell + options.pop("extra", 0.22))
    fig, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)
    for ax in axes.flat:
        ax.set_axis_off()
    return fig, axes
