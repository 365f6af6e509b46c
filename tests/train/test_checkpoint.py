"""What is exported loads again, alike, and nothing else does; the state of a run is whole or absent."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_pairs import ToySource

from eo_ssl.errors import CheckpointError
from eo_ssl.provenance import training_code
from eo_ssl.train.checkpoint import (
    PretrainedEncoders,
    load_dual,
    load_method,
    load_state,
    read_meta,
    save_pretrained,
    save_state,
)
from eo_ssl.train.config import preset
from eo_ssl.train.methods import Method, make_method
from eo_ssl.train.step import seeded

STATISTICS = ToySource().stats()
BATCH = {"s1": torch.randn(3, 2, 32, 32), "s2": torch.randn(3, 13, 32, 32)}


def saved(folder: Path, method: str = "dual-simclr", **meta: object) -> Method:
    config = preset(method, "smoke")
    with seeded(1):
        built = make_method(config, STATISTICS)
    save_pretrained(built, STATISTICS, folder, **meta)
    built.model.eval()
    return built


def edited(folder: Path, change: Callable[[dict], Any]) -> None:
    """Let someone edit config.json by hand."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@torch.no_grad()
def embed(method: Method) -> tuple[torch.Tensor, torch.Tensor]:
    return method.model(method.views(BATCH, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", ["dual-simclr", "mma", "swin-pair", "simclr"])
def test_a_method_comes_back_with_encoders_heads_and_statistics(name, tmp_path):
    method = saved(tmp_path, name)
    again, statistics = load_method(tmp_path)
    assert statistics == STATISTICS
    assert (again.model.encoder.s1 is None) == (name == "simclr")
    for a, b in zip(embed(method), embed(again)):
        torch.testing.assert_close(a, b)


def test_we_and_the_hub_read_the_same_features_whole_and_meta_data_need_no_weights(tmp_path):
    method = saved(tmp_path)
    dual, meta = load_dual(tmp_path)
    for model in (dual, PretrainedEncoders.from_pretrained(tmp_path)):
        assert not model.training and model.statistics == STATISTICS
        torch.testing.assert_close(model(BATCH), method.model.encoder(BATCH))
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(next(name for name in weights if name.endswith("weight")))
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match="Missing key"):
        PretrainedEncoders.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert read_meta(tmp_path) == meta and meta["code"] == training_code()


def test_the_card_tells_method_bands_data_and_limits(tmp_path):
    saved(tmp_path, data="toy 1", epoch=7, metrics={"val_top5": 0.5})
    card = (tmp_path / "README.md").read_text()
    told = ["license: mit", "dual-simclr", "B8A", "VV, VH", "toy 1", "epoch 7", "| val_top5 | 0.5 |"]
    assert [word for word in told if word not in card] == []


def break_(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "weights": (lambda f: break_(f / "model.safetensors"), "does not load"),
    "no heads": (lambda f: (f / "heads.safetensors").unlink(), "does not load"),
    "not JSON": (lambda f: break_(f / "config.json"), "does not load .*not valid JSON"),
    "a list": (lambda f: (f / "config.json").write_text("[]"), "does not load"),
    "no meta": (lambda f: edited(f, lambda c: c.pop("meta")), "no backbone, config, .* in config"),
    "setting": (lambda f: edited(f, lambda c: c["meta"]["config"].update(tempo=1)), "no field 'tempo'"),
    "bands": (lambda f: edited(f, lambda c: c["encoders"]["s2"].update(in_chans=12)), "mismatch for s2"),
    "format": (lambda f: edited(f, lambda c: c["meta"].update(format=2)), "format 2.*update eo_ssl"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_folders_are_named_in_one_line(kind, tmp_path):
    breaks, message = BROKEN[kind]
    saved(tmp_path)
    breaks(tmp_path)
    with pytest.raises(CheckpointError, match=message) as error:
        load_method(tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask")
def test_exported_files_have_the_permissions_of_any_file(tmp_path):
    before = os.umask(0o027)
    try:
        saved(tmp_path)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


class Killed(BaseException):
    """Stands for a kill: no handler of ours may catch it."""


def state(number: float) -> dict[str, Any]:
    return {"model": {"weight": torch.full((64, 64), number)}, "number": number}


@pytest.mark.parametrize("name", ["save", "fsync", "replace"])
def test_a_kill_while_a_state_is_written_leaves_the_one_before(name, tmp_path, monkeypatch):
    def dies(*args: object, **options: object) -> None:
        raise Killed

    save_state(tmp_path / "a.pt", state(1.0))
    monkeypatch.setattr(torch if name == "save" else os, name, dies)
    with suppress(Killed):
        save_state(tmp_path / "a.pt", state(2.0))
    monkeypatch.undo()
    found = load_state(tmp_path / "a.pt", "number")
    assert found["number"] == 1.0 and torch.equal(found["model"]["weight"], torch.full((64, 64), 1.0))
    assert load_state(tmp_path / "b.pt") is None


def test_a_full_disk_leaves_the_old_state_and_model_and_says_what_to_do(tmp_path):
    """The operating system itself refuses the bytes in the middle of a file."""
    resource, signal = pytest.importorskip("resource"), pytest.importorskip("signal")
    method = saved(tmp_path)
    save_state(tmp_path / "a.pt", state(1.0))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, limit[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written .*free some space"):
            save_state(tmp_path / "a.pt", state(2.0))
        with pytest.raises(CheckpointError, match=r"cannot be written .*free some space"):
            save_pretrained(method, STATISTICS, tmp_path, epoch=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: torch.save({"attack": Killed}, path), "broken .*delete it to start afresh"),
        (lambda path: path.write_bytes(b"PK"), "broken .*delete it"),
        (lambda path: torch.save({"number": 1}, path), "no scaler in it.; delete it"),
    ],
    ids=["code", "cut", "a key is missing"],
)
def test_a_broken_state_is_one_line_and_code_in_it_is_not_executed(write, message, tmp_path):
    write(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message) as error:
        load_state(tmp_path / "a.pt", "scaler")
    assert "\n" not in str(error.value)
