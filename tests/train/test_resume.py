"""The state of a run is whole or absent, whatever goes wrong while it is written."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from eo_ssl.errors import CheckpointError
from eo_ssl.train import checkpoint as resume
from eo_ssl.train.checkpoint import latest, load_state, save_state


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((64, 64), value), "steps": torch.tensor(3)}


def save(folder: Path, epoch: int, improved: bool = True) -> None:
    now = weights(float(epoch))
    save_state(folder, epoch, now, now if improved else None, {"epoch": epoch, "moments": torch.ones(4096)})


def test_what_is_saved_comes_back_and_only_the_newest_epoch_stays(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2, improved=False)
    last, best, state = load_state(tmp_path) or pytest.fail("nothing saved")
    assert torch.equal(last["layer.weight"], weights(2.0)["layer.weight"])
    assert torch.equal(best["layer.weight"], weights(1.0)["layer.weight"])
    assert state["epoch"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0002"]


def test_no_state_is_none(tmp_path: Path) -> None:
    assert load_state(tmp_path / "nothing") is None


def test_epochs_beyond_four_digits_of_nine_are_ordered(tmp_path: Path) -> None:
    for name in ("epoch-0009", "epoch-0010"):
        (tmp_path / name).mkdir()
    assert (latest(tmp_path) or tmp_path).name == "epoch-0010"


class Killed(BaseException):
    """Stands for a kill: no handler of ours may catch it."""


@pytest.mark.parametrize("name", ["save_file", "mkdir", "link", "rename", "rmtree", "_flush", "save"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_kill_at_any_step_of_saving_leaves_a_complete_state(
    name: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = {"save_file": resume, "_flush": resume, "mkdir": Path, "rmtree": shutil, "save": torch}.get(
        name, os
    )
    original: Callable = getattr(owner, name)
    calls = []

    def dies(*args: object, **kwargs: object) -> object:
        calls.append(args)
        if len(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    save(tmp_path, 1)
    monkeypatch.setattr(owner, name, dies)
    with suppress(Killed):
        save(tmp_path, 2, improved=False)
    monkeypatch.undo()
    last, best, state = load_state(tmp_path) or pytest.fail("the old state is gone")
    assert float(last["layer.weight"][0, 0]) == state["epoch"]
    assert float(best["layer.weight"][0, 0]) == 1.0
    save(tmp_path, 3)  # what the kill left behind is not in the way
    assert (load_state(tmp_path) or pytest.fail("nothing saved"))[2]["epoch"] == 3


def test_a_full_disk_leaves_the_old_state_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    save(tmp_path, 1)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"No space left.*free some space"):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert (load_state(tmp_path) or pytest.fail("the old state is gone"))[2]["epoch"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0001"]


def test_a_file_size_limit_stops_the_writer_without_harm(tmp_path: Path) -> None:
    """The operating system itself refuses the bytes, as on a full disk, in the middle of a file."""
    resource, signal = pytest.importorskip("resource"), pytest.importorskip("signal")
    save(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, before[1]))
    try:
        with pytest.raises(CheckpointError, match="epoch 2 could not be written"):
            save(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert (load_state(tmp_path) or pytest.fail("the old state is gone"))[2]["epoch"] == 1


def test_a_state_with_code_in_it_is_not_executed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    torch.save({"attack": Killed}, tmp_path / "epoch-0001" / "state.pt")
    with pytest.raises(CheckpointError, match=r"delete .* to start the run afresh"):
        load_state(tmp_path)
