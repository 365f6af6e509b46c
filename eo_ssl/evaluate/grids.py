"""Which models are trained at which profile: methods × label fractions × seeds, with one budget for all.

The learning rate of every method is chosen the same way: each rate of the plan's list is tried once, with
all labels and the first seed, and the best validation score decides for all fractions and seeds of that
method. Multi-label models take the rate of the single-label ones. The tried model with the best rate *is*
the model of the first seed at all labels: it is tested then, not trained again.
"""

from dataclasses import dataclass

from eo_ssl.course.profiles import get_profile
from eo_ssl.errors import ConfigError
from eo_ssl.evaluate.grid import Cell, Grid
from eo_ssl.evaluate.methods import get_method
from eo_ssl.train.fields import nearest

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
    """The grid of a profile. `ratio` is the backbone's learning rate over the head's in fine-tuning."""

    classify: Budget
    segment: Budget
    rates: tuple[float, ...]
    parts: dict[str, tuple[Sweep, ...]]
    ratio: float = 0.3
    cached_crops: int = 4
    unet_width: int = 16

    def budget(self, task: str) -> Budget:
        """The budget of a task."""
        return self.segment if task == "segment" else self.classify


SCRATCH = ("late", "early", "s1", "s2")
FROZEN = ("dual-frozen", "mma-frozen", "simclr-frozen")
TUNED = ("dual-finetune", "mma-finetune", "simclr-finetune")
_LAPTOP_PARTS = {
    "fusion": (Sweep("single", SCRATCH), Sweep("multi", SCRATCH)),
    "few-labels": (
        Sweep("single", ("dual-finetune", "late"), CURVE),
        Sweep("single", FROZEN, CURVE),  # cached features: nearly free
        Sweep("single", ("mma-finetune", "early"), (0.1, 1.0)),
        Sweep("single", ("simclr-finetune",)),
        Sweep("multi", TUNED + FROZEN),
    ),
    "swin": (Sweep("single", ("swin-finetune", "swin-frozen", "swin-scratch"), (0.1, 1.0)),),
    "segmentation": (
        Sweep("segment", ("unet", "swinunet-scratch", "swinunet-finetune", "swinunet-frozen", "ensemble")),
        Sweep("segment", ("swinunet-scratch", "swinunet-finetune"), (0.1,)),
    ),
}
_ALL_PARTS = {
    "fusion": (Sweep("single", SCRATCH, CURVE), Sweep("multi", SCRATCH, CURVE)),
    "few-labels": (
        Sweep("single", FROZEN + TUNED + ("simclr-rgb-frozen", "simclr-rgb-finetune"), CURVE),
        Sweep("multi", FROZEN + TUNED + ("simclr-rgb-frozen", "simclr-rgb-finetune"), CURVE),
    ),
    "swin": (Sweep("single", ("swin-finetune", "swin-frozen", "swin-scratch"), CURVE),),
    "segmentation": (
        Sweep(
            "segment",
            ("unet", "swinunet-scratch", "swinunet-finetune", "swinunet-frozen", "ensemble"),
            CURVE,
        ),
    ),
}
_GPU_PARTS = {
    **_LAPTOP_PARTS,
    "few-labels": (
        Sweep("single", ("dual-finetune", "mma-finetune", "late", "early"), CURVE),
        Sweep("single", FROZEN, CURVE),
        Sweep("single", ("simclr-finetune",)),
        Sweep("multi", TUNED + FROZEN),
    ),
}
_SMOKE_PARTS = {
    "fusion": (Sweep("single", ("s1", "s2", "early", "late")), Sweep("multi", ("early", "late"))),
    "few-labels": (
        Sweep("single", ("dual-finetune", "dual-frozen", "late"), (0.1, 1.0)),
        Sweep("single", ("simclr-finetune", "simclr-frozen", "mma-finetune", "mma-frozen", "early")),
        Sweep("multi", ("dual-finetune", "dual-frozen")),
    ),
    "swin": (Sweep("single", ("swin-finetune", "swin-frozen", "swin-scratch")),),
    "segmentation": _LAPTOP_PARTS["segmentation"][:1],
}

