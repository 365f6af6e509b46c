"""Damaged files of every kind: each is named by the check and refused by the reader, and nothing crashes."""

import io
from collections import Counter

import fake_patches as fake
import numpy as np
import pytest
from PIL import Image

from eo_ssl.data import catalog
from eo_ssl.data.catalog import Card
from eo_ssl.data.check import check, check_patch
from eo_ssl.data.store import encode
from eo_ssl.errors import DataError

CASES = 90
TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}
FORMS = [{}, {"interleave": "band"}, {"compress": "deflate"}, {"compress": "lzw"}, TILED]
TEXTS = [b"hello", b"<html><body>404 Not Found</body></html>", b"version https://git-lfs"]
HEADS = [b"", b"II*\0", b"MM\0*", b"II+\0", b"\x89PNG\r\n\x1a\n"]
WRONG_BANDS = {1: (2, 3, 5, 14), 2: (1, 3, 11, 14), 4: (2, 3, 5, 14), 13: (1, 2, 5, 11, 14)}


def picture(rng):
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16), 7, np.uint8)).save(buffer, str(rng.choice(["PNG", "JPEG", "BMP"])))
    return buffer.getvalue()


def holes(rng, array):
    array, at = array.copy(), rng.integers(16, size=2)
    if len(array) == 2:
        array[rng.integers(2), *at] = rng.choice([np.nan, np.inf, -np.inf])
    else:
        array[:, *at] = 0 if len(array) == 13 else 99
    return array


def impossible_values(rng, array):
    if len(array) == 2:
        return (array * rng.choice([100, -100, 1e30])).astype(np.float32)
    if len(array) == 13:
        return array.astype(np.int32) * int(rng.choice([-1, 1000]))
    return array.astype(np.int16) + int(rng.choice([-50, 40, 400]))


def wrong_type(rng, array):
    return array.astype(rng.choice(["uint8", "uint16"] if len(array) == 2 else ["float64", "complex64"]))


BYTES = {
    "truncated": lambda rng, whole: whole[: rng.integers(1, len(whole) * 9 // 10)],
    "empty": lambda rng, whole: b"",
    "text": lambda rng, whole: TEXTS[rng.integers(3)],
    "noise": lambda rng, whole: HEADS[rng.integers(5)] + rng.bytes(int(rng.integers(1, 3000))),
    "zeros": lambda rng, whole: bytes(len(whole)),
    "picture": lambda rng, whole: picture(rng),
}
PIXELS = {
    "bands": lambda rng, a: np.resize(a, (rng.choice(WRONG_BANDS[len(a)]), *a.shape[1:])),
    "type": wrong_type,
    "size": lambda rng, a: np.resize(a, (len(a), *[rng.choice([1, 8, 15, 17, 32])] * 2)),
    "oblong": lambda rng, a: a[:, :, :10],
    "other sensor": lambda rng, a: np.zeros((13 if len(a) == 2 else 2, 16, 16), np.float32),
    "holes": holes,
    "impossible values": impossible_values,
}
PLACES = {"no place": [{"epsg": None}], "other place": [{"epsg": 32701}, {"x": 1.0}, {"y": 1.0}]}
DAMAGES = [*BYTES, *PIXELS, *PLACES]
# What can be read is a label code outside the legend, a hole, or right pixels in a wrong place.
READABLE = {"picture", "holes", "impossible values", *PLACES}


def damage(rng, kind, path, place, sensor, form):
    """Spoil one file of the patch at `place`."""
    array, where = fake.images(place)[sensor], {"epsg": place.epsg, "x": place.x, "y": place.y}
    if kind in BYTES:
        path.write_bytes(BYTES[kind](rng, path.read_bytes()))
    elif kind in PIXELS:
        fake.write(path, PIXELS[kind](rng, array), **where, **form)
    else:
        fake.write(path, array, **where | PLACES[kind][rng.integers(len(PLACES[kind]))], **form)


@pytest.fixture(scope="module", params=FORMS, ids=str)
def roots(request, tmp_path_factory):
    """Sound patches in one of the forms that TIFF files come in."""
    folder, patches = tmp_path_factory.mktemp("fuzz"), fake.sen12ms() + fake.layout_a()
    fake.make(folder, patches, **request.param)
    places = {p.pattern.format("s1"): p for p in patches}
    return folder, request.param, places, catalog.find(folder).to_dict("records")


def test_every_damage_is_named_by_the_check_and_none_is_read_silently(roots):
    root, form, places, patches = roots
    rng = np.random.default_rng(len(str(form)))
    for turn in range(CASES):
        patch, kind = patches[rng.integers(len(patches))], DAMAGES[turn % len(DAMAGES)]
        sensor = str(rng.choice([key for key in ("s1", "s2", "lc", "dfc") if patch[key]]))
        path = root / patch[sensor]
        sound = path.read_bytes()
        damage(rng, kind, path, places[patch["s1"]], sensor, form)
        problems = check_patch(root, patch, Card()).problems
        said, case = " ".join(p.message for p in problems), f"{kind} of {sensor} {form}"
        assert problems, f"{case}: accepted silently"
        assert all(p.id == patch["id"] for p in problems), case
        if any(p.severity == "fatal" for p in problems):
            assert path.name in said or "sizes differ" in said or "same place" in said, f"{case}: {said}"
        try:
            assert encode(patch, root, Card(), 16)["valid"] < 1 or kind in READABLE, case
        except DataError as error:
            assert path.name in str(error) or patch["id"] in str(error), f"{case}: {error}"
        path.write_bytes(sound)


def test_flipped_bits_in_the_header_never_crash(roots):
    # A bit of a file without checksums can be changed unnoticed; what must not happen is anything but a DataError.
    root, _, _, patches = roots
    rng = np.random.default_rng(5)
    path = root / patches[0]["s2"]
    sound = path.read_bytes()
    outcomes = Counter()
    for _ in range(60):
        damaged = bytearray(sound)
        for at in rng.integers(0, 600, rng.integers(1, 4)):
            damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        outcomes["named"] += bool(check_patch(root, patches[0], Card()).problems)
        try:
            encode(patches[0], root, Card(), 16)
        except DataError:
            outcomes["refused"] += 1
    path.write_bytes(sound)
    assert outcomes["named"] > 12 and outcomes["refused"] > 12


def test_a_whole_root_of_damaged_files_is_reported_file_by_file(tmp_path):
    patches = fake.sen12ms(numbers=range(30, 54), across=6)
    root = fake.make(tmp_path, patches)
    rng = np.random.default_rng(2)
    for kind, place in zip(DAMAGES, patches):
        sensor = str(rng.choice(["s1", "s2", "lc"]))
        damage(rng, kind, root / place.pattern.format(sensor), place, sensor, {})
    report = check(root)
    damaged = {f"ROIs1158_spring_8_p{p.number}" for p in patches[: len(DAMAGES)]}
    assert {problem.id for problem in report.problems} - {"(all)"} == damaged and not report.ok
