"""The look of every figure in the book, and the one way to show a figure: with alt text."""

import base64
import html
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from eo_ssl.errors import ConfigError
from eo_ssl.files import atomic_path
from eo_ssl.show.words import minus

INK, FAINT, GRID = "#1f2933", "#5f6b7a", "#e3e7ec"
# After Paul Tol's "bright" scheme: distinct for colour-blind readers and in print.
PALETTE = ("#4477aa", "#cc6677", "#228833", "#ccaa22", "#aa3377", "#66aacc", "#777777")
# Fixed colours for things that recur in every chapter.
COLOURS = {"S1": "#aa3377", "S2": "#4477aa", "VV": "#aa3377", "VH": "#cc8899"}
COLOURS |= {"fused": "#228833", "chance": "#999999"}
_DPI = 176  # sharp on high-density screens
_LARGE, _LOWER_DPI = 300_000, 144  # bytes: a larger picture is stored smaller, in 256 colours


# The style of the book, for all figures drawn once `eo_ssl.show` is imported.
mpl.rc("figure", dpi=100, **{"constrained_layout.use": True})
mpl.rc("font", family="DejaVu Sans", size=9)
mpl.rc("text", color=INK)
mpl.rc("axes", titlesize=9.5, titlelocation="left", labelcolor=FAINT, labelsize=8.5)
mpl.rc("axes", edgecolor="#b8c0ca", axisbelow=True, prop_cycle=mpl.cycler(color=PALETTE))
mpl.rc("axes.spines", top=False, right=False)
mpl.rc("grid", color=GRID)
mpl.rc(("xtick", "ytick"), color="#b8c0ca", labelcolor=FAINT, labelsize=8)
mpl.rc("legend", frameon=False, fontsize=8.5)
mpl.rc("lines", linewidth=1.8, solid_capstyle="round")
mpl.rc("image", interpolation="nearest")


@dataclass(repr=False)
class Picture:
    """A rendered figure: PNG bytes with alt text; shows itself as `<figure><img alt=…></figure>`."""

    png: bytes
    alt: str
    width: int  # in CSS pixels
    caption: str = ""

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


def figure(fig: Figure, alt: str = "", caption: str = "") -> None:
    """Show a figure with alt text, close it, and keep a copy in the folder named by `EO_SSL_FIGURES`, if it is set.

    `alt` says what a reader who cannot see the picture needs to know; plots of this package bring their
    own, made from the data (`describe`), which is used when `alt` is empty. With neither: `ConfigError`.
    """
    alt = minus(" ".join((alt or getattr(fig, "eo_alt", "")).split()))
    if not alt:
        plt.close(fig)
        raise ConfigError('figure without alt text: call show.figure(fig, alt="what the picture shows")')
    from IPython.display import display

    picture = render(fig, alt, caption)
    if folder := os.environ.get("EO_SSL_FIGURES"):
        stem = "-".join(re.findall(r"[a-z0-9]+", alt.lower())[:8]) or "figure"
        with atomic_path(Path(folder) / f"{stem}.png") as path:
            path.write_bytes(picture.png)
    display(picture)


def render(fig: Figure, alt: str, caption: str = "") -> Picture:
    """Draw the figure into a `Picture` and close it; a large one (photographs) in fewer pixels and 256 colours."""
    dpi, png = _DPI, _png(fig, _DPI)
    if png.tell() > _LARGE:  # a third of the bytes, hardly a visible change
        image = Image.open(_png(fig, _LOWER_DPI)).convert("RGB")
        dpi, png = _LOWER_DPI, io.BytesIO()
        image.quantize(256, method=Image.Quantize.MEDIANCUT).save(png, "PNG", optimize=True)
    plt.close(fig)
    pixels = int.from_bytes(png.getvalue()[16:20], "big")  # the width field of the PNG header
    return Picture(png.getvalue(), alt, round(pixels / dpi * 96), caption)


def _png(fig: Figure, dpi: int) -> io.BytesIO:
    buffer = io.BytesIO()
    # No software version inside: the same figure gives the same bytes.
    options = {"metadata": {"Software": None}, "pil_kwargs": {"optimize": True}}
    fig.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.05, **options)
    return buffer


def describe(fig: Figure, alt: str) -> Figure:
    """Attach alt text made from the data to a figure; `figure` uses it unless it is given another."""
    fig.eo_alt = alt  # type: ignore[attr-defined]
    return fig


def text(markdown: str) -> None:
    """Show a computed sentence: `text(f"It varies by **{cv:.0%}**.")`; -1.5 gets a true minus."""
    from IPython.display import Markdown, display

    display(Markdown(minus(markdown)))


def axes_grid(rows: int, columns: int, cell: float = 1.75, extra: float = 0.22) -> tuple[Figure, Any]:
    """Bare axes for images, `cell` inches each and `extra` a row for titles: the figure and a 2-D array of axes."""
    size = (columns * cell, rows * (cell + extra))
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    return fig, axes
