"""What is compared: the methods, the label fractions and budgets of each profile, and the cells they make.

The learning rate of a method is chosen on validation, with all labels and all updates. The first seed tries two rates from
the middle of the plan's list (for a classifier's head alone of a list with larger ones) and goes on to smaller or larger
ones as long as the score rises; the two best are tried by more seeds (a head alone costs next to nothing: all seeds climb
together), and the better mean decides for all fractions and seeds of that method. The models that tried it are those that
are tested. Multi-label models take the rate of the single-label ones; released encoders and the untrained SwinUNet take
that of their twin.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

from eo_ssl.errors import ConfigError, nearest
from eo_ssl.profiles import get_profile

T = TypeVar("T")

UNTRAINED = "untrained"
# Encoders that others have released: what they are called, their network. They are frozen rows where the folder named by
# EO_SSL_WEIGHTS holds them, each under its name, as `eo_ssl.train.checkpoint.save_published` writes them.
PUBLISHED = {
    "papers-resnet18": ("The papers' ResNet-18", "peak_resnet18"),
    "papers-resnet50": ("The papers' ResNet-50", "peak_resnet50"),
    "papers-swin": ("The papers' Swin-T", "peak_swin_tiny_patch4_window7_224"),
    "decur": ("DeCUR, ResNet-50", "resnet50"),
}

# Methods


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    `family` is "resnet", "deep", "swin" or "vgg" (the profile names the network) or a network, `pretraining` a method of
    `eo_ssl.train.config.METHODS`, "" from scratch or "untrained"; with `released` its encoders are those that come
    with the course. `members` are the methods an ensemble averages.
    """

    name: str
    label: str
    model: str
    family: str = "resnet"
    pretraining: str = ""
    mode: str = "finetune"
    members: tuple[str, ...] = ()
    released: bool = False

    def is_head(self, task: str) -> bool:
        """Whether nothing but a classifier's head learns, on features that are computed once."""
        return self.mode == "frozen" and task != "segment"


def _pair(
    name: str, label: str, model: str, family: str, pretraining: str, released: bool = False
) -> list[Method]:
    """The frozen and the fine-tuned version of a pretrained method."""
    tuned = Method(f"{name}-finetune", f"{label}, fine-tuned", model, family, pretraining, released=released)
    return [replace(tuned, name=f"{name}-frozen", label=f"{label}, frozen", mode="frozen"), tuned]


_ROWS = [
    Method("s1", "Only S1", "s1"),
    Method("s2", "Only S2", "s2"),
    Method("early", "Early fusion", "early"),
    Method("late", "Late fusion", "late"),
    # What every pretraining has to beat: no network, and a network of random numbers.
    Method("band-stats", "Band means and deviations", "bands", "resnet", UNTRAINED, "frozen"),
    Method("untrained-frozen", "Untrained, frozen", "late", "resnet", UNTRAINED, "frozen"),
    *_pair("simclr", "SimCLR", "s2", "resnet", "simclr"),
    *_pair("simclr-rgb", "SimCLR (RGB)", "s2", "resnet", "simclr-rgb"),
    *_pair("dual", "Dual-SimCLR", "late", "resnet", "dual-simclr"),
    *_pair("mma", "MMA", "late", "vgg", "mma"),
    *_pair("dual-released", "Dual-SimCLR, released", "late", "resnet", "dual-simclr", released=True),
    *_pair("mma-released", "MMA, released", "late", "vgg", "mma", released=True),
    Method("swin-scratch", "Swin from scratch", "late", "swin"),
    *_pair("swin", "Swin pair", "late", "swin", "swin-pair"),
    # The network that Swin is compared with: the same crops, Dual-SimCLR, a ResNet of about the same cost.
    Method("resnet50-scratch", "ResNet-50 from scratch", "late", "deep"),
    *_pair("resnet50", "ResNet-50 pair", "late", "deep", "dual-simclr"),
    Method("unet", "UNet", "unet", "swin"),
    Method("swinunet-scratch", "SwinUNet from scratch", "swin-unet", "swin"),
    Method("swinunet-untrained", "SwinUNet, untrained, frozen", "swin-unet", "swin", UNTRAINED, "frozen"),
    *_pair("swinunet", "SwinUNet", "swin-unet", "swin", "swin-pair"),
    Method("ensemble", "UNet + SwinUNet", "ensemble", "swin", members=("unet", "swinunet-finetune")),
    *(
        Method(f"{name}-frozen", f"{label}, frozen", "late", network, name, "frozen", released=True)
        for name, (label, network) in PUBLISHED.items()
    ),
    Method(
        "swinunet-papers-frozen",
        f"SwinUNet on {PUBLISHED['papers-swin'][0]}, frozen",
        "swin-unet",
        PUBLISHED["papers-swin"][1],
        "papers-swin",
        "frozen",
        released=True,
    ),
]
METHODS = {method.name: method for method in _ROWS}


