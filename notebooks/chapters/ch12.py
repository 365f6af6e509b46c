"""Chapter 12: three losses of a pair, views within a sensor, and probes for what each sensor alone can see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from eo_ssl import show
from eo_ssl.course.checks import exercise, expect, expect_close, numbers
from eo_ssl.data.dataset import Loader, PatchDataset
from eo_ssl.data.transforms import Compose, Flip, Normalise, Rotate90
from eo_ssl.dual_simclr import DualSimCLR, SameGround, embed, examine
from eo_ssl.errors import ConfigError
from eo_ssl.evaluate.intervals import Interval, hierarchical_interval
from eo_ssl.losses import barlow_loss, nt_xent, siglip_loss
from eo_ssl.losses.barlow import cross_correlation
from eo_ssl.models.dual import DualEncoder
from eo_ssl.parallel import cores, executor, unordered
from eo_ssl.sensors import DN_PER_REFLECTANCE
from eo_ssl.show.words import Score
from eo_ssl.simulate.landscape import CROP, FOREST, URBAN, WATER, crop_stage, make_landscape
from eo_ssl.simulate.optical import optical, tint
from eo_ssl.simulate.radar import radar
from eo_ssl.simulate.world import SceneSpec, plan, profile_named
from eo_ssl.train.loop import make_optimizer, set_learning_rate
from eo_ssl.train.methods import make_method
from eo_ssl.train.step import seeded

TEMPERATURE = 0.1
TURN = Compose([Flip(), Rotate90()])  # both sensors alike
LOSSES = ("NT-Xent", "sigmoid", "Barlow Twins")
TERMS = ("cross", "cross + intra")
# What the probes ask for, and who can see it.
FACTORS = {
    "soil moisture": "only radar", "incidence angle": "only radar",
    "haze": "only light", "tint of the parcels": "only light",
    "forest": "both", "built-up": "both", "growth of crops": "both",
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A loss, and the pairs it is given: two sensors ("cross"), two views of one ("intra"), or both."""

    loss: str = "NT-Xent"
    terms: str = "cross"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES or self.terms not in (*TERMS, "intra"):
            losses = ", ".join(LOSSES)
            raise ConfigError(f"{self.name}: the losses are {losses}; the terms cross, intra, or both")

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return f"{self.loss}, {self.terms}"


VARIANTS = tuple(Variant(loss, terms) for loss in LOSSES for terms in TERMS)
ALONE = Variant("NT-Xent", "intra")  # the sensors never meet: what alignment is compared with


class PairLoss(nn.Module):
    """One of the three losses between two batches of embeddings, z and w (N, D); sigmoid's scale and bias learn.

    `same` (N, N) is True where two patches share ground: no negatives (chapter 05). Barlow Twins has none anyway.
    """

    def __init__(self, loss: str) -> None:
        super().__init__()
        self.loss = loss
        if loss == "sigmoid":
            self.log_scale = nn.Parameter(torch.tensor(1 / TEMPERATURE).log())
            self.bias = nn.Parameter(torch.tensor(-10.0))

    def forward(self, z: Tensor, w: Tensor, same: Tensor) -> Tensor:
        if self.loss == "NT-Xent":
            return nt_xent(z, w, TEMPERATURE, same)
        if self.loss == "sigmoid":
            return siglip_loss(z, w, (-self.log_scale).exp(), same, self.bias)
        return barlow_loss(z, w) / z.shape[1]  # a mean over dimensions, as large as the others


def objective(loss: PairLoss, terms: str, views: Sequence[tuple[Tensor, Tensor]], same: Tensor) -> Tensor:
    """The loss across the sensors in every view, and within each sensor between the views: (z1, z2) of each view."""
    total = []
    if "cross" in terms:
        total.append(torch.stack([loss(z1, z2, same) for z1, z2 in views]).mean())
    if "intra" in terms:
        (z1, z2), (w1, w2) = views
        total.append((loss(z1, w1, same) + loss(z2, w2, same)) / 2)
    return torch.stack(total).sum()


