"""Releases of others: random weights under exactly their names give the features of an independent network."""

import re

import pytest
import torch
import torchvision
from torch import nn

from eo_ssl.data.statistics import Statistics
from eo_ssl.data.transforms import Normalise
from eo_ssl.errors import CheckpointError
from eo_ssl.models.published import DECUR, PAPERS, load_published
from eo_ssl.sensors import S2_BANDS
from eo_ssl.train.checkpoint import load_dual, save_published
from eo_ssl.train.config import FinetuneConfig
from eo_ssl.train.downstream import Downstream, architecture

BANDS = {"s1": 2, "s2": 13}
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def physical(size):
    """S1 in dB and S2 in reflectance, beyond the limits that the papers clip to."""
    generator = torch.Generator().manual_seed(0)
    s1, s2 = (torch.randn(2, c, size, size, generator=generator) for c in BANDS.values())
    return {"s1": -15 + 8 * s1, "s2": 0.4 + 0.3 * s2}


def papers(batch):
    """What the papers' code does to its inputs, as published: clip, shift, divide by each image's maximum."""
    s1 = batch["s1"].clip(-25, 0) + 25
    s2 = (1e4 * batch["s2"]).clip(0, 1e4)
    return {k: x / x.flatten(2).max(2).values[..., None, None] for k, x in (("s1", s1), ("s2", s2))}


def decur(batch):
    mean, std = (torch.tensor(x)[:, None, None] for x in ((-12.59, -20.26), (5.26, 5.91)))
    return {"s1": (batch["s1"] - mean) / std, "s2": batch["s2"]}


def resnet(name, bands, fc=True):
    net = getattr(torchvision.models, name)(num_classes=128)
    net.conv1 = nn.Conv2d(bands, 64, 7, stride=2, padding=3, bias=False)
    for module in net.modules():  # otherwise evaluation mode would leave inputs as they are
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            module.running_var.uniform_(1.0, 2.0)
    dim = net.fc.in_features
    net.fc = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), net.fc) if fc else nn.Identity()
    return net.eval()


def swin(bands):
    net = torchvision.models.swin_t()
    net.features[0][0] = nn.Conv2d(bands, 96, 4, stride=4)
    return net.eval()


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


def joint(states, wrapper="", branch="backbone"):
    return {f"{wrapper}{branch}{i}.{k}": v for i, state in enumerate(states, 1) for k, v in state.items()}


@torch.no_grad()
def agree(pair, inputs, nets, prepare, size, drop_b10=False):
    """Features of our pair, through our way of preparing inputs, and of torchvision's networks through theirs."""
    batch = physical(size)
    ours = pair.eval().features(Normalise(Statistics(*inputs[:4]))(batch))
    theirs = prepare(batch)
    if drop_b10:
        theirs["s2"] = theirs["s2"][:, [b != "B10" for b in S2_BANDS]]
    for sensor, net in nets.items():
        head = "fc" if hasattr(net, "fc") else "head"
        setattr(net, head, nn.Identity())
        expected = net(theirs[sensor])
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours[sensor], expected, **CLOSE)


@pytest.mark.parametrize(("wrapper", "bands"), [("", 13), ("module.model.", 12)])
def test_a_resnet_pair_of_the_papers(wrapper, bands, tmp_path):
    nets = {"s1": resnet("resnet18", 2), "s2": resnet("resnet18", bands)}
    weights = joint([net.state_dict() for net in nets.values()], wrapper)
    torch.save({"epoch": 200, "state_dict": weights}, tmp_path / "w.pth")
    pair, inputs = load_published(tmp_path / "w.pth")
    assert pair.s1.name == pair.s2.name == "peak_resnet18" and inputs == PAPERS
    agree(pair, inputs, nets, papers, 64, bands == 12)


def test_a_swin_pair_of_the_papers(tmp_path):
    nets = {sensor: swin(bands) for sensor, bands in BANDS.items()}
    weights = joint([original_names(net.state_dict()) for net in nets.values()])
    torch.save({"state_dict": weights}, tmp_path / "w.pth")
    pair, inputs = load_published(tmp_path / "w.pth")
    assert inputs == PAPERS
    agree(pair, inputs, nets, papers, 224)


@pytest.mark.parametrize("files", [1, 2])
def test_the_decur_pair_from_one_file_or_from_two_in_any_order(files, tmp_path):
    nets = {sensor: resnet("resnet50", bands, fc=False) for sensor, bands in BANDS.items()}
    states = [net.state_dict() for net in nets.values()]
    paths = [tmp_path / "ms.pth", tmp_path / "sar.pth"][:files]
    if files == 1:
        rest = {"module.projector1.0.weight": torch.ones(1), "module.bn.running_mean": torch.ones(1)}
        torch.save({"epoch": 1, "model": joint(states, "module.", "backbone_") | rest}, paths[0])
    else:
        for path, state in zip(paths, states[::-1]):
            torch.save(state, path)
    pair, inputs = load_published(*paths)
    assert inputs == DECUR
    agree(pair, inputs, nets, decur, 64)


def test_a_release_becomes_a_checkpoint_and_a_model_built_on_it_keeps_its_inputs(tmp_path):
    nets = {sensor: resnet("resnet18", bands) for sensor, bands in BANDS.items()}
    torch.save({"state_dict": joint([net.state_dict() for net in nets.values()])}, tmp_path / "w.pth")
    folder = save_published(tmp_path / "published", tmp_path / "w.pth")
    pair, meta = load_dual(folder)
    agree(pair, PAPERS, nets, papers, 64)
    assert meta["data"] == "w.pth" and "w.pth" in (folder / "README.md").read_text()
    config = FinetuneConfig(model="late", backbone=meta["backbone"], image_size=64)
    again = Downstream(config.to_dict(), meta["statistics"], model=architecture(config)).eval()
    again.model.backbone.load_state_dict(pair.state_dict())
    with torch.no_grad():
        found = again.model.encode(again.prepare(physical(64)))
        torch.testing.assert_close(found[:, :512], nets["s1"](papers(physical(64))["s1"]), **CLOSE)


def test_what_is_missing_left_over_or_of_another_kind_is_refused(tmp_path):
    nets = [resnet("resnet18", bands).state_dict() for bands in BANDS.values()]
    whole = joint(nets)
    cut = {name: value for name, value in whole.items() if name != "backbone2.layer4.0.bn2.bias"}
    bent = {**whole, "backbone1.conv1.weight": torch.zeros(64, 2, 3, 3)}
    made = {
        "cut": cut, "bent": bent, "extra": {**whole, "backbone1.layer5.weight": torch.ones(1)},
        "stranger": {**whole, "decoder.weight": torch.ones(1)}, "single": nets[1], "code": nn.Linear(2, 2),
    }  # fmt: skip
    for name, state in made.items():
        torch.save({"state_dict": state}, tmp_path / f"{name}.pth")
    for name, message in (
        ("absent", "cannot be read as plain weights"),
        ("code", "cannot be read as plain weights"),
        ("single", "no weights for s1; give the files of both"),
        ("cut", r"does not fit resnet18 for s2: .*Missing.*layer4.0.bn2.bias"),
        ("extra", r"does not fit resnet18 for s1: .*Unexpected.*layer5.weight"),
        ("bent", r"does not fit resnet18 for s1: .*conv1.weight"),
        ("stranger", "weights of no encoder: decoder.weight"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_published(tmp_path / f"{name}.pth")
