"""The cells of a profile's plan: methods × label fractions × seeds, with one budget for all.

The learning rate of every method is chosen the same way: each rate of the plan's list is tried once, with
all labels and the first seed, and the best validation score decides for all fractions and seeds of that
method. Multi-label models take the rate of the single-label ones. The tried model with the best rate *is*
the model of the first seed at all labels: it is tested then, not trained again.
"""

from eo_ssl.errors import ConfigError, nearest
from eo_ssl.evaluate.grid import Cell, Grid
from eo_ssl.evaluate.methods import get_method
from eo_ssl.evaluate.plans import PLANS, Budget, Plan, Sweep
from eo_ssl.profiles import get_profile

__all__ = ["PLANS", "Budget", "Plan", "Sweep", "get_plan", "make_grid", "rate_cells"]


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
