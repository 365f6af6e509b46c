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

CASES = 600
TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}
FORMS = [{}, {"interleave": "band"}, {"compress": "deflate"}, {"compress": "lzw"}, TILED]


def truncated(rng, path, array, write):
    whole = path.read_bytes()
    path.write_bytes(whole[: rng.integers(1, len(whole) * 9 // 10)])


def empty(rng, path, array, write):
    path.write_bytes(b"")


def text(rng, path, array, write):
    path.write_text(
        str(rng.choice(["hello", "<html><body>404 Not Found</body></html>", "version https://git-lfs"]))
    )


def noise(rng, path, array, write):
    head = [b"", b"II*\0", b"MM\0*", b"II+\0", b"\x89PNG\r\n\x1a\n"][rng.integers(5)]
    path.write_bytes(head + rng.bytes(int(rng.integers(1, 3000))))


def zeros(rng, path, array, write):
    path.write_bytes(bytes(path.stat().st_size))


def missing_bands(rng, path, array, write):
    wrong = [
        n for n in (1, 2, 3, 5, 11, 14) if n not in {2: (2,), 13: (13,), 4: (1, 4), 1: (1, 4)}[len(array)]
    ]
    write(np.resize(array, (rng.choice(wrong), *array.shape[1:])))


def wrong_type(rng, path, array, write):
    if len(array) == 2:
        write(array.astype(rng.choice(["uint8", "uint16", "complex64"])))
    else:
        write(array.astype(rng.choice(["float32", "float64", "complex64"])))


def wrong_size(rng, path, array, write):
    size = int(rng.choice([1, 8, 15, 17, 32]))
    write(np.resize(array, (len(array), size, size)))


def oblong(rng, path, array, write):
    write(array[:, :, :10])


def holes(rng, path, array, write):
    array = array.copy()
    if array.dtype.kind == "f":
        array[rng.integers(2), rng.integers(16), rng.integers(16)] = rng.choice([np.nan, np.inf, -np.inf])
    else:
        array[:, rng.integers(16), rng.integers(16)] = {13: 0}.get(len(array), 99)
    write(array)


def impossible_values(rng, path, array, write):
    if len(array) == 2:
        write((array * rng.choice([100, -100, 1e30])).astype(np.float32))
    elif len(array) == 13:
        write(array.astype(np.int32) * int(rng.choice([-1, 1000])))
    else:
        write(array.astype(np.int16) + int(rng.choice([-50, 40, 400])))


def no_place(rng, path, array, write):
    write(array, epsg=None)


def other_place(rng, path, array, write):
    write(array, **[{"epsg": 32701}, {"x": 1.0}, {"y": 1.0}][rng.integers(3)])


def other_sensor(rng, path, array, write):
    write(np.zeros((13 if len(array) == 2 else 2, 16, 16), np.float32))


def other_format(rng, path, array, write):
    buffer = io.BytesIO()
    Image.fromarray(np.full((16, 16), 7, np.uint8)).save(buffer, str(rng.choice(["PNG", "JPEG", "BMP"])))
    path.write_bytes(buffer.getvalue())


DAMAGES = [truncated, empty, text, noise, zeros, missing_bands, wrong_type, wrong_size, oblong, holes,
           impossible_values, no_place, other_place, other_sensor, other_format]  # fmt: skip


@pytest.fixture(scope="module", params=range(len(FORMS)), ids=lambda k: str(FORMS[k] or "plain"))
def roots(request, tmp_path_factory):
    """Sound patches in one of the forms that TIFF files come in."""
    folder = tmp_path_factory.mktemp("fuzz")
    patches = fake.sen12ms() + fake.layout_a()
    fake.make(folder, patches, **FORMS[request.param])
    return folder, FORMS[request.param], {p.pattern.format("s1"): p for p in patches}, catalog.find(folder)


def read_as_training_does(root, patch):
    """What packing reads; raises DataError or returns the encoded patch."""
    return encode(patch, root, Card(), 16)


def test_every_damage_is_named_by_the_check_and_none_is_read_silently(roots):
    root, form, where, found = roots
    rng = np.random.default_rng(len(str(form)))
    patches = found.to_dict("records")
    seen = Counter()
    for _ in range(CASES // len(FORMS)):
        patch = patches[rng.integers(len(patches))]
        sensor = str(rng.choice([key for key in ("s1", "s2", "lc", "dfc") if patch[key]]))
        damage = DAMAGES[rng.integers(len(DAMAGES))]
        path = root / patch[sensor]
        sound = path.read_bytes()
        place = where[patch["s1"]]

        def write(array, path=path, place=place, **options):
            fake.write(path, array, **{"epsg": place.epsg, "x": place.x, "y": place.y, **form, **options})

        damage(rng, path, fake.images(place)[sensor], write)
        problems = check_patch(root, patch, Card()).problems
        said = " ".join(p.message for p in problems)
        case = f"{damage.__name__} of {sensor} {form}"
        assert problems, f"{case}: accepted silently"
        assert all(p.id == patch["id"] for p in problems), case
        if any(p.severity == "fatal" for p in problems):
            assert path.name in said or "sizes differ" in said or "same place" in said, f"{case}: {said}"
        try:
            packed = read_as_training_does(root, patch)
            # What can be read is a label code outside the legend, a hole, or right pixels in a wrong place.
            assert packed["valid"] < 1 or damage in (
                no_place,
                other_place,
                holes,
                impossible_values,
                other_format,
            ), case
        except DataError as error:
            assert path.name in str(error) or patch["id"] in str(error), f"{case}: {error}"
        seen[damage.__name__] += 1
        path.write_bytes(sound)
    assert len(seen) == len(DAMAGES)


def test_flipped_bits_in_the_header_never_crash(roots):
    # A bit of a file without checksums can be changed unnoticed; what must not happen is anything but a DataError.
    root, _, _, found = roots
    rng = np.random.default_rng(5)
    patch = found.to_dict("records")[0]
    path = root / patch["s2"]
    sound = path.read_bytes()
    outcomes = Counter()
    for _ in range(100):
        damaged = bytearray(sound)
        for at in rng.integers(0, 600, rng.integers(1, 4)):
            damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        outcomes["named" if check_patch(root, patch, Card()).problems else "fine"] += 1
        try:
            read_as_training_does(root, patch)
            outcomes["read"] += 1
        except DataError:
            outcomes["refused"] += 1
    path.write_bytes(sound)
    assert outcomes["named"] > 20 and outcomes["refused"] > 20


def test_a_whole_root_of_damaged_files_is_reported_file_by_file(tmp_path):
    patches = fake.sen12ms(numbers=range(30, 54), across=6)
    root = fake.make(tmp_path, patches)
    rng = np.random.default_rng(2)
    damaged = {}
    for place in patches[:20]:
        sensor = str(rng.choice(["s1", "s2", "lc"]))
        path = root / place.pattern.format(sensor)
        damage = DAMAGES[len(damaged) % len(DAMAGES)]

        def write(array, path=path, place=place, **options):
            fake.write(path, array, **{"epsg": place.epsg, "x": place.x, "y": place.y, **options})

        damage(rng, path, fake.images(place)[sensor], write)
        damaged[f"ROIs1158_spring_8_p{place.number}"] = damage.__name__
    report = check(root)
    named = {problem.id for problem in report.problems}
    assert set(damaged) <= named and not report.ok
    assert not named & {f"ROIs1158_spring_8_p{p.number}" for p in patches[20:]}
