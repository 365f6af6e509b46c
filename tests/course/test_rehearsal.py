"""The way of the largest profile, walked with tiny networks on data in the layouts of SEN12MS and DFC2020."""

from dataclasses import replace

import pytest

from eo_ssl.course import recipes, setup
from eo_ssl.data import catalog
from eo_ssl.experiments.plan import PLANS, get_method, make_grid
from eo_ssl.profiles import PROFILES
from eo_ssl.train.checkpoint import read_meta

# What the papers' tables and curves compare, by task.
SINGLE = {"s1", "s2", "early", "late", "simclr-rgb-finetune", "dual-finetune", "mma-finetune"}
FROZEN = {"dual-frozen", "mma-frozen"}
SWIN = {
    "swin-finetune",
    "swin-frozen",
    "swin-scratch",
    "resnet50-finetune",
    "resnet50-frozen",
    "resnet50-scratch",
}
SEGMENT = {"unet", "swinunet-scratch", "swinunet-finetune", "swinunet-frozen", "ensemble"}


def test_the_papers_plan_holds_every_table_and_curve_of_both_papers_with_five_seeds():
    cells = [cell for cell in make_grid("paper").cells if cell.rate is None]

    def done(task, methods):
        return {(c.method, c.fraction, c.seed) for c in cells if c.task == task and c.method in methods}

    for task, methods in (("single", SINGLE | FROZEN | SWIN), ("segment", SEGMENT), ("multi", SINGLE)):
        curve = {(m, f, s) for m in methods for f in (0.01, 0.1, 0.5, 1.0) for s in range(5)}
        assert done(task, methods) == curve


def test_the_rehearsal_trains_the_same_methods_and_tasks():
    kinds = [{(c.task, c.method) for c in make_grid(name).cells} for name in ("paper", "paper-rehearsal")]
    assert kinds[0] == kinds[1]


@pytest.mark.filterwarnings("ignore:epoch .*features collapse:RuntimeWarning")
def test_a_rehearsal_reaches_its_end_from_pretraining_to_results(tmp_path, monkeypatch):
    # The last of its seeds, which starts from the last of its pretrainings: half of the time, and of the same kind.
    one = replace(PROFILES["paper-rehearsal"], finetune_seeds=(1,))
    monkeypatch.setitem(PROFILES, "paper-rehearsal", one)
    run = setup("paper-rehearsal", run_dir=str(tmp_path / "run"))
    assert set(catalog.find(run.data_root)["dataset"]) == {"sen12ms", "dfc2020"}
    table = recipes.compared(run, *PLANS["paper-rehearsal"].parts)
    wanted = [cell for cell in make_grid("paper-rehearsal").cells if cell.rate is None]
    assert set(table["key"]) == {cell.key for cell in wanted} and not run.is_evidence
    assert table["profile"].eq("paper-rehearsal").all() and table["test_reads"].eq(1).all()
    started = {(get_method(c.method).pretraining, get_method(c.method).family) for c in wanted}
    folders = sorted((run.root / "pretrain").iterdir())
    # The deep network of the rehearsal is that of the shallow one: one checkpoint less.
    assert len(folders) == 2 * (len({s for s in started if s[0]}) - 1)
    for folder in folders:
        meta = read_meta(folder)
        assert {"python", "torch", "timm", "eo_ssl", "commit"} <= set(meta["versions"])
        assert meta["data"].startswith("simulated")


@pytest.mark.parametrize("profile", ["gpu", "paper", "paper-rehearsal"])
def test_each_part_of_a_plan_holds_what_its_chapter_compares_at_smoke(profile):
    for part in PLANS["smoke"].parts:
        small, large = (
            {(c.task, c.method) for c in make_grid(name, (part,)).cells} for name in ("smoke", profile)
        )
        assert small <= large, part
