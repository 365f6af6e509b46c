"""Damaged files of every kind: each is named by the check and refused by the reader, and nothing crashes."""

from collections import Counter

import fake_patches as fake
import numpy as np
import pytest

from eo_ssl.data import catalog
from eo_ssl.data.catalog import Card
from eo_ssl.data.check import check_patch
from eo_ssl.data.store import encode
from eo_ssl.errors import DataError

CASES = 60
TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}
FORMS = [{}, {"interleave": "band"}, {"compress": "deflate"}, {"compress": "lzw"}, TILED]
TEXTS = [b"hello", b"<html><body>404 Not Found</body></html>", b"version https://git-lfs"]
HEADS = [b"", b"II*\0", b"MM\0*", b"II+\0", b"\x89PNG\r\n\x1a\n"]
WRONG_BANDS = {1: (2, 3, 5, 14), 2: (1, 3, 11, 14), 4: (2, 3, 5, 14), 13: (1, 2, 5, 11, 14)}


BYTES = {
    "truncated": lambda rng, whole: whole[: rng.integers(1, len(whole) * 9 // 10)],
    "empty": lambda rng, whole: b"",
    "text": lambda rng, whole: TEXTS[rng.integers(3)],
    "noise": lambda rng, whole: HEADS[rng.integers(5)] + rng.bytes(int(rng.integers(1, 3000))),
    "zeros": lambda rng, whole: bytes(len(whole)),
}
PIXELS = {
    "bands": lambda rng, a: np.resize(a, (rng.choice(WRONG_BANDS[len(a)]), *a.shape[1:])),
    "type": lambda rng, a: a.astype("uint8" if len(a) == 2 else rng.choice(["float64", "complex64"])),
    "size": lambda rng, a: np.resize(a, (len(a), *[rng.choice([1, 8, 15, 17, 32])] * 2)),
    "oblong": lambda rng, a: a[:, :, :10],
    "other sensor": lambda rng, a: np.zeros((13 if len(a) == 2 else 2, 16, 16), np.float32),
}
DAMAGES = [*BYTES, *PIXELS]


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
        place = places[patch["s1"]]
        if kind in BYTES:
            path.write_bytes(BYTES[kind](rng, sound))
        else:
            array = PIXELS[kind](rng, fake.images(place)[sensor])
            fake.write(path, array, place.epsg, place.x, place.y, **form)
        problems, _ = check_patch(root, patch, Card(), 16)
        said, case = " ".join(p.message for p in problems), f"{kind} of {sensor} {form}"
        assert problems, f"{case}: accepted silently"
        assert all(p.id == patch["id"] for p in problems), case
        if any(p.severity == "fatal" for p in problems):
            assert path.name in said, f"{case}: {said}"
        try:
            assert encode(patch, root, Card(), 16)["valid"] < 1, case
        except DataError as error:
            assert path.name in str(error), f"{case}: {error}"
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
        outcomes["named"] += bool(check_patch(root, patches[0], Card(), 16)[0])
        try:
            encode(patches[0], root, Card(), 16)
        except DataError:
            outcomes["refused"] += 1
    path.write_bytes(sound)
    assert outcomes["named"] > 12 and outcomes["refused"] > 12
