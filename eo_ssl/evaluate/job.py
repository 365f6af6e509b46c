"""What one cell of the label-fraction grid is: its settings, its stamp, and how it is trained and tested."""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eo_ssl.errors import CheckpointError
from eo_ssl.evaluate.grid import Cell, Grid
from eo_ssl.evaluate.grids import get_plan, make_grid
from eo_ssl.evaluate.methods import get_method
from eo_ssl.evaluate.results import Result
from eo_ssl.profiles import get_profile
from eo_ssl.provenance import commit
from eo_ssl.train.config import FinetuneConfig


@dataclass(frozen=True)
class GridJob:
    """A grid on one data set in one run folder; small enough to be sent to any process or cluster node.

    `stop_at` is a time (seconds since 1970) after which no further cell is begun.
    """

    profile: str
    data: str
    run_dir: str
    parts: tuple[str, ...] = ()
    accelerator: str = "auto"
    stop_at: float = 0.0

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.run_dir)

    def grid(self) -> Grid:
        """All cells, stamped with what they depend on: settings, data and pretrained weights."""
        grid = make_grid(self.profile, self.parts)
        stamps = {cell.key: self.stamp(cell) for cell in grid.cells}
        return Grid(grid.name, tuple(replace(cell, stamp=stamps[cell.key]) for cell in grid.cells))

    def stamp(self, cell: Cell) -> str:
        """Twelve hex digits of the settings (without paths), the data set and the starting weights."""
        from eo_ssl.train.downstream import init_stamp

        plan, starts = get_plan(self.profile), []
        for name in get_method(cell.method).members or (cell.method,):
            config = self.config(replace(cell, method=name), cell.rate or plan.rates[0])
            starts.append([init_stamp(config.init), {**config.to_dict(), "init": ""}])
        facts = [starts, plan.rates, plan.ratio, data_stamp(self.data)]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    def config(self, cell: Cell, rate: float) -> FinetuneConfig:
        """Settings of a cell at a learning rate."""
        plan, profile, method = get_plan(self.profile), get_profile(self.profile), get_method(cell.method)
        budget = plan.budget(cell.task)
        return FinetuneConfig(
            model=method.model,
            task=cell.task,
            backbone=getattr(profile, method.family),
            image_size=profile.crop(method.family),
            init=str(self.pretrained(method.pretraining, method.family, cell.seed))
            if method.pretraining
            else "scratch",
            mode=method.mode,
            fraction=cell.fraction,
            seed=cell.seed,
            lr_head=rate,
            lr_backbone=rate * plan.ratio,
            cached_crops=plan.cached_crops,
            unet_width=plan.unet_width,
            **asdict(budget),
        )

    def pretrained(self, pretraining: str, family: str, seed: int) -> Path:
        """The checkpoint that fine-tuning seed `seed` starts from: pretraining seeds are used in turn."""
        profile = get_profile(self.profile)
        backbone = getattr(profile, family)
        number = profile.pretrain_seeds[seed % len(profile.pretrain_seeds)]
        folder = self.folder / "pretrain" / f"{pretraining}-{backbone}-seed{number}"
        if not (folder / "config.json").is_file():
            network = f"--backbone {backbone} --image-size {profile.crop(family)} --seed {number}"
            where = f"--data {self.data} --run-dir {self.run_dir}"
            command = f"eo-ssl pretrain {pretraining} --preset {self.profile} {network} {where}"
            raise CheckpointError(f"{folder}: not pretrained yet; run {command} first")
        return folder


def data_stamp(data: str) -> str:
    """What identifies a data set: its `dataset.json` if it has one, else the name of its folder."""
    card = Path(data) / "dataset.json"
    return hashlib.sha256(card.read_bytes()).hexdigest()[:12] if card.is_file() else Path(data).name


class CellRunner:
    """Runs cells of a job in this process; data are read once and shared by all cells."""

    def __init__(self, job: GridJob, source: Any = None) -> None:
        self.job, self.source, self._data = job, source, None
        self.commit = commit()

    @property
    def data(self) -> Any:
        """The labelled splits."""
        if self._data is None:
            from eo_ssl.data.dataset import open_source
            from eo_ssl.train.labelled import LabelledData

            source = self.source if self.source is not None else open_source(self.job.data)
            self._data = LabelledData(source, data_stamp(self.job.data))
        return self._data

    def __call__(self, cell: Cell, lines: dict[str, Result]) -> Result:
        """Train and test one cell and return its line."""
        began = time.perf_counter()
        line = self._ensemble(cell) if get_method(cell.method).members else self._train(cell, lines)
        facts = {
            "method": cell.method, "label": get_method(cell.method).label, "task": cell.task,
            "fraction": cell.fraction, "seed": cell.seed, "tuning": cell.rate is not None,
            "profile": self.job.profile, "data_version": data_stamp(self.job.data), "commit": self.commit,
        }  # fmt: skip
        return {"seconds": round(time.perf_counter() - began, 2), **line, **facts}

    def _train(self, cell: Cell, lines: dict[str, Result]) -> Result:
        if cell.rate is not None:
            return self._finetune(cell, cell.rate, test=False, keep=True)
        tried = [lines[need] for need in cell.needs]
        best = max(tried, key=lambda line: line["val_score"])  # the first, smallest rate wins a tie
        rates = {f"{line['lr']:g}": line["val_score"] for line in tried}
        if cell.task == best["task"] and cell.fraction == 1.0 and cell.seed == best["seed"]:
            return {**self._promote(cell, best, tried), "rates": rates}
        return {**self._finetune(cell, best["lr"], keep=cell.keep), "rates": rates}

    def _finetune(self, cell: Cell, rate: float, test: bool = True, keep: bool = False) -> Result:
        from eo_ssl.train.finetune import finetune

        config, folder, accelerator = self.job.config(cell, rate), self.job.folder, self.job.accelerator
        return finetune(
            config, self.data, folder, name=cell.key, accelerator=accelerator, test=test, keep=keep
        )

    def _promote(self, cell: Cell, best: Result, tried: list[Result]) -> Result:
        """Test the model of the chosen rate: it has just these settings, so that it is not trained again."""
        from eo_ssl.train.finetune import inside, test_trained

        folder = inside(self.job.folder, "models", best["key"])
        found = test_trained(cell.key, [folder], self.data, self.job.folder, self.job.accelerator)
        _keep_best(self.job.folder, cell, best, tried)
        return {**{k: v for k, v in best.items() if k not in ("key", "stamp")}, **found}

    def _ensemble(self, cell: Cell) -> Result:
        from eo_ssl.train.finetune import inside, test_trained

        folders = [inside(self.job.folder, "models", need) for need in cell.needs]
        return test_trained(cell.key, folders, self.data, self.job.folder, self.job.accelerator, val=True)


def _keep_best(folder: Path, cell: Cell, best: Result, tried: list[Result]) -> None:
    """Give the model of the chosen rate the cell's name, too, and drop those of the other rates."""
    from eo_ssl.train.finetune import inside

    target = inside(folder, "models", cell.key)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(inside(folder, "models", best["key"]), target)
    for line in tried:
        if line is not best:
            shutil.rmtree(inside(folder, "models", line["key"]), ignore_errors=True)
