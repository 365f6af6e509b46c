"""Chapter 07: features side by side, planes, neighbours, retrieval; checks of its exercises."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.stats import binomtest
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from eo_ssl import show
from eo_ssl.course.checks import exercise, expect_close
from eo_ssl.course.recipes import Embeddings
from eo_ssl.evaluate.retrieval import retrieval
from eo_ssl.sensors import CLASSES, IGNORE, IGNORE_COLOUR, NUM_CLASSES

COLOURS = {"untrained": "#777777", "Dual-SimCLR": "#228833", "MMA": "#ccaa22"}  # as in the figures of results
COLOURS |= {"Dual-SimCLR, released": "#66ccee", "MMA, released": "#aa3377"}
NO_CLASS, WAYS = "no single class", ("s1_to_s2", "s2_to_s1")


def against_guessing(table: pd.DataFrame, number: int, k: int) -> str:
    """Recall@k from radar to optical of each method, with its 95% Wilson interval, beside that of guessing.

    `table` has a row for each method and one named "guessing", and a column `s1_to_s2_recall@k`; the `number` queries
    are taken as independent: where several come from one image the true interval is wider.
    """
    column = table[f"s1_to_s2_recall@{k}"]
    guess, said = float(column["guessing"]), []
    for method, recall in column.drop("guessing").items():
        found = binomtest(round(float(recall) * number), number).proportion_ci(method="wilson")
        side = show.settled((recall - guess, found.low - guess, found.high - guess))
        word = ("not to be told from guessing", "above guessing", "below guessing")[side]
        said.append(f"{method} {recall:.0%} ({found.low:.0%} to {found.high:.0%}), {word}")
    return f"guessing finds {guess:.0%} among the first {k}. {'; '.join(said)}."


def features(embedded: Embeddings) -> np.ndarray:
    """Features before the head of all sensors that the method has, side by side: (N, d) or (N, 2d)."""
    return torch.cat([h for h in (embedded.h1, embedded.h2) if h is not None], dim=1).numpy()


def vectors(z: Tensor) -> Tensor:
    """Embeddings (N, D), or maps (N, E, h, w) → (N, E·h·w), as vectors whose cosine is the similarity of the loss.

    Maps are normalised at every place first: the cosine is then the mean of those place by place, as in MMA.
    """
    return F.normalize(z, dim=1).flatten(1) if z.ndim == 4 else z


def standardised(values: np.ndarray) -> np.ndarray:
    """Each feature (N, D) with mean 0 and deviation 1; a constant one becomes 0."""
    return (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)


def layout(values: np.ndarray, seed: int = 0, neighbours: int = 15) -> np.ndarray:
    """UMAP of features (N, D) by cosine, each feature standardised first: (N, 2), scaled to [0, 1]."""
    import umap

    values, count = standardised(values), min(neighbours, len(values) - 1)
    # Of these few all distances are known at once; UMAP's own search would be compiled first, for seconds.
    distances, nearest = NearestNeighbors(n_neighbors=count, metric="cosine").fit(values).kneighbors(values)
    options = {"metric": "cosine", "random_state": seed, "n_jobs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on one thread with a seed: said in the text
        model = umap.UMAP(n_neighbors=count, precomputed_knn=(nearest, distances), **options)
        plane = model.fit_transform(values)
    low, high = plane.min(0), plane.max(0)
    return (plane - low) / np.maximum(high - low, 1e-9)


def class_group(codes: np.ndarray) -> dict[str, Any]:
    """Colours by class for planes and explorer; 255 becomes a ninth, white one."""
    codes = np.where(np.asarray(codes) == IGNORE, NUM_CLASSES, codes)
    return {"name": "class", "labels": [*(c.name for c in CLASSES), NO_CLASS],
            "colours": [*(c.colour for c in CLASSES), IGNORE_COLOUR], "codes": codes}  # fmt: skip


def place_group(names: Sequence[str]) -> dict[str, Any]:
    """Colours by region for the explorer, in the order of appearance; of more than twenty the rare ones share one."""
    regions = pd.Series(names)
    if regions.nunique() > 20:
        regions = regions.where(regions.isin(regions.value_counts().index[:19]), "other")
    codes, labels = pd.factorize(regions)
    colours = [to_hex(colour) for colour in plt.get_cmap("tab20").colors[: len(labels)]]
    return {"name": "region", "labels": [str(x) for x in labels], "colours": colours, "codes": codes}


def planes(
    layouts: Mapping[str, np.ndarray], group: Mapping[str, Any], marked: np.ndarray, kind: str
) -> Figure:
    """One plane (N, 2) for each encoder, coloured by group; the patches `marked` (N,) bool, of this kind, are triangles."""
    fig, axes = plt.subplots(2, -(-len(layouts) // 2), figsize=(7.6, 6.9), squeeze=False)
    colours = np.array(group["colours"])[np.asarray(group["codes"])]
    dot = {"s": 12, "edgecolors": "#888888", "linewidths": 0.4}
    triangle = {"s": 30, "edgecolors": "#1f2933", "linewidths": 0.6, "marker": "^"}
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (name, plane) in zip(axes.flat, layouts.items()):
        ax.scatter(*plane[~marked].T, c=colours[~marked], **dot)
        ax.scatter(*plane[marked].T, c=colours[marked], **triangle)
        ax.set_title(name)
    for code in np.unique(group["codes"]):
        axes[0, 0].scatter([], [], color=group["colours"][code], label=group["labels"][code], **dot)
    axes[0, 0].scatter([], [], color="white", label=f"{kind} pair", **triangle)
    fig.legend(loc="outside lower center", ncols=5)
    alt = f"{len(layouts)} UMAP planes ({', '.join(layouts)}) of {len(marked)} patches by {group['name']}; "
    return show.describe(fig, f"{alt}{int(marked.sum())} of them are {kind} pairs, drawn as triangles")


def neighbours(values: np.ndarray, scene: Sequence[str], k: int = 5) -> np.ndarray:
    """The k nearest items of other scenes by cosine of standardised features: (N, k) positions."""
    unit = F.normalize(torch.as_tensor(standardised(values)), dim=1)
    codes = torch.as_tensor(pd.factorize(pd.Series(scene))[0])
    similarity = (unit @ unit.T).masked_fill(codes[:, None] == codes[None, :], -torch.inf)  # (N, N)
    return similarity.topk(k, dim=1).indices.numpy()


def strangers(scene: Sequence[str], k: int, seed: int = 0) -> np.ndarray:
    """For each item k others of other scenes, drawn at random (with repetition where there are few): (N, k)."""
    codes, rng = pd.factorize(pd.Series(scene))[0], np.random.default_rng(seed)
    return np.stack([rng.choice(np.flatnonzero(codes != code), k) for code in codes])


def retrieval_table(embedded: Mapping[str, Embeddings], ks: Sequence[int]) -> pd.DataFrame:
    """Recall@k both ways, one row for each method with two sensors and one for guessing."""
    rows = {}
    for name, e in embedded.items():
        if e.z1 is not None and e.z2 is not None:
            found = retrieval(vectors(e.z1), vectors(e.z2), ks)
            rows[name] = {key: value for key, value in found.items() if "_to_" in key}
            guess = {f"{way}_recall@{k}": found[f"chance_recall@{k}"] for way in WAYS for k in ks}
    return pd.DataFrame({**rows, "guessing": guess}).T


def recall_curves(tables: Mapping[str, pd.DataFrame], ks: Sequence[int]) -> Figure:
    """Recall@k of radar → optical (solid) and back (dotted), a panel for each set of pairs, guessing in grey."""
    fig, axes = plt.subplots(1, len(tables), figsize=(4.3 * len(tables), 3.1), sharey=True, squeeze=False)
    for ax, (name, table) in zip(axes[0], tables.items()):
        curves, styles = {}, {}
        for way, back, line in zip(WAYS, ("", ", back"), "-:"):
            for method, row in table.drop(index="guessing" if back else []).iterrows():
                curves[f"{method}{back}"] = row[[f"{way}_recall@{k}" for k in ks]]
                if method != "guessing":
                    styles[f"{method}{back}"] = {"color": COLOURS[method], "ls": line}
        look = {"styles": styles, "percent": True, "log": "x", "title": name, "ylim": (0, 1.02)}
        show.lines(ks, curves, "k", "partner among the first k", ["guessing"], ax=ax, **look)
        handles, labels = ax.get_legend_handles_labels()
        outside = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0), "fontsize": 8}
        ax.legend(handles[: len(table)], labels[: len(table)], **outside).set_visible(ax is axes[0, -1])
    axes[0, -1].set_ylabel("")
    return fig


def _vote(similarity: Tensor, labels: Tensor, k: int) -> Tensor:
    """Majority among the k largest, ties by the class whose nearest member comes first; a plain loop."""
    out = []
    for row in similarity:
        nearest = labels[row.topk(k).indices].tolist()
        most = max(nearest.count(c) for c in nearest)
        out.append(next(c for c in nearest if nearest.count(c) == most))
    return torch.tensor(out)


@exercise("nearest neighbours", praise="No training at all: whatever this finds was in the features.")
def check_knn(knn: Callable) -> None:
    generator = torch.Generator().manual_seed(7)
    features, queries = torch.randn(60, 6, generator=generator), torch.randn(20, 6, generator=generator)
    features = features * torch.logspace(-1, 1, 60)[:, None]  # lengths differ: cosine, not dot product
    labels = torch.randint(0, 5, (60,), generator=generator)
    unit, asked = F.normalize(features, dim=1), F.normalize(queries, dim=1)
    for k in (1, 5):
        got = knn(features.clone(), labels.clone(), queries.clone(), k)
        mistakes = {
            "the vectors do not have length 1: long ones win a dot product": _vote(queries @ features.T, labels, k),
            "these are positions in the training set, not classes": (asked @ unit.T).argmax(1),
            "that is the Euclidean distance of vectors of different length; use the cosine":
                _vote(-torch.cdist(queries, features), labels, k),
            "only the first neighbour counts, whatever k is": _vote(asked @ unit.T, labels, 1),
            "a tie went to the smallest class number; it goes to the class whose nearest member comes first":
                F.one_hot(labels[(asked @ unit.T).topk(k).indices]).sum(1).argmax(1),
        }  # fmt: skip
        wanted = _vote(asked @ unit.T, labels, k)
        expect_close(got, wanted, f"the classes of 20 queries with k = {k}", mistakes=mistakes)


@exercise("Recall@k", praise="Always give it together with the number of candidates.")
def check_recall_at_k(recall_at_k: Callable) -> None:
    generator = torch.Generator().manual_seed(41)
    z1 = torch.randn(40, 8, generator=generator)
    z2 = (z1 + 1.5 * torch.randn(40, 8, generator=generator)) * torch.logspace(-1, 1, 40)[:, None]
    cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T
    for k in (5, 1):
        wanted = _recall(cosine, k)
        mistakes = {
            "off by one: up to k − 1 others may be more similar than the partner": _recall(cosine, k - 1),
            "off by one: with k others more similar the partner is number k + 1": _recall(cosine, k + 1),
            "these are dot products: divide each embedding by its length": _recall(z1 @ z2.T, k),
            "this is the other direction, from z2 to z1": _recall(cosine.T, k),
            "each row was compared with the partners of other rows: take diagonal()[:, None], a column":
                float(((cosine > cosine.diagonal()).sum(1) < k).float().mean()),
            "a share lies between 0 and 1: divide by the number of rows": 40 * wanted,
        }  # fmt: skip
        got = recall_at_k(z1.clone(), z2.clone(), k)
        expect_close(got, wanted, f"Recall@{k} of 40 pairs", mistakes=mistakes)


def _recall(similarity: Tensor, k: int) -> float:
    better = (similarity > similarity.diagonal()[:, None]).sum(1)
    return float((better < k).float().mean())
