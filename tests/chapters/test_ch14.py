"""Chapter 14: memory and gradients are measured right, two readers and two processes agree, the checks know mistakes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from chapters import ch14
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.data.dataset import PatchDataset
from eo_ssl.losses import nt_xent
from eo_ssl.train.config import preset

CPU = torch.device("cpu")
SMOKE = preset("dual-simclr", "smoke")


def views(pairs=8):
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(pairs, bands, 32, 32, generator=generator)
        for name, bands in (("s1", 2), ("s2", 13))
    }


def plan(pairs, epochs, pairs_per_s, gpus, kept, watts, price):
    hours = pairs * epochs / (pairs_per_s * gpus * kept ** np.log2(gpus)) / 3600
    return hours, gpus * watts / 1000 * hours, gpus * price * hours


def ranked(z1, z2, rank, world, tau, keys=lambda z: z, start=None, reduction="mean"):
    n = len(z1) // world
    rows = torch.arange(rank * n, (rank + 1) * n)
    logits = z1[rows] @ keys(z2).T / tau
    return F.cross_entropy(logits, rows if start is None else rows - rows[0] + start, reduction=reduction)


def test_the_peak_counts_what_is_held_at_once_and_not_what_was_let_go():
    million = 10**6

    def one_after_the_other():
        for _ in range(5):
            torch.zeros(million)

    assert ch14.peak(one_after_the_other, CPU) == pytest.approx(4 * million, rel=0.01)
    assert ch14.peak(lambda: [torch.zeros(million) for _ in range(5)], CPU) == pytest.approx(
        20 * million, rel=0.01
    )


def test_an_update_learns_and_the_memory_format_does_not_change_the_loss():
    first, last = (ch14.training_step(SMOKE, views(), CPU, "32", layout) for layout in (False, True))
    losses = [(first(), last()) for _ in range(4)]
    np.testing.assert_allclose(*zip(*losses), rtol=1e-3)
    assert losses[-1][0] < losses[0][0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from eo_ssl.course import setup

    return setup("smoke", run_dir=tmp_path_factory.mktemp("run"))


def test_both_readers_give_the_same_patches(run, tmp_path):
    read = ch14.readers(run, tmp_path, most=6)
    first, second = (
        PatchDataset(source, rows, 32, "centre").__getitems__(range(6)) for source, rows in read.values()
    )
    assert torch.equal(first["s2"], second["s2"]) and (first["s1"] - second["s1"]).abs().max() < 0.003
    sizes = [ch14.megabytes(*one, run.data_root) for one in read.values()]
    assert sizes[1] == 15 * 2 * 64**2 / 1e6 and 0 < sizes[0] < 1


def test_data_that_are_a_store_have_no_files_and_files_that_are_not_packed_are_packed_here(run, tmp_path):
    class Other:
        data_root = run.data_root

        def source(self):
            return ch14.open_source(self.data_root, packed=False)

    read = ch14.readers(Other(), tmp_path / "store", most=6)
    names = [source.catalog["id"].iloc[rows].tolist() for source, rows in read.values()]
    assert names[0] == names[1] and len(set(names[0])) == 6 and ch14.is_store(tmp_path / "store")
    Other.data_root = tmp_path / "store"
    assert list(ch14.readers(Other(), tmp_path / "unused")) == ["packed store"]


def test_held_out_pairs_are_ranked_and_a_group_of_one_learns_nothing(run):
    nothing = ~torch.eye(16, dtype=torch.bool)
    found = ch14.trained(run, nothing, epochs=1)
    assert found.rank.shape == found.scenes.shape and 0 < found.guess < 1
    assert (found.rank > 0).all() and (found.rank <= 1).all()
    np.testing.assert_array_equal(found.rank, ch14.trained(run, nothing, epochs=1).rank)
    assert not np.array_equal(found.rank, ch14.trained(run, torch.zeros_like(nothing), epochs=1).rank)


def test_the_interval_is_over_scenes():
    values, scenes = np.array([0.0, 0.0, 1.0, 1.0]), np.array(["a", "a", "b", "b"])
    assert ch14.over_scenes(values, scenes).value == 0.5
    wide, narrow = ch14.over_scenes(values, scenes), ch14.over_scenes(values, np.array(["a", "b", "a", "b"]))
    assert (wide.low, wide.high) == (0, 1) and (narrow.low, narrow.high) == (0.5, 0.5)


def test_two_processes_have_the_gradient_of_one_and_one_that_fails_is_quoted(tmp_path):
    found = ch14.processes(views(), "smoke", 3, tmp_path, turns=1)
    alone = ch14.still(SMOKE, 3)
    nt_xent(*alone(views()), temperature=0.1).backward()
    torch.testing.assert_close(found["gradient"], ch14.gradient(alone), rtol=1e-3, atol=1e-5)
    assert found["seconds"] > 0
    with pytest.raises(ch14.EOError, match="no preset called 'nothing'"):
        ch14.processes(views(), "nothing", 3, tmp_path, turns=1)


def test_right_answers_pass():
    ch14.check_rank_loss(ranked)
    ch14.check_plan(plan)
    ch14.check_plan(lambda **about: np.array(plan(**about)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda *a: ranked(*a, start=0), "key rank"),
        (
            lambda z1, z2, rank, world, tau: ranked(z1[rank * 3 :][:3], z2[rank * 3 :][:3], 0, 1, tau),
            "keys of the other processes are missing",
        ),
        (lambda z1, z2, rank, world, tau: ranked(z1, z2, 0, 1, tau), "all N anchors"),
        (lambda *a: ranked(*a, reduction="sum"), "mean over the anchors"),
        (lambda *a: ranked(*a, reduction="sum") / 6, "divide by n"),
        (lambda z1, z2, rank, world, tau: ranked(z1, z2, 0, world, tau), "rank is not used"),
        (lambda z1, z2, rank, world, tau: ranked(z1, z2, rank, world, 1 / tau), "by the temperature"),
        (lambda *a: ranked(*a, keys=torch.detach), "keys have lost their gradient"),
        (lambda *a: ranked(*a).item(), "No gradient flows"),
    ],
)
def test_mistakes_in_the_loss_of_a_process_are_named(answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        ch14.check_rank_loss(answer)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda a: plan(**a | {"kept": 1}), "not eight times as fast"),
        (lambda a: plan(**a | {"pairs_per_s": 900 / 0.729}), "doubles three times"),
        (lambda a: plan(**a | {"pairs_per_s": 1000 * 0.9**5}), "not for each GPU"),
        (lambda a: np.array(plan(**a)) * 3600, "an hour has 3600"),
        (lambda a: np.array(plan(**a)) / [1, 8, 8], "not one of them"),
        (lambda a: np.array(plan(**a)) * [1, 1000, 1], "1000 watt hours"),
        (lambda a: plan(**a)[:2], "three numbers"),
    ],
)
def test_mistakes_in_the_plan_are_named(changed, message):
    with pytest.raises(ExerciseFailed, match=message):
        ch14.check_plan(lambda **about: changed(about) if about["gpus"] == 8 else plan(**about))


@pytest.mark.browser
def test_the_explorer_computes_the_plan_of_the_exercise(opened):
    page = opened(ch14.plan_explorer(36e6, 1000, 0.9, 500, 2.0))
    said = page.get_by_role("status")
    hours, energy, cost = plan(36e6, 1, 1000, 8, 0.9, 500, 2)
    for part in ("8 GPUs", f"{hours:.1f} hours", f"{energy:.1f} kWh", f"{cost:.0f} €", "73%"):
        assert part in said.inner_text()
    before = page.locator("svg").inner_html()
    page.get_by_label("number of GPUs").fill("0")
    assert "1 GPU: 10 hours" in said.inner_text() and page.locator("svg").inner_html() != before
    page.get_by_label("€ for a GPU hour").fill("4")
    assert "40 €" in said.inner_text()
