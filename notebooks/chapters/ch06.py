"""Chapter 06: maps in colours, the search over offsets, cases to explore, scores by scene; checks of its exercises."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from eo_ssl import show
from eo_ssl.course.checks import exercise, expect, expect_close, numbers
from eo_ssl.evaluate.intervals import bootstrap_interval
from eo_ssl.losses import map_similarity

FEW = 6  # scenes: over fewer an interval promises more than it holds


def as_colours(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Feature maps (E, h, w) as pictures (h, w, 3): their three main directions, found together, as red, green, blue."""
    flat = normalize(np.concatenate([m.reshape(len(m), -1).T for m in maps]))  # (places, E)
    scores = PCA(3, svd_solver="full").fit_transform(flat)  # (places, 3)
    low, high = np.percentile(scores, [2, 98], axis=0)
    colours = np.clip((scores - low) / np.maximum(high - low, 1e-9), 0, 1)
    ends = np.cumsum([m[0].size for m in maps])[:-1]
    return [c.reshape(*m.shape[1:], -1) for c, m in zip(np.split(colours, ends), maps)]


def surfaces(values: Mapping[str, np.ndarray], truth: Mapping[str, tuple[int, int]]) -> Figure:
    """Mean cosine at every offset for several pairs; a ring marks the true offset (y, x), a cross the maximum."""
    ticks = [str(k) for k in range(len(next(iter(values.values()))))]
    fig = show.matrix(values, ticks, ticks, cmap="viridis", colourbar="mean cosine", cell=0.4)
    said = []
    for ax, (name, surface) in zip(fig.axes, values.items()):
        ax.tick_params(axis="x", rotation=0)
        y, x = np.unravel_index(surface.argmax(), surface.shape)
        ax.plot(x, y, marker="x", color="white", markersize=9, markeredgewidth=2.2)
        said.append(f"{name}: maximum {surface.max():.2f} at ({y}, {x})")
        if name in truth:
            y, x = truth[name]
            ax.plot(x, y, "o", color="none", markeredgecolor="#ff5533", markersize=17, markeredgewidth=2)
            said[-1] += f", true offset ({y}, {x})"
    return show.describe(fig, f"Mean cosine over all offsets. {'; '.join(said)}")


def by_group(values: np.ndarray, groups: Sequence[Any]) -> list[float]:
    """Mean of the values (N,) of each group, such as a scene, in the order in which the groups (N,) come."""
    return pd.Series(values).groupby(list(groups), sort=False).mean().tolist()


def by_scene(name: str, values: np.ndarray, scene: Sequence[Any]) -> dict[str, show.words.Score]:
    """Rows of a forest for values (N,): all, with the interval over scenes (N,); few scenes stand one by one instead."""
    each = by_group(values, scene)
    if len(each) >= FEW:
        return {name: bootstrap_interval(values, scene)}
    return {name: float(np.mean(values))} | {f"scene {k}": share for k, share in enumerate(each, 1)}


def by_scene_words(values: np.ndarray, scene: Sequence[Any]) -> str:
    """The same in words.

    >>> by_scene_words(np.array([0.0, 1.0, 1.0, 1.0]), [7, 7, 8, 8])
    '75% (by scene 50%, 100%)'
    """
    mean, *each = by_scene("", values, scene).values()
    return f"{mean:.0%} (by scene {', '.join(map('{:.0%}'.format, each))})" if each else show.percent(mean)


@exercise("map similarity", praise="Every place has one vote, however strong its features are.")
def check_map_cosine(map_cosine: Callable) -> None:
    generator = torch.Generator().manual_seed(6)
    a = torch.randn(4, 3, 5, generator=generator) * torch.rand(1, 3, 5, generator=generator) * 5
    b = a + torch.randn(4, 3, 5, generator=generator)
    places = (F.normalize(a, dim=0) * F.normalize(b, dim=0)).sum(0)
    mistakes = {
        "this is the cosine of the two flattened maps: strong places outvote weak ones. Normalise at each place":
            F.cosine_similarity(a.flatten(), b.flatten(), dim=0),
        "this is the cosine of the pooled vectors: the places are gone before they were compared":
            F.cosine_similarity(a.mean((1, 2)), b.mean((1, 2)), dim=0),
        "the features do not have length 1 at each place": (a * b).sum(0).mean(),
        "length 1 was taken along a row of the map, not over the channels (dimension 0)":
            (F.normalize(a, dim=1) * F.normalize(b, dim=1)).sum(0).mean(),
        "F.cosine_similarity compares along dimension 1 unless told otherwise; the channels are dimension 0":
            F.cosine_similarity(a, b, dim=1).mean(),
    }  # fmt: skip
    got = numbers(map_cosine(a.clone(), b.clone()))
    expect(got.ndim == 0, f"Return one number for two maps; the shape is {got.shape}.")
    expect_close(got, places.mean(), "the similarity of two maps (4, 3, 5)", rtol=1e-4, mistakes=mistakes)


@exercise("best offset", praise="This is the similarity that MMA puts into its softmax.")
def check_best_offset(best_offset: Callable) -> None:
    generator = torch.Generator().manual_seed(7)
    large = torch.randn(6, 7, 7, generator=generator)
    small = large[:, 3:7, 1:5] + 0.4 * torch.randn(6, 4, 4, generator=generator)
    answer = best_offset(large.clone(), small.clone())
    both = isinstance(answer, tuple | list) and len(answer) == 2
    expect(both, "Return two things: the largest similarity, and its offset (y, x).")
    value, place = answer
    two = "Return the similarity first, one number, and then its offset (y, x), two whole numbers."
    value, place = numbers(value), numbers(place)
    expect(value.shape == () and place.shape == (2,), two)
    windows = large.unfold(1, 4, 1).unfold(2, 4, 1).permute(1, 2, 0, 3, 4)  # (4, 4, E, 4, 4), one an offset
    surface = (F.normalize(windows, dim=2) * F.normalize(small, dim=0)).sum(2).mean((2, 3))  # (4, 4)
    flat = F.cosine_similarity(windows.flatten(2), small.flatten(), dim=2)
    mistakes = {
        "an offset is never tried, such as the last row: there are H − h + 1 of them": surface[:3, :3].max(),
        "this is the mean over the offsets; take the largest": surface.mean(),
        "the features do not have length 1 at each place": (windows * small).sum(2).mean((2, 3)).max(),
        "each part was normalised as a whole: strong places outvote weak ones. Normalise at each place": flat.max(),
    }
    wanted = map_similarity(large[None], small[None])[0, 0]
    expect_close(value, wanted, "the largest similarity", rtol=1e-4, mistakes=mistakes)
    place = tuple(int(p) for p in place)
    expect(place != (1, 3), "The offset is given as (x, y); give (y, x), rows first, as arrays are indexed.")
    expect(place == (3, 1), f"The crop was cut at offset (3, 1), but the function says {place}.")
    same, none = best_offset(large, large)
    expect_close(same, 1.0, "the similarity of a map with itself", rtol=1e-4)
    expect((numbers(none) == 0).all(), "Maps of equal size have one offset, (0, 0).")