PLANS: dict[str, Plan] = {
    "smoke": Plan(
        classify=Budget(6, 8, 2, val_tiles=1, test_tiles=1),
        segment=Budget(4, 4, 2, val_tiles=1, test_tiles=1),
        rates=(1e-3,),
        parts=_SMOKE_PARTS,
        cached_crops=1,
        unet_width=4,
    ),
    "laptop": Plan(
        # Half of the tiles, in turn: neighbouring tiles tell little more, and the whole grid fits a coffee break.
        classify=Budget(100, 32, 8, val_tiles=2, test_tiles=2),
        segment=Budget(120, 16, 6, val_tiles=1, test_tiles=2),
        rates=(1e-3, 3e-3, 1e-2),
        parts=_LAPTOP_PARTS,
        unet_width=8,
    ),
    "gpu": Plan(
        classify=Budget(400, 64, 10),
        segment=Budget(400, 32, 8),
        rates=(3e-4, 1e-3, 3e-3),
        parts=_GPU_PARTS,
        unet_width=32,
    ),
    "paper": Plan(
        classify=Budget(6000, 32, 30),
        segment=Budget(6000, 16, 30),
        rates=(1e-4, 3e-4, 1e-3, 3e-3),
        parts=_ALL_PARTS,
        cached_crops=16,
        unet_width=64,
    ),
}


def get_plan(profile: str) -> Plan:
    """The plan of a profile; raises `ConfigError` naming those there are."""
    if profile not in PLANS:
        raise ConfigError(f"no grid for profile {profile!r}{nearest(profile, PLANS)}")
    return PLANS[profile]


def make_grid(profile: str, parts: tuple[str, ...] = ()) -> Grid:
    """All cells of a profile, or of some `parts` ("fusion", "few-labels", "swin", "segmentation").

    >>> make_grid("smoke", ("swin",)).cells[0].key
    'single swin-finetune f=1 s=0 lr=0.001'
    """
    plan, seeds = get_plan(profile), get_profile(profile).finetune_seeds
    for part in parts:
        if part not in plan.parts:
            raise ConfigError(f"no part called {part!r} in the grid{nearest(part, plan.parts)}")
    cells: dict[str, Cell] = {}
    for part in parts or plan.parts:
        for sweep in plan.parts[part]:
            for name in sweep.methods:
                for cell in _cells(plan, sweep, name, seeds):
                    cells.setdefault(cell.key, cell)
    return Grid(f"{profile} grid", _with_ensemble_members(plan, cells, seeds))


def rate_cells(plan: Plan, task: str, method: str, seed: int) -> list[Cell]:
    """One cell for each learning rate to try."""
    task = "single" if task == "multi" else task
    return [Cell(task, method, 1.0, seed, rate, keep=True) for rate in plan.rates]


def _cells(plan: Plan, sweep: Sweep, name: str, seeds: tuple[int, ...]) -> list[Cell]:
    members = get_method(name).members
    order = [(f, s) for f in sorted(sweep.fractions, reverse=True) for s in seeds]
    if members:
        return [
            Cell(sweep.task, name, f, s, needs=tuple(Cell(sweep.task, m, f, s).key for m in members))
            for f, s in order
        ]
    tried = rate_cells(plan, sweep.task, name, seeds[0])
    needs = tuple(cell.key for cell in tried)
    return tried + [Cell(sweep.task, name, f, s, needs=needs) for f, s in order]


def _with_ensemble_members(plan: Plan, cells: dict[str, Cell], seeds: tuple[int, ...]) -> tuple[Cell, ...]:
    """Members of ensembles are kept, and so is the first seed of every method at all labels."""
    needed = {need for cell in cells.values() if get_method(cell.method).members for need in cell.needs}
    kept = []
    for cell in cells.values():
        first = cell.rate is None and cell.fraction == 1.0 and cell.seed == seeds[0]
        keep = cell.keep or cell.key in needed or (first and not get_method(cell.method).members)
        kept.append(Cell(**{**vars(cell), "keep": keep}))
    return tuple(kept)
