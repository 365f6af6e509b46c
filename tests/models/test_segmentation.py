"""UNet and SwinUNet."""

import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.models.encoders import make_encoder
from eo_ssl.models.swin_unet import PatchExpand, SwinUNet
from eo_ssl.models.unet import UNet, pad_to_multiple


def batch(height, width=None, n=2):
    generator = torch.Generator().manual_seed(0)
    size = (height, width or height)
    return {k: torch.randn(n, c, *size, generator=generator) for k, c in (("s1", 2), ("s2", 13))}


def swin_unet(name="swin_nano", size=32):
    return SwinUNet(make_encoder(name, 2, size), make_encoder(name, 13, size))


BOTH = pytest.mark.parametrize("make", [lambda: UNet(width=4), swin_unet], ids=["unet", "swin_unet"])


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (16, 48), (37, 50), (5, 90)])
@BOTH
def test_any_size_comes_back_in_that_size(make, size):
    model = make().eval()
    logits = model(batch(*size))
    assert logits.shape == (2, 8, *size) and torch.isfinite(logits).all()


@BOTH
def test_a_few_steps_of_training_find_a_bright_field(make):
    torch.manual_seed(0)
    model, x = make(), batch(32)
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[:, 10:20, 5:15] = 3
    x["s2"][:, 0] += 3 * (target == 3)  # a bright field
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(model(x), target)
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad.abs().sum() > 0 for p in model.parameters() if p.ndim > 1)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_padding_repeats_the_border_leaves_the_rest_and_is_cropped_from_the_result():
    x = batch(5)["s1"]
    padded = pad_to_multiple(x, 4)
    assert padded.shape[2:] == (8, 8) and padded[:, :, :5, :5].equal(x)
    assert padded[:, :, 7, 7].equal(x[:, :, 4, 4])
    assert pad_to_multiple(batch(8)["s1"], 4).shape[2:] == (8, 8)
    for model in (UNet(width=4).eval(), swin_unet().eval()):
        x = batch(30)
        padded = {k: pad_to_multiple(v, 16) for k, v in x.items()}
        torch.testing.assert_close(model(x), model(padded)[:, :, :30, :30])


def test_unet_has_the_classic_size():
    assert sum(p.numel() for p in UNet().parameters()) == pytest.approx(31.4e6, rel=0.01)


@pytest.mark.parametrize("missing", ["s1", "s2"])
def test_a_missing_sensor_still_gives_a_map(missing):
    x = batch(30)
    gone = {k: v for k, v in x.items() if k != missing}
    unet, swin = UNet(width=4).eval(), swin_unet().eval()
    assert unet(gone).equal(unet({**x, missing: torch.zeros_like(x[missing])}))
    assert torch.isfinite(swin(gone)).all() and not swin(gone).equal(swin(x))


def test_both_encoders_and_every_skip_reach_the_output():
    model, x = swin_unet().eval(), batch(32)
    pyramids = {name: encoder.pyramid(x[name]) for name, encoder in model.backbone.encoders().items()}
    for maps in pyramids.values():
        for level in maps:
            level.retain_grad()
    decoded = torch.cat([model.decoders[k](pyramids[k]) for k in ("s1", "s2")], dim=-1)
    model.head(model.expand(decoded).permute(0, 3, 1, 2)).square().sum().backward()
    assert all(level.grad.abs().sum() > 0 for maps in pyramids.values() for level in maps)


def test_patch_expand_lays_each_token_out_as_a_square():
    layer = PatchExpand(4, 1, scale=2)
    with torch.no_grad():
        layer.expand.weight.copy_(torch.eye(4))
    layer.norm = torch.nn.Identity()
    tokens = torch.arange(8.0).view(1, 1, 2, 4)
    assert layer(tokens)[0, :, :, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_swin_unet_refuses_other_encoders():
    with pytest.raises(ConfigError, match="needs Swin encoders"):
        SwinUNet(make_encoder("resnet_nano", 2, 32), make_encoder("resnet_nano", 13, 32))
