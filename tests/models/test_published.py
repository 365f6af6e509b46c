"""Released checkpoints: files made in their format by torchvision's networks give torchvision's features."""

import re

import pytest
import torch
import torchvision
from torch import nn

from eo_ssl.errors import CheckpointError
from eo_ssl.models.published import load_published, published_preprocess

BANDS = {"s1": 2, "s2": 13}


def batch(size):
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(2, c, size, size, generator=generator) for k, c in BANDS.items()}


def write(path, branches, wrapper=""):
    weights = {
        f"{wrapper}backbone{i}.{k}": v for i, branch in enumerate(branches, 1) for k, v in branch.items()
    }
    torch.save({"epoch": 200, "arch": "net", "state_dict": weights, "optimizer": {"state": {}}}, path)
    return path


def resnet(name, bands):
    net = getattr(torchvision.models, name)(num_classes=128)
    net.conv1 = nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
    dim = net.fc.in_features
    net.fc = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), net.fc)
    return net.eval()


@pytest.mark.parametrize(
    ("name", "wrapper"), [("resnet18", ""), ("resnet18", "module.model."), ("resnet50", "module.")]
)
def test_a_resnet_pair_gives_the_features_of_torchvision(name, wrapper, tmp_path):
    nets = {sensor: resnet(name, bands) for sensor, bands in BANDS.items()}
    states = [net.state_dict() for net in nets.values()]
    pair = load_published(write(tmp_path / "weights.pth", states, wrapper)).eval()
    assert pair.s1.name == pair.s2.name == name
    x = batch(64)
    for sensor, feature in pair.features(x).items():
        nets[sensor].fc = nn.Identity()
        torch.testing.assert_close(feature, nets[sensor](x[sensor]), rtol=1e-3, atol=1e-4)


def original_names(state):
    """torchvision's names of a Swin in the words of the original code, with its buffers and classifier."""
    names = {}
    for key, value in state.items():
        level = re.match(r"features\.(\d)\.", key)
        if level is None:
            names[key] = value
            continue
        i, rest = int(level[1]), key[len(level[0]) :]
        if i == 0:
            names["patch_embed." + rest.replace("0.", "proj.").replace("2.", "norm.")] = value
        elif i % 2 == 0:
            names[f"layers.{i // 2 - 1}.downsample.{rest}"] = value
        else:
            rest = rest.replace("mlp.0.", "mlp.fc1.").replace("mlp.3.", "mlp.fc2.")
            names[f"layers.{i // 2}.blocks.{rest}"] = value
    return {**names, "layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49)}


def test_a_swin_pair_gives_the_features_of_torchvision(tmp_path):
    nets = {sensor: torchvision.models.swin_t().eval() for sensor in BANDS}
    for sensor, bands in BANDS.items():
        nets[sensor].features[0][0] = nn.Conv2d(bands, 96, 4, stride=4)
    path = write(tmp_path / "weights.pth", [original_names(net.state_dict()) for net in nets.values()])
    pair, x = load_published(path).eval(), batch(224)
    for sensor, feature in pair.features(x).items():
        nets[sensor].head = nn.Identity()
        torch.testing.assert_close(feature, nets[sensor](x[sensor]), rtol=1e-3, atol=1e-4)


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, tmp_path / "single.pth")
    torch.save({"state_dict": nn.Linear(2, 2)}, tmp_path / "pickle.pth")
    incomplete = {"conv1.weight": torch.zeros(64, 2, 7, 7)}
    write(tmp_path / "incomplete.pth", [incomplete, incomplete])
    for name, message in (
        ("text", "cannot be read"),
        ("absent", "cannot be read"),
        ("pickle", "cannot be read"),
        ("single", "holds no 'backbone1.*but conv1"),
        ("incomplete", "does not fit resnet18"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_published(tmp_path / f"{name}.pth")


def test_preprocessing_is_the_published_one():
    s1 = torch.tensor([[[[-30.0, -25.0], [-5.0, 3.0]], [[-25.0, -25.0], [-25.0, -25.0]]]])
    s2 = torch.zeros(1, 13, 2, 2)
    s2[0, 3] = torch.tensor([[0.1, 0.2], [0.4, -0.1]])
    x = published_preprocess({"s1": s1, "s2": s2, "index": torch.tensor([7])})
    torch.testing.assert_close(x["s1"][0, 0], torch.tensor([[0.0, 0.0], [0.8, 1.0]]))
    torch.testing.assert_close(x["s2"][0, 3], torch.tensor([[0.25, 0.5], [1.0, 0.0]]))
    assert not x["s1"][0, 1].any() and not x["s2"][0, 0].any() and x["index"].item() == 7