def train(
    variant: Variant, source: Any, config: Any, epochs: int, lr: float, seed: int
) -> tuple[DualEncoder, dict[str, float]]:
    """Train one variant; returns its encoders with their last weights, and what held-out pairs say.

    A second view costs a second pass: with it half as many epochs are made, so that every variant encodes as many
    images. The views are two random windows of a patch, the second mirrored and turned.
    """
    with seeded(seed):
        model, loss = DualSimCLR(config.backbone, config.image_size), PairLoss(variant.loss)
    count, size, statistics = 1 + ("intra" in variant.terms), config.image_size, source.stats("pretrain")
    epochs = max(1, epochs // count)
    config = config.with_(epochs=epochs, warmup_epochs=epochs / 10, lr=lr)
    views = []
    for k in range(count):
        about = {"seed": seed + 100 * k, "statistics": statistics}
        patches = PatchDataset(source, source.rows("pretrain"), size, "random", **about)
        views.append(Loader(patches, config.batch_size, shuffle=True, drop_last=True, seed=seed))
    same_ground, rng = SameGround(source.catalog), torch.Generator().manual_seed(seed)
    both = nn.ModuleList([model, loss])
    optimizer, updates = make_optimizer(config, both), len(views[0])
    for epoch in range(epochs):
        model.train()
        for view in views:
            view.set_epoch(epoch)
        for i, batches in enumerate(zip(*views)):
            batches = [batches[0], *(TURN(batch, rng) for batch in batches[1:])]
            z1, z2, index = zip(*(embed(model, batch) for batch in batches))
            objective(loss, variant.terms, [*zip(z1, z2)], same_ground(index[0])).backward()
            nn.utils.clip_grad_norm_(both.parameters(), max_norm=1.0)
            set_learning_rate(optimizer, config, epoch * updates + i, updates)
            optimizer.step()
            optimizer.zero_grad()
    others = PatchDataset(source, source.rows("pretrain_val")[:1024], size, "centre", statistics=statistics)
    found = examine(model, Loader(others, 128, shuffle=False), same_ground, TEMPERATURE)
    return DualEncoder(model.encoder["s1"], model.encoder["s2"]), found


def untrained(config: Any) -> DualEncoder:
    """Encoders of a pretraining before its first update."""
    with seeded(config.seed):
        return make_method(config).model.encoder


@torch.no_grad()
def features(encoders: nn.Module, images: dict[str, Tensor]) -> np.ndarray:
    """Pooled features of both sensors for standardised images: (P, bands, H, W) each → (P, 2 · dim)."""
    encoders.eval()
    parts = zip(images["s1"].split(128), images["s2"].split(128))
    return torch.cat([encoders({"s1": s1, "s2": s2}) for s1, s2 in parts]).numpy()


# Probes


def _patches(task: tuple[SceneSpec, int]) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """The four corners of a scene: centre crops of both sensors, and what was drawn for them."""
    spec, side = task
    land, drawn = make_landscape(spec), {}
    s1, s2 = radar(land, drawn), optical(land, drawn)
    stage, colour = crop_stage(land, land.parcels.label), tint(land)
    start = (spec.padded - spec.size + spec.patch - side) // 2
    end, rows, crops = start + spec.size - spec.patch, [], []
    for y, x in product((start, end), repeat=2):
        here = np.s_[y : y + side, x : x + side]
        cover = land.cover[here]
        crop, dry = cover == CROP, cover != WATER
        rows.append({
            **drawn,
            "tint of the parcels": colour[here][dry].mean() if dry.mean() > 0.2 else np.nan,
            "forest": (cover == FOREST).mean(), "built-up": (cover == URBAN).mean(),
            "growth of crops": stage[here][crop].mean() if crop.mean() > 0.1 else np.nan,
        })  # fmt: skip
        crops.append((s1[:, *here], s2[:, *here] / np.float32(DN_PER_REFLECTANCE)))
    first, second = (np.stack(part).astype(np.float32) for part in zip(*crops))
    return first, second, pd.DataFrame(rows)[list(FACTORS)]


def unseen_places(source: Any, side: int, scenes: int) -> tuple[dict[str, Tensor], pd.DataFrame]:
    """Four patches each of simulated scenes that come after those of which `source` has pretraining patches.

    Images, standardised, (P, bands, H, W) of each sensor, and a table with a row for each: `FACTORS`, scene and corner.
    """
    known = int(source.catalog.loc[source.catalog["split"] == "pretrain", "scene"].nunique())
    # Of real scenes there may be more than are planned; none of them is one of these.
    after = min(known, profile_named("many").scenes[0] - scenes)
    tasks = [(spec, side) for spec in plan("many", 0)[after : after + scenes]]
    # A few scenes take less time than the start of a second process.
    with executor(min(cores(), -(-scenes // 10))) as pool:
        made = {task[0].number: future.result() for task, future in unordered(_patches, tasks, pool)}
    s1, s2, factors = zip(*(made[number] for number in sorted(made)))
    images = {"s1": torch.from_numpy(np.concatenate(s1)), "s2": torch.from_numpy(np.concatenate(s2))}
    places = pd.concat(factors, keys=range(scenes)).reset_index(names=["scene", "corner"])
    return Normalise(source.stats("pretrain"))(images), places


def probe(known: np.ndarray, places: pd.DataFrame, factor: str) -> np.ndarray:
    """Squared errors of a linear probe and squares of the factor around its mean, per patch: (P, D) → (P, 2).

    Ridge regression, a linear map whose weights are kept small, in five folds of whole scenes: no patch is predicted by
    a probe that has seen its scene. Patches without the factor count nothing.
    """
    truth, scene = places[factor].to_numpy(float), places["scene"].to_numpy()
    there = np.isfinite(truth)
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(1, 6, 11)))
    guess = cross_val_predict(model, known[there], truth[there], groups=scene[there], cv=GroupKFold(5))
    squares = np.zeros((len(truth), 2))
    squares[there] = np.stack([(guess - truth[there]) ** 2, (truth[there] - truth[there].mean()) ** 2], 1)
    return squares


def r_squared(squares: np.ndarray) -> np.ndarray:
    """R² = 1 − Σ squared errors / Σ squares around the mean. Shape: (..., 2) → (...)."""
    with np.errstate(invalid="ignore"):  # where nothing varies: NaN
        return 1 - squares[..., 0] / squares[..., 1]


# What was measured, as the page shows it


def probed(encoders: nn.Module, images: dict[str, Tensor], places: pd.DataFrame) -> dict[str, Interval]:
    """R² of every factor in the features of encoders of one seed, with its 95% interval over scenes."""
    known, scores = features(encoders, images), {}
    for factor in FACTORS:
        squares = probe(known, places, factor)[None]  # (1, P, 2)
        scores[factor] = hierarchical_interval(squares, places["scene"].to_numpy(), r_squared)
    return scores


def answers(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
    """How alike a softmax over a row and a sigmoid find radar patch i and optical patch j: z1, z2 (N, D) → (N, N)."""
    cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T
    return {
        "NT-Xent: shares of a row": (cosine / TEMPERATURE).softmax(1),
        "sigmoid (t = 10, b = −5): each alone": torch.sigmoid(10 * cosine - 5),
    }


def questions(z1: Tensor, z2: Tensor, part: slice) -> Figure:
    """What each loss sees of pairs, z1, z2 (N, D): three tables side by side, two of them of a `part` of the pairs."""
    tables = {**answers(z1[part], z2[part]), "Barlow Twins: dimensions": cross_correlation(z1, z2).abs()}
    fig, axes = plt.subplots(1, 3, figsize=(9.0, 3.2))
    for ax, kind, (name, table) in zip(axes, ("patch", "patch", "dimension"), tables.items()):
        look = {"xlabel": f"{kind}, light", "ylabel": f"{kind}, radar"}
        show.matrix({name: table.numpy()}, ax=ax, span=(0, 1), **look)
    share = {name: float(table.diagonal().mean() / table.mean()) for name, table in tables.items()}
    said = f"Mean of the diagonal over the mean of all cells: {show.listed(share, '{:.1f}')}"
    return show.describe(fig, f"Three tables of one batch. {said}.")


def comparison(found: dict[str, Any]) -> show.Table:
    """Retrieval and accuracy of every variant, with the difference from NT-Xent between sensors alone."""
    rows = []
    for one in found["variants"]:
        gap = one.get("gap")
        beside = f"{show.signed(gap[0])} ({show.signed(gap[1])} to {show.signed(gap[2])})" if gap else "–"
        top5 = " ".join(f"{100 * value:.0f}" for value in one["top5"]) or "–"
        rate = f"{one['lr']:g}" if one["lr"] else "–"
        rows.append((one["name"], rate, top5, show.percent(tuple(one["aa"])), beside))
    head = ("Variant", "rate", "partner among five, %", "average accuracy", "against the first, points")
    scenes = profile_named(found["profile"]).held_out[0]
    note = f"""Retrieval: each of {found["seeds"]} seeds, held-out pairs of {scenes} scenes only: small gaps say nothing.
Accuracy: land cover by logistic regression on frozen features, all labels, 95% intervals over seeds and places.
{found["epochs"]} epochs, profile {found["profile"]}, {found["date"]}."""
    return show.Table(head, tuple(rows), note)


def verdict(found: dict[str, Any]) -> str:
    """Which variants differ clearly from NT-Xent between the sensors."""
    first, *others = found["variants"]
    clear = [one for one in others if show.settled(one["gap"])]
    said = "; ".join(f"{one['name']} ({show.signed(one['gap'][0])} points)" for one in clear)
    told = f"these differ clearly: {said}" if said else "no variant differs clearly"
    return f"From {first['name']} ({first['aa'][0]:.0%}), by average accuracy, {told}."


def probes(scores: dict[str, dict[str, Score]]) -> Figure:
    """R² of the probes for each factor, a mark for each kind of encoder, with 95% intervals."""
    rows = {}
    for factor, who in FACTORS.items():
        rows[f"{factor} ({who})"] = {kind: each[factor] for kind, each in scores.items()}
    look = {"colours": {"untrained": "#999999"}, "guides": {"guessing the mean": 0}, "xlim": (-0.1, 1.0)}
    return show.forest(rows, "R² of a linear probe, unseen scenes", unit="", **look)


def lost(found: dict[str, Any]) -> str:
    """What alignment did to each factor: R² after it minus R² after training each sensor alone."""
    told = {
        -1: "**Less** than after training each sensor alone is known of",
        1: "**More** is known of",
        0: "No clear difference for",
        None: "After neither can a linear probe read",  # below zero there is no more or less
    }
    words: dict[int | None, list[str]] = {kind: [] for kind in told}
    for factor, who in FACTORS.items():
        value, low, high = found["lost"][factor]
        read = any(found["probes"][kind][factor][1] > 0 for kind in ("aligned", "each sensor alone"))
        kind = show.settled((value, low, high)) if read else None
        words[kind].append(f"{factor} ({who}; {value:+.2f}, {low:+.2f} to {high:+.2f})")
    said = ". ".join(f"{told[kind]} {'; '.join(names)}" for kind, names in words.items() if names)
    return f"{said}. (Differences of R² with 95% intervals over seeds and scenes.)"


# Exercises


@exercise("sigmoid loss", praise="Each pair was a question of its own, and no softmax tied them together.")
def check_sigmoid(sigmoid_loss: Callable[[Tensor, Tensor, float, float], Tensor]) -> None:
    """The loss of the package on five pairs, and on embeddings that are sure of themselves."""
    n, scale, bias, rng = 5, 3.0, -2.0, torch.Generator().manual_seed(0)
    z1, z2 = (torch.randn(n, 6, generator=rng) for _ in range(2))
    cosine, y = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T, 2 * torch.eye(n) - 1

    def cost(logits: Tensor) -> Tensor:
        return -F.logsigmoid(logits).sum() / n

    wanted, partners = siglip_loss(z1, z2, 1 / scale, bias=bias), (scale * cosine + bias).diagonal()
    mistakes = {
        "divide the sum over the N² pairs by N, not by N²": wanted / n,
        "divide the sum over the N² pairs by N": wanted * n,
        "the minus sign before the sum is missing": -wanted,
        "the embeddings must have length 1 first": cost(y * (scale * z1 @ z2.T + bias)),
        "all N² pairs count, not the partners alone": cost(partners),
        "y is −1 for two different places, and not 1": cost(scale * cosine + bias),
        "y stands before the whole bracket: it turns the bias, too": cost(y * scale * cosine + bias),
        "add the bias; here it was subtracted": cost(y * (scale * cosine - bias)),
        "multiply the cosine by the scale; here it was divided": cost(y * (cosine / scale + bias)),
    }
    got = numbers(sigmoid_loss(z1, z2, scale, bias), "the loss")
    expect(got.ndim == 0, "Return one number: the sum over all pairs, divided by N.")
    expect_close(got, wanted, "the loss of 5 pairs at scale 3 and bias −2", mistakes=mistakes)
    far = torch.eye(4)
    why = "the sigmoid of −200 is 0 to the computer, and its logarithm −∞: F.logsigmoid is safe"
    got, wanted = sigmoid_loss(far, -far, 200.0, 0.0), siglip_loss(far, -far, 1 / 200, bias=0.0)
    expect_close(got, wanted, "the loss of 4 pairs at scale 200", mistakes={why: torch.inf})


@exercise("common and unique", praise="The two sensors agree in the first dimensions; the others are theirs.")
def check_decur(decur_loss: Callable[[Tensor, int], Tensor]) -> None:
    """The loss of DeCUR on the cross-correlation of both sensors."""
    rng, dim, common = torch.Generator().manual_seed(7), 7, 3
    shared = torch.randn(32, 1, generator=rng)  # makes redundant dimensions, which have to cost something
    z1, z2 = (shared + 0.3 * torch.randn(32, dim, generator=rng) for _ in range(2))
    c, part, weight = cross_correlation(z1, z2), torch.arange(dim) < common, 0.005
    off, inside = c.square().fill_diagonal_(0), part[:, None] == part  # (D, D) each
    missing = (c.diagonal() - part.float()).square()  # (D,)
    ones, redundant = (c.diagonal() - 1).square().sum(), (off * inside).sum()
    block, whole = off[:common, :common].sum(), (c.square() * inside).sum()
    mistakes = {
        "this is Barlow Twins: all dimensions in common": ones + weight * off.sum(),
        "beyond the first K, C_aa should be 0, not 1": ones + weight * redundant,
        "the common dimensions are 0 to K − 1, without K": barlow_loss(z1, z2, common=common + 1),
        "entries between the two parts do not count": missing.sum() + weight * off.sum(),
        "the diagonal beyond the first K counts, too": missing[:common].sum() + weight * redundant,
        "the block of the unique dimensions counts, too": missing.sum() + weight * block,
        "the diagonal does not belong to what is off it": missing.sum() + weight * whole,
        "the sum off the diagonal is missing": missing.sum(),
        "weight is missing before the sum off the diagonal": missing.sum() + redundant,
        "weight stands before the sum off the diagonal only": weight * (missing.sum() + redundant),
    }
    got, wanted = decur_loss(c.clone(), common), barlow_loss(z1, z2, common=common)
    expect_close(got, wanted, f"the loss with {common} of {dim} dimensions in common", mistakes=mistakes)
    got, wanted = decur_loss(c.clone(), dim), barlow_loss(z1, z2)
    expect_close(got, wanted, f"the loss with all {dim} dimensions in common")
