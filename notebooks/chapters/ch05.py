"""Chapter 05: ground that two patches share, agreement of two encoders, the path of a run; checks of its exercises."""

import inspect
from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown
from matplotlib.figure import Figure

from eo_ssl import show
from eo_ssl.course.checks import booleans, exercise, expect, expect_close, expect_shape, numbers
from eo_ssl.evaluate import retrieval as monitors
from eo_ssl.files import read_json


def source_of(*things: Any) -> Markdown:
    """The source of functions and classes as it stands in their file (`show.text` would set its minus signs)."""
    return Markdown("```python\n" + "\n\n".join(inspect.getsource(one).rstrip() for one in things) + "\n```")


def choices(path: Path) -> show.Table:
    """What head and number of places change, as `benchmarks/places_and_heads.py` has measured it."""
    found = read_json(path)
    rows = []
    for row in found["rows"]:
        head = "pooled, as published" if row["head_grid"] == 1 else "last map, 2 × 2"
        scores = f"{row['val_loss']:.2f}", f"{row['val_top1']:.0%}", f"{row['val_top5']:.0%}"
        rows.append((head, f"{row['scenes']}", f"{row['pairs']:,}", *scores))
    said = f"""{row["held_out"]} held-out pairs from {row["held_out_scenes"]} scenes; guessing costs {row["guessing"]:.2f}
    and has the partner among five for {row["val_chance_top5"]:.1%} of them. {found["epochs"]} epochs, one seed each;
    {found["date"]}."""
    top5 = {(row["head_grid"], row["scenes"]): row["val_top5"] for row in found["rows"]}
    gains = [show.signed(top5[2, n] - top5[1, n]) for n in sorted({scenes for _, scenes in top5})]
    said += f" The finer head changed the share among five by {' and '.join(gains)} points."
    heads = ("head", "scenes", "pairs", "held-out loss", "partner first", "among five")
    return show.Table(heads, tuple(rows), said)


def overlapping(first: np.ndarray, second: np.ndarray, shift: int) -> Figure:
    """Two patches (H, W, 3) of one scene, the second `shift` pixels to the right; the ground in both is framed."""
    fig = show.grid([first, second], ["anchor", "its “negative”"], cell=2.6)
    height, width = first.shape[:2]
    look = {"fill": False, "edgecolor": "#ffdd33", "linewidth": 2.5}
    for ax, left in zip(fig.axes, (shift, 0)):
        ax.add_patch(plt.Rectangle((left - 0.5, -0.5), width - shift, height, **look))
    share = 1 - shift / width
    return show.describe(
        fig, f"Two neighbouring patches; the framed ground, {share:.0%} of each, is the same"
    )


def agreement(cosine: np.ndarray, overlap: np.ndarray) -> tuple[float, float]:
    """Mean cosine of partners and of strangers, patches that share no ground (equal where there are no strangers).

    Shape: cosine (N, N), radar by optical; overlap (N, N) bool, True for different patches that share ground.
    """
    strangers = ~overlap & ~np.eye(len(cosine), dtype=bool)
    partners = float(np.diag(cosine).mean())
    return partners, float(cosine[strangers].mean()) if strangers.any() else partners


def matrices(tables: Mapping[str, np.ndarray], overlap: np.ndarray) -> Figure:
    """Cosines of every radar patch (row) with every optical patch (column), side by side; dots mark shared ground."""
    look = {"cmap": "RdBu_r", "xlabel": "Sentinel-2 patch", "ylabel": "Sentinel-1 patch"}
    fig = show.matrix(tables, span=(-1, 1), colourbar="cosine", cell=3.2 / len(overlap), **look)
    rows, columns = np.nonzero(overlap)
    said = []
    for ax, (name, table) in zip(fig.axes, tables.items()):
        ax.scatter(columns, rows, s=5, color="#1f2933", linewidth=0)
        partners, others = agreement(table, overlap)
        said.append(f"{name}: partners {partners:.2f}, strangers {others:.2f}")
    alt = f"Cosines of radar and optical patches, dots where they share ground; mean values {'; '.join(said)}"
    return show.describe(fig, alt)