def _known(what: str, name: str, table: Mapping[str, T]) -> T:
    if name not in table:
        raise ConfigError(f"no {what} called {name!r}{nearest(name, table)}")
    return table[name]


def get_method(name: str) -> Method:
    """The method called `name`; raises `ConfigError` with the nearest name.

    >>> get_method("dual-finetune").label
    'Dual-SimCLR, fine-tuned'
    """
    return _known("method", name, METHODS)


# Plans

CURVE = (0.01, 0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Sweep:
    """Some methods on one task at some label fractions."""

    task: str
    methods: tuple[str, ...]
    fractions: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Budget:
    """What every model of a task gets: updates, batch, looks at validation and tiles per patch (0: all)."""

    updates: int
    batch_size: int
    evaluations: int
    val_tiles: int = 0
    test_tiles: int = 0


@dataclass(frozen=True)
class Plan:
    """The grid of a profile.

    `rates` are tried in ascending order from the middle, the two best by the first `tried_by` seeds; of one rate nothing is
    tried. A classifier's head alone, on features that stay as they are, bears `alone` times these. `ratio` is the backbone's
    learning rate over the head's in fine-tuning.
    """

    classify: Budget
    segment: Budget
    rates: tuple[float, ...]
    parts: dict[str, tuple[Sweep, ...]]
    cached_crops: int
    unet_width: int
    ratio: float = 0.3
    tried_by: int = 3
    alone: float = 1.0

    def budget(self, task: str) -> Budget:
        """The budget of a task."""
        return self.segment if task == "segment" else self.classify

    def may_try(self, method: Method, task: str) -> tuple[float, ...]:
        """The learning rates that a method may try for a task, ascending: none where there is but one."""
        factor = self.alone if method.is_head(task) else 1.0
        return tuple(rate * factor for rate in self.rates) if len(self.rates) > 1 else ()


SCRATCH = ("late", "early", "s1", "s2")
FROZEN = ("dual-frozen", "mma-frozen", "simclr-frozen", "untrained-frozen", "band-stats")
RELEASED = ("dual-released-frozen", "mma-released-frozen")
TUNED = ("dual-finetune", "mma-finetune", "simclr-finetune")
RGB = ("simclr-rgb-frozen", "simclr-rgb-finetune")
SWIN = ("swin-finetune", "swin-frozen", "swin-scratch")
DEEP = ("resnet50-finetune", "resnet50-frozen", "resnet50-scratch")
SEGMENT = (
    "unet", "swinunet-scratch", "swinunet-finetune", "swinunet-frozen", "swinunet-untrained", "ensemble"
)  # fmt: skip
_SMOKE = {
    "fusion": (Sweep("single", ("s1", "s2", "early", "late")), Sweep("multi", ("early", "late"))),
    "few-labels": (
        Sweep("single", ("dual-finetune", "dual-frozen", "late"), (0.1, 1.0)),
        Sweep("single", ("simclr-finetune", "simclr-frozen", "mma-finetune", "mma-frozen", "early")),
        Sweep("single", ("untrained-frozen", "band-stats")),
        Sweep("multi", ("dual-finetune", "dual-frozen")),
    ),
    "swin": (Sweep("single", SWIN),),
    "segmentation": (Sweep("segment", SEGMENT),),
}
_LAPTOP = {
    "fusion": (Sweep("single", SCRATCH), Sweep("multi", SCRATCH)),
    "few-labels": (
        Sweep("single", ("dual-finetune", "late"), (0.01, 0.1, 1.0)),
        Sweep("single", FROZEN + RELEASED, (0.01, 0.1, 1.0)),  # cached features: nearly free
        Sweep("single", ("mma-finetune",), (0.1, 1.0)),
        Sweep("single", ("simclr-finetune",)),
        Sweep("multi", TUNED + FROZEN + RELEASED),
    ),
    "swin": (Sweep("single", SWIN, (0.1, 1.0)),),
    "segmentation": (Sweep("segment", SEGMENT),),
}
_GPU = {
    **_LAPTOP,
    "few-labels": (
        Sweep("single", ("dual-finetune", "mma-finetune", "late", "early"), CURVE),
        Sweep("single", FROZEN, CURVE),
        Sweep("single", ("simclr-finetune",)),
        Sweep("multi", TUNED + FROZEN),
    ),
    "swin": (Sweep("single", SWIN + DEEP, (0.1, 1.0)),),
    "segmentation": (
        Sweep("segment", SEGMENT),
        Sweep("segment", ("swinunet-scratch", "swinunet-finetune"), (0.1,)),
    ),
}
# All that both papers show: the tables of single- and multi-label classification, the curves over label
# fractions of classification and segmentation, Swin beside ResNet-50; UNet and ensemble for the figure.
_SWEPT = {
    "fusion": {"single": SCRATCH, "multi": SCRATCH},
    "few-labels": dict.fromkeys(("single", "multi"), FROZEN + TUNED + RGB + ("late", "early")),
    "swin": {"single": SWIN + DEEP},
    "segmentation": {"segment": SEGMENT},
}


def _everything(fractions: tuple[float, ...]) -> dict[str, tuple[Sweep, ...]]:
    return {part: tuple(Sweep(*one, fractions) for one in tasks.items()) for part, tasks in _SWEPT.items()}


# Budgets: updates, batch, looks, tiles of validation and test. Laptop takes half of the tiles, in turn, a quarter where each
# pixel is a label: neighbouring tiles tell little more. With the presets, gpu needs less than 70 PFLOP, so that the
# course fits half an hour at 50 TFLOP/s (`--dry-run` counts). The rehearsal trains every method and task of the paper's
# plan at two label fractions for a moment.
_MOMENT = Budget(2, 4, 1, 1, 1)
_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
PLANS = {
    "smoke": Plan(Budget(6, 8, 2, 1, 1), Budget(4, 4, 2, 1, 1), (1e-3,), _SMOKE, 1, 4),
    "laptop": Plan(
        Budget(100, 32, 2, 2, 2),
        Budget(100, 16, 2, 1, 1),
        (1.25e-4, 5e-4, 2e-3, 8e-3, 3.2e-2, 1.28e-1, 5.12e-1),
        _LAPTOP,
        4,
        8,
        alone=10.0,
    ),
    "gpu": Plan(Budget(160, 48, 5, 2, 2), Budget(160, 16, 4, 1, 2), _RATES, _GPU, 4, 32),
    "paper": Plan(Budget(6000, 32, 30), Budget(6000, 16, 30), _RATES, _everything(CURVE), 16, 64),
    "paper-rehearsal": Plan(_MOMENT, _MOMENT, (1e-3,), _everything((0.1, 1.0)), 1, 4),
}


def get_plan(profile: str) -> Plan:
    """The plan of a profile; raises `ConfigError` with the nearest name."""
    return _known("grid for a profile", profile, PLANS)


# Cells


@dataclass(frozen=True)
class Cell:
    """One model to train: method, task, label fraction, seed.

    A cell with a `rate` tries that learning rate on validation, if it comes to that, and never sees the test set. `needs`
    lists keys of cells that must be done before; `keep` saves the trained model. A model that is `chosen` is not trained
    again: it is the one that tried the best rate. Rates that are not `usual` are seldom tried; a forecast leaves them out.

    >>> Cell("single", "late", 0.1, 2).key
    'single late f=0.1 s=2'
    """

    task: str
    method: str
    fraction: float
    seed: int
    rate: float | None = None
    needs: tuple[str, ...] = ()
    keep: bool = False
    chosen: bool = False
    usual: bool = True

    @property
    def key(self) -> str:
        """The name under which the result is stored."""
        tuning = "" if self.rate is None else f" lr={self.rate:g}"
        return f"{self.task} {self.method} f={self.fraction:g} s={self.seed}{tuning}"


class Grid(NamedTuple):
    """Cells in the order in which they should be done: what a cell needs comes before it."""

    cells: tuple[Cell, ...]

    @property
    def pretrainings(self) -> tuple[tuple[str, str], ...]:
        """Method and network family of each pretraining that the cells start from, once each."""
        methods = [get_method(cell.method) for cell in self.cells]
        trained = (m for m in methods if m.pretraining not in ("", UNTRAINED) and not m.released)
        return tuple(dict.fromkeys((m.pretraining, m.family) for m in trained))


def make_grid(profile: str, parts: tuple[str, ...] = ()) -> Grid:
    """All cells of a profile, or of some `parts` ("fusion", "few-labels", "swin", "segmentation").

    >>> make_grid("laptop", ("swin",)).cells[0].key
    'single swin-finetune f=1 s=0 lr=0.002'
    """
    plan, seeds = get_plan(profile), get_profile(profile).finetune_seeds
    parts = parts or tuple(plan.parts)
    sweeps = [sweep for part in parts for sweep in _known("part of the grid", part, plan.parts)]
    if "few-labels" in parts and (given := tuple(f"{name}-frozen" for name in PUBLISHED if published(name))):
        sweeps += [Sweep("single", given, (0.1, 1.0)), Sweep("multi", given)]
    if "segmentation" in parts and published("papers-swin"):
        sweeps.append(Sweep("segment", ("swinunet-papers-frozen",)))
    cells: dict[str, Cell] = {}
    for sweep in sweeps:
        for cell in (cell for name in sweep.methods for cell in _cells(plan, sweep, name, seeds)):
            cells.setdefault(cell.key, cell)
    averaged = {need for cell in cells.values() if get_method(cell.method).members for need in cell.needs}
    return Grid(tuple(replace(cell, keep=cell.keep or cell.key in averaged) for cell in cells.values()))


def published(name: str) -> Path | None:
    """The folder of encoders that the user has brought, None where they are not there."""
    folder = Path(os.environ.get("EO_SSL_WEIGHTS", ""), name).expanduser()
    there = "EO_SSL_WEIGHTS" in os.environ and (folder / "config.json").is_file()
    return folder if there else None


def _cells(plan: Plan, sweep: Sweep, name: str, seeds: tuple[int, ...]) -> list[Cell]:
    """The cells of one method: rates it may try, then all fractions and seeds; the first seed's model is kept."""
    order = [(f, s) for f in sorted(sweep.fractions, reverse=True) for s in seeds]
    if members := get_method(name).members:
        needs = [tuple(Cell(sweep.task, m, f, s).key for m in members) for f, s in order]
        return [Cell(sweep.task, name, f, s, needs=keys) for (f, s), keys in zip(order, needs)]
    tuned = "single" if sweep.task == "multi" else sweep.task
    # Whose learning rate it takes: the same network on other weights.
    twin = "swinunet-frozen" if name == "swinunet-untrained" else name.replace("-released", "")
    head, rates = get_method(twin).is_head(tuned), plan.may_try(get_method(twin), tuned)
    tried = _search(tuned, twin, rates, seeds[: plan.tried_by], head)
    keys = tuple(cell.key for cell in tried)
    kept = {cell.seed for cell in tried if cell.keep} if (tuned, twin) == (sweep.task, name) else set()
    return tried + [
        Cell(sweep.task, name, f, s, needs=keys, keep=(f, s) == (1.0, seeds[0]), chosen=f == 1 and s in kept)
        for f, s in order
    ]


def _search(
    task: str, method: str, rates: tuple[float, ...], seeds: tuple[int, ...], head: bool
) -> list[Cell]:
    """The cells that may try a rate, of which `worth_trying` leaves out most: first those that climb from the middle."""
    climbing, middle = seeds if head else seeds[:1], len(rates) // 2
    if not rates:
        return []

    def cells(place: int, seeds: tuple[int, ...], needs: Sequence[Cell] = ()) -> list[Cell]:
        keys, usual = tuple(cell.key for cell in needs), middle - 1 <= place <= middle + (seeds == climbing)
        # A head is trained again in no time.
        return [Cell(task, method, 1.0, s, rates[place], keys, keep=not head, usual=usual) for s in seeds]

    climb = {place: cells(place, climbing) for place in (middle - 1, middle)}
    for place in range(middle + 1, len(rates)):
        climb[place] = cells(place, climbing, climb[place - 2] + climb[place - 1])
    for place in reversed(range(middle - 1)):
        climb[place] = cells(place, climbing, climb[place + 2] + climb[place + 1])
    first = [cell for some in climb.values() for cell in some]
    rest = seeds[len(climbing) :]
    return first + [cell for place in range(len(rates)) for cell in cells(place, rest, first)]


def worth_trying(cell: Cell, needed: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a cell has to try its rate, given the lines of those cells it needs that had to.

    The first seed (of a head alone all seeds together) goes on while the score rises towards the rate; the others try
    its two best.
    """
    found: dict[float, list[float]] = {}
    for line in needed:
        found.setdefault(line["lr"], []).append(line["val_score"])
    scores = {rate: fmean(some) for rate, some in found.items()}
    if any(line["seed"] == cell.seed for line in needed):
        before, last = scores.values() if len(scores) == 2 else (0.0, 0.0)
        return last > before
    return not cell.needs or cell.rate in sorted(scores, key=scores.__getitem__)[-2:]
