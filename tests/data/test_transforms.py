import math

import pytest
import torch

from eo_ssl.data.statistics import Statistics
from eo_ssl.data.transforms import (
    BandDrop,
    Compose,
    CropResize,
    Flip,
    Illumination,
    Normalise,
    Rotate90,
    Speckle,
)

MEANS, DEVIATIONS = (tuple(a + b * k for k in range(13)) for a, b in ((0.1, 0.01), (0.05, 0.002)))
STATS = Statistics((-12.0, -18.0), (4.0, 5.0), MEANS, DEVIATIONS)
ALL = [Flip(), Rotate90(), CropResize(), BandDrop(0.3), Speckle(), Illumination()]
NAMES = [type(a).__name__ for a in ALL]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=16, size=12):
    g = generator(9)
    s1 = torch.tensor([-12.0, -18.0]).view(1, 2, 1, 1) + 3 * torch.randn(n, 2, size, size, generator=g)
    s2 = 0.1 + 0.2 * torch.rand(n, 13, size, size, generator=g)
    mask = torch.randint(0, 8, (n, size, size), generator=g)
    return {"s1": s1, "s2": s2, "mask": mask, "index": torch.arange(n)}


def test_normalised_bands_have_mean_zero_and_deviation_one_and_the_batch_given_is_left_alone():
    b = batch(64, 16)
    before = {key: value.clone() for key, value in b.items()}
    flat = [b[key].double().transpose(0, 1).flatten(1) for key in ("s1", "s2")]
    known = [tuple(f.tolist()) for x in flat for f in (x.mean(1), x.std(1, unbiased=False))]
    out = Normalise(Statistics(*known))(b)
    for key in ("s1", "s2"):
        bands = out[key].double().transpose(0, 1).flatten(1)
        assert bands.mean(1).abs().max() < 1e-5 and (bands.std(1) - 1).abs().max() < 1e-3
    assert all(torch.equal(b[key], before[key]) for key in b) and out["mask"] is b["mask"]


@pytest.mark.parametrize("augmentation", ALL, ids=NAMES)
def test_an_augmentation_keeps_its_input_and_is_drawn_for_each_sample_by_the_generator_alone(augmentation):
    b = {key: value[:1].expand(16, *value.shape[1:]).clone() for key, value in batch().items()}
    before = {key: value.clone() for key, value in b.items()}
    out, again, other = (augmentation(b, generator(seed)) for seed in (0, 0, 1))
    assert out.keys() == b.keys() and all(torch.equal(b[key], before[key]) for key in b)
    assert all(out[key].shape == b[key].shape and out[key].dtype == b[key].dtype for key in b)
    changed = "s1" if isinstance(augmentation, Speckle) else "s2"
    assert torch.equal(out[changed], again[changed]) and not torch.equal(out[changed], other[changed])
    assert len({tuple(x.flatten().tolist()) for x in out[changed]}) > 2
    for key in ("s1", "s2"):  # one sensor alone is enough
        assert augmentation({key: b[key]}, generator())[key].shape == b[key].shape


@pytest.mark.parametrize("augmentation", ALL[:3], ids=NAMES[:3])
def test_sensors_and_labels_move_together(augmentation):
    # One image in all channels and in the label map: wherever it goes, they must still agree.
    image = torch.arange(144.0).view(1, 1, 12, 12).repeat(16, 1, 1, 1)
    b = {"s1": image.expand(16, 2, 12, 12), "s2": image.expand(16, 13, 12, 12), "mask": image[:, 0].long()}
    out = augmentation(b, generator())
    assert torch.equal(out["s1"][:, 0], out["s2"][:, 12])
    if not isinstance(augmentation, CropResize):
        assert torch.equal(out["mask"].float(), out["s1"][:, 1])
        assert torch.equal(out["mask"].flatten(1).sort(1).values, b["mask"].flatten(1).sort(1).values)
    else:
        assert (out["mask"] - out["s1"][:, 1]).abs().max() <= 13  # within a pixel (a row is 12 apart)
    assert not torch.equal(out["mask"], b["mask"])


def test_flips_and_rotations_reach_all_eight_orientations():
    b = {key: value[:1].expand(400, *value.shape[1:]) for key, value in batch().items()}
    out = Compose([Flip(), Rotate90()])(b, generator())
    x = b["s1"][0]
    turned = [torch.rot90(y, k, (-2, -1)) for y in (x, x.flip(-1)) for k in range(4)]
    counts = [sum(torch.equal(y, t) for y in out["s1"]) for t in turned]
    assert sum(counts) == 400 and min(counts) > 20


def test_crops_stay_inside_the_image_and_one_of_the_whole_changes_nothing():
    ramp = torch.linspace(0, 1, 32).view(1, 1, 1, 32).expand(200, 13, 32, 32)
    out = CropResize((0.25, 0.25))({"s2": ramp}, generator())["s2"]
    span = out.amax((1, 2, 3)) - out.amin((1, 2, 3))
    assert (span - 0.5).abs().max() < 0.05  # half the width, never less for running over the edge
    b = batch()
    out = CropResize((1.0, 1.0))(b, generator())
    torch.testing.assert_close(out["s2"], b["s2"], atol=1e-5, rtol=0)
    assert torch.equal(out["mask"], b["mask"])


def test_bands_are_dropped_as_often_as_asked_and_one_is_left():
    out = BandDrop(0.999, STATS)(batch(), generator())
    for key in ("s1", "s2"):
        assert (out[key].flatten(2).std(2) > 0).sum(1).eq(1).all()
    assert 0.15 < BandDrop(0.999)(batch(), generator())["s2"].mean() < 0.25  # in physical units, too
    out = BandDrop(0.2, STATS)(batch(500), generator())["s2"]
    assert abs((out.flatten(2).std(2) == 0).float().mean() - 0.2) < 0.02


def test_speckle_has_the_deviation_of_its_looks_and_the_correlation_of_the_sensor():
    b = {"s1": torch.zeros(32, 2, 64, 64)}
    noise = Speckle(10)(b, generator())["s1"]
    expected = 10 / math.log(10) * math.sqrt(torch.polygamma(1, torch.tensor(10.0)).item())
    assert abs(noise.std().item() / expected - 1) < 0.02
    x = noise - noise.mean()
    lag = [(x[..., k:] * x[..., : 64 - k]).mean() / x.var() for k in (1, 2, 3)]
    assert abs(lag[0] - 0.7) < 0.03 and lag[1] < 0.3 and abs(lag[2]) < 0.03


def test_illumination_keeps_the_shape_of_every_spectrum_and_the_other_sensor_is_left_alone():
    b = batch()
    gain = Illumination(0.3)(b, generator())["s2"] / b["s2"]
    assert (gain - gain[:, :1, :1, :1]).abs().max() < 1e-5
    assert gain.max() <= 1.3001 and gain.min() >= 1 / 1.3001 and gain.std() > 0.05
    assert torch.equal(Illumination()(b, generator())["s1"], b["s1"])
    assert torch.equal(Speckle()(b, generator())["s2"], b["s2"])


@pytest.mark.parametrize("make", [Speckle, Illumination])
def test_augmenting_commutes_with_normalising(make):
    b = batch()
    normalise = Normalise(STATS)
    first = normalise(make()(b, generator()))
    then = make(statistics=STATS)(normalise(b), generator())
    for key in ("s1", "s2"):
        torch.testing.assert_close(first[key], then[key], atol=1e-4, rtol=1e-4)