def alignment_uniformity(history: pd.DataFrame) -> Figure:
    """The path of a run in the plane of alignment and uniformity, both better towards the lower left."""
    fig, ax = plt.subplots(figsize=(5.0, 3.3))
    x, y = history["val_uniformity"].to_numpy(), history["val_alignment"].to_numpy()
    ax.plot(x, y, color="#5f6b7a", linewidth=1)
    fig.colorbar(ax.scatter(x, y, c=history["epoch"], cmap="viridis", s=28, zorder=3), label="epoch")
    for name, at in (("first", 0), ("last", -1)):
        ax.annotate(name, (x[at], y[at]), (6, 4), textcoords="offset points", fontsize=8)
    ax.set(xlabel="uniformity (lower: more evenly spread)", ylabel="alignment (lower: partners closer)")
    ax.grid()
    ax.margins(0.12)
    alt = f"Alignment against uniformity over {len(x)} epochs: from alignment {y[0]:.2f}, uniformity {x[0]:.2f} to"
    return show.describe(fig, f"{alt} {y[-1]:.2f} and {x[-1]:.2f}")


# Six patches: 0 and 1 side by side, 2 diagonal to 0, 3 two steps away, 4 at the same grid place of another scene.
SIX = torch.tensor([[7, 7, 7, 7, 8, 7], [3, 3, 4, 3, 3, 9], [5, 6, 6, 7, 5, 5]])  # scene, row, column
PAIRS = ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))  # of these, those that share ground


@exercise("false negatives", praise="The mask removes the hardest negatives that were none.")
def check_false_negatives(false_negatives: Callable) -> None:
    got = booleans(false_negatives(*SIX.clone()), "The mask")
    expect_shape(got, (6, 6), "The mask of 6 patches")
    own = "A patch and itself are the positive pair, which must not be masked: the diagonal must be False."
    expect(not got.diagonal().any(), own)
    for j, shares, why in (
        (4, False, "have the same row and column, but in different scenes: not the same ground"),
        (1, True, "are one step apart in one scene: they share half of their ground"),
        (2, True, "are diagonal neighbours: they share a quarter of their ground"),
        (3, False, "are two steps apart, a whole patch: they only touch"),
        (5, False, "have the same column but are six rows apart: *both* differences must be below 2"),
    ):
        expect(bool(got[0, j]) == shares, f"Patches 0 and {j} {why}.")
    wrong = [pair for pair in permutations(range(6), 2) if got[pair] != (tuple(sorted(pair)) in PAIRS)]
    expect(not wrong, f"Some pairs are wrong, such as {wrong[:4]}.")


@exercise("uniformity", praise="A collapsed network scores 0, however well its partners agree.")
def check_uniformity(uniformity: Callable) -> None:
    generator = torch.Generator().manual_seed(5)
    z = 3 * torch.randn(7, 4, generator=generator) + 1
    unit = F.normalize(z, dim=1)
    squared = 2 - 2 * unit @ unit.T
    off = ~torch.eye(7, dtype=torch.bool)
    raw, raw_unit = torch.cdist(z, z).square(), torch.cdist(unit, unit)
    mistakes = {
        "the embeddings must have length 1 first": (-2 * raw[off]).exp().mean().log(),
        "each patch is compared with itself, too: leave the diagonal out": (-2 * squared).exp().mean().log(),
        "the factor 2 in the exponent is missing": (-squared[off]).exp().mean().log(),
        "the exponent holds the squared distance, not the distance": (-2 * raw_unit[off]).exp().mean().log(),
        "the logarithm is missing": (-2 * squared[off]).exp().mean(),
    }  # fmt: skip
    got = numbers(uniformity(z.clone()))
    expect(got.ndim == 0, "Return one number.")
    expect_close(got, monitors.uniformity(unit), "the uniformity of 7 embeddings", mistakes=mistakes)
