"""How much a profile trains: pretrainings and downstream models, counted in samples before any is made."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from eo_ssl.course.demands import SIMULATED
from eo_ssl.evaluate.predict import corners
from eo_ssl.experiments.plan import Cell, Method, Plan, get_method, get_plan, make_grid
from eo_ssl.experiments.results import read_lines, results_path
from eo_ssl.profiles import Profile
from eo_ssl.train.config import PretrainConfig
from eo_ssl.train.config import FinetuneConfig
from eo_ssl.train.config import preset as for_family

MONITORED = 1024  # held-out pairs looked at after every epoch, at most


@dataclass(frozen=True)
class Sizes:
    """Number of patches by split and their width; `origin` says where the numbers come from."""

    pairs: int
    held_out: int
    train: int
    val: int
    test: int
    patch: int
    origin: str


# 180,662 triplets, a tenth of them held out; 986 labelled patches, a fifth of them for validation; 5,128.
PUBLISHED = Sizes(162_596, 18_066, 789, 197, 5_128, 256, "SEN12MS and DFC2020 as published; no --data given")


@dataclass(frozen=True)
class Work:
    """Equal trainings: `runs` that are left of `planned`, and samples they train on and only look at."""

    part: str
    name: str
    config: PretrainConfig | FinetuneConfig
    planned: int = 0
    runs: int = 0
    trained: float = 0.0
    looked: float = 0.0
    kept: int = 0  # models that stay on disk


def sizes(profile: Profile, data: str) -> Sizes:
    """Counts of a data root from its file names, of the simulated set from its plan; nothing is read."""
    if data != SIMULATED:
        return _counted(Path(data))
    if profile.real_data:
        return PUBLISHED
    from eo_ssl.simulate.world import profile_named

    plan = profile_named(profile.simulate)
    pairs, train, test = (plan.patches(split) for split in ("pretrain", "train", "test"))
    held, val = round(0.1 * pairs), round(0.2 * train)
    return Sizes(pairs - held, held, train - val, val, test, plan.patch, f"simulated set {profile.simulate}")


def open_unread(root: Path):
    """The source of a data root from file names alone; splits are those of a run but for regions and overlaps."""
    from eo_ssl.data import catalog
    from eo_ssl.data.dataset import open_source
    from eo_ssl.data.source import TiffSource
    from eo_ssl.data.store import is_store

    return open_source(root) if is_store(root) else TiffSource(root, catalog.find(root, georeference=False))


def _counted(root: Path) -> Sizes:
    source = open_unread(root)
    found = source.catalog["split"].value_counts()
    train, val = int(found.get("train", 0)), int(found.get("val", 0))
    if not val:  # regions are not known without reading: a fifth, as in a run
        val = round(0.2 * train)
        train -= val
    pairs, held, test = (int(found.get(name, 0)) for name in ("pretrain", "pretrain_val", "test"))
    return Sizes(pairs, held, train, val, test, source.patch_size, str(root))


def workload(profile: Profile, there: Sizes, run_dir: Path) -> list[Work]:
    """All trainings of a profile that the run folder does not hold yet, pretrainings first."""
    grid = make_grid(profile.name)
    methods = dict.fromkeys(get_method(cell.method) for cell in grid.cells)
    starts = dict.fromkeys((m.pretraining, m.family) for m in methods if m.pretraining)
    pretraining = [_pretraining(profile, there, run_dir, *start) for start in starts]
    known = {line.get("key") for line in read_lines(results_path(run_dir))}
    return pretraining + _downstream(profile, there, grid.cells, known)


def _pretraining(profile: Profile, there: Sizes, run_dir: Path, method: str, family: str) -> Work:
    config = for_family(method, profile.name, family)
    stem = f"{config.name}-{config.backbone}-seed"
    seeds = profile.pretrain_seeds
    left = sum(not (run_dir / "pretrain" / f"{stem}{s}" / "config.json").is_file() for s in seeds)
    pairs = there.pairs // config.batch_size * config.batch_size
    return Work(
        "pretraining", f"{config.name} {config.backbone} {config.image_size} px", config, len(seeds), left,
        left * config.epochs * pairs, left * config.epochs * min(there.held_out, MONITORED), len(seeds),
    )  # fmt: skip


def _downstream(profile: Profile, there: Sizes, cells: tuple[Cell, ...], known: set) -> list[Work]:
    """Cells grouped by network and mode; features of frozen classifiers count once per checkpoint."""
    plan, first = get_plan(profile.name), profile.finetune_seeds[0]
    sums: dict[tuple, list[float]] = defaultdict(lambda: [0, 0, 0.0, 0.0, 0])
    encoded: set[tuple] = set()
    for cell in cells:
        method = get_method(cell.method)
        for member in map(get_method, method.members or (cell.method,)):
            total = sums[_group(member, cell.task)]
            total[0] += not method.members
            total[4] += cell.keep and cell.rate in (None, plan.rates[0])  # of the rates one stays
            if cell.key in known:
                continue
            total[1] += not method.members
            trained, looked = _samples(plan, profile, there, cell, member, bool(method.members), first)
            start = (member.name, cell.seed % len(profile.pretrain_seeds))
            if _is_cached(member, cell.task):
                trained, looked = 0, 0 if start in encoded else _features(plan, profile, there, member)
                encoded.add(start)
            total[2] += trained
            total[3] += looked
    return [
        Work("downstream", _name(profile, *group), _config(plan, profile, *group), *map(int, total[:2]), *total[2:])
        for group, total in sums.items()
    ]  # fmt: skip


def _group(method: Method, task: str) -> tuple[str, str, str, str]:
    frozen = "frozen" if method.mode == "frozen" else ""
    return method.model, method.family, "segment" if task == "segment" else "classify", frozen


def _is_cached(method: Method, task: str) -> bool:
    return method.mode == "frozen" and task != "segment"


def _tiles(profile: Profile, there: Sizes, family: str, limit: int) -> int:
    whole = len(corners(there.patch, profile.crop(family))) ** 2
    return min(limit or whole, whole)


def _samples(
    plan: Plan, profile: Profile, there: Sizes, cell: Cell, method: Method, only_tested: bool, first: int
) -> tuple[int, int]:
    """Samples a cell trains on, and those it is validated and tested on."""
    budget = plan.budget(cell.task)
    val = there.val * _tiles(profile, there, method.family, budget.val_tiles)
    test = there.test * _tiles(profile, there, method.family, budget.test_tiles)
    if only_tested:
        return 0, val + test
    shared = cell.rate is None and cell.fraction == 1.0 and cell.seed == first and cell.task != "multi"
    if shared:  # the tried model of the best rate, tested
        return 0, test
    looks = budget.evaluations * val
    return budget.updates * budget.batch_size, looks + (0 if cell.rate is not None else test)


def _features(plan: Plan, profile: Profile, there: Sizes, method: Method) -> int:
    """Crops and tiles that go through a frozen backbone, once."""
    val, test = (
        _tiles(profile, there, method.family, n) for n in (plan.classify.val_tiles, plan.classify.test_tiles)
    )
    return (there.train) * plan.cached_crops + there.val * val + there.test * test


def _config(plan: Plan, profile: Profile, model: str, family: str, task: str, _: str) -> FinetuneConfig:
    budget = plan.budget(task)
    return FinetuneConfig(
        model=model, task="segment" if task == "segment" else "single", backbone=getattr(profile, family),
        image_size=profile.crop(family), unet_width=plan.unet_width, batch_size=budget.batch_size,
        updates=budget.updates,
    )  # fmt: skip


def _name(profile: Profile, model: str, family: str, task: str, frozen: str) -> str:
    network = "" if model == "unet" else f" {getattr(profile, family)}"
    return f"{task} {model}{network} {profile.crop(family)} px{' ' + frozen if frozen else ''}"
