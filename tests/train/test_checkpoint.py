"""What is exported loads again, alike, and nothing else does."""

import json
from pathlib import Path

import pytest
import torch
from toy_pairs import ToySource

from eo_ssl.errors import CheckpointError
from eo_ssl.models.dual import DualEncoder
from eo_ssl.sensors import S2_BANDS, S2_BANDS_L2A
from eo_ssl.train import checkpoint
from eo_ssl.train.checkpoint import (
    PretrainedEncoders,
    base_meta,
    load_dual,
    load_encoders,
    load_method,
    save_pretrained,
)
from eo_ssl.train.methods import Method, make_method
from eo_ssl.train.config import preset
from eo_ssl.train.step import seeded

STATISTICS = ToySource().stats()
BATCH = {"s1": torch.randn(3, 2, 32, 32), "s2": torch.randn(3, 13, 32, 32)}


def saved(folder: Path, method: str = "dual-simclr", **meta: object) -> Method:
    config = preset(method, "smoke")
    with seeded(1):
        built = make_method(config, STATISTICS)
    save_pretrained(built, folder, {**base_meta(config, STATISTICS), **meta})
    built.model.eval()
    return built


@torch.no_grad()
def embed(method: Method) -> tuple[torch.Tensor, torch.Tensor]:
    return method.model(method.views(BATCH, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", ["dual-simclr", "mma", "swin-pair", "simclr"])
def test_a_method_comes_back_with_encoders_heads_and_statistics(name: str, tmp_path: Path) -> None:
    method = saved(tmp_path, name)
    again, statistics = load_method(tmp_path)
    assert statistics == STATISTICS
    for a, b in zip(embed(method), embed(again)):
        torch.testing.assert_close(a, b)


def test_load_dual_gives_the_same_features_in_eval_mode(tmp_path: Path) -> None:
    method = saved(tmp_path)
    dual, meta = load_dual(tmp_path)
    assert isinstance(dual, DualEncoder)
    assert not dual.training
    assert meta["method"] == "dual-simclr"
    torch.testing.assert_close(dual(BATCH), method.model.encoder(BATCH))


def test_a_sensor_that_was_not_trained_is_none(tmp_path: Path) -> None:
    saved(tmp_path, "simclr")
    encoders, _ = load_encoders(tmp_path)
    assert encoders["s1"] is None
    assert encoders["s2"](BATCH["s2"]).shape[0] == 3


def test_the_hubs_own_from_pretrained_reads_the_folder(tmp_path: Path) -> None:
    method = saved(tmp_path)
    model = PretrainedEncoders.from_pretrained(tmp_path)
    torch.testing.assert_close(model(BATCH), method.model.encoder(BATCH))
    assert model.meta["backbone"] == "resnet_nano"


@pytest.mark.parametrize("name", ["dual-simclr", "mma", "swin-pair"])
def test_a_shared_trunk_comes_back_shared_and_stays_equal_through_a_step(name: str, tmp_path: Path) -> None:
    config = preset(name, "smoke")
    with seeded(1):
        built = make_method(config, STATISTICS)
    built.model.encoder.share_trunk()
    save_pretrained(built, tmp_path, base_meta(config, STATISTICS))
    built.model.eval()
    for model in (
        PretrainedEncoders.from_pretrained(tmp_path),
        load_dual(tmp_path)[0],
        load_method(tmp_path)[0].model.encoder,
    ):
        assert model.shares_trunk
        torch.testing.assert_close(model(BATCH), built.model.encoder(BATCH))
        before = {k: v.clone() for k, v in model.state_dict().items()}
        model(BATCH).square().sum().backward()
        torch.optim.SGD(model.parameters(), lr=1e-3).step()
        mine, theirs = (dict(encoder.named_parameters()) for encoder in (model.s1, model.s2))
        trunk = [k for k in mine if mine[k] is theirs.get(k)]
        assert trunk and any((mine[k] != before[f"s1.{k}"]).any() for k in trunk)
        after = model.state_dict()
        assert all(after[f"s1.{k}"].equal(after[f"s2.{k}"]) for k in trunk)


def test_separate_trunks_come_back_separate(tmp_path: Path) -> None:
    saved(tmp_path)
    assert not PretrainedEncoders.from_pretrained(tmp_path).shares_trunk
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("shared_trunk") is False
    (tmp_path / "config.json").write_text(json.dumps(config))  # as written before there were shared trunks
    assert not load_dual(tmp_path)[0].shares_trunk


def test_the_card_tells_method_bands_data_and_limits(tmp_path: Path) -> None:
    saved(tmp_path, data="toy 1", commit="abc", epoch=7, metrics={"val_top5": 0.5, "val_chance_top5": 0.1})
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: eo_ssl\nlicense: mit\n")
    for word in (
        "dual-simclr",
        "resnet_nano",
        "B8A",
        "VV, VH",
        "toy 1",
        "abc",
        "epoch 7",
        "| val_top5 | 0.5 |",
        "0.1",
    ):
        assert word in card, word


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"method": "mma"}, "method is dual-simclr, not mma"),
        ({"image_size": 224}, "image_size is 32, not 224"),
        ({"backbone": "resnet18"}, "backbone is resnet_nano, not resnet18"),
        ({"s2_bands": S2_BANDS_L2A}, "s2_bands is B01 .* B10 B11 B12, not B01 .* B09 B11 B12"),
    ],
)
def test_another_method_size_backbone_or_band_set_is_refused_by_name(
    expected: dict, message: str, tmp_path: Path
) -> None:
    saved(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_encoders(tmp_path, **expected)
    load_encoders(tmp_path, method="dual-simclr", image_size=32, s2_bands=S2_BANDS)


def test_broken_folders_are_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_encoders(tmp_path / "nothing")
    saved(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="weights do not load") as error:
        load_encoders(tmp_path)
    assert "\n" not in str(error.value)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a"), saved(tmp_path / "b", "swin-pair")
    (tmp_path / "a" / "model.safetensors").write_bytes((tmp_path / "b" / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="weights do not load"):
        load_encoders(tmp_path / "a")


def test_a_folder_of_someone_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Bert"]}))
    with pytest.raises(CheckpointError, match="was not written by eo_ssl"):
        load_encoders(tmp_path)


def test_a_full_disk_leaves_the_exported_model_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    method = saved(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_pretrained(method, tmp_path, {**base_meta(method.config, STATISTICS), "epoch": 2})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_exported_files_can_be_read_by_others(tmp_path: Path) -> None:
    saved(tmp_path)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in tmp_path.iterdir())
