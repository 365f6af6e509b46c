"""Makes ben-ge and Copernicus-Bench's DFC2020 in exactly the layouts in which they are published, of any images."""

from collections.abc import Iterable
from pathlib import Path

import fake_patches as fake
import numpy as np
import pandas as pd

from eo_ssl.data.source import Source
from eo_ssl.sensors import S1_BANDS, S2, S2_BANDS, S2_BANDS_L2A

RESOLUTION = {band.name: band.resolution for band in S2}
WORLDCOVER = np.array([10, 20, 30, 90, 40, 50, 60, 80], np.uint8)  # one code per class of the eight
# MGRS tile, EPSG code, longitude and latitude of its south-western corner: a few degrees apart.
TILES = [(f"{30 + k % 6}T{a}{b}", 32630 + k % 6, 6.0 * (k % 6) - 3.0, 40.0 + k // 6) for k, (a, b) in
         enumerate((a, b) for a in "ABCD" for b in "KLM")]  # fmt: skip
METRES = 111_320.0  # per degree of latitude


def images(number: int, size: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dB (2, H, W), digital numbers (13, H, W) and classes (H, W) of one patch, of random numbers."""
    rng = np.random.default_rng(number)
    label = np.full((size, size), number % 8)
    label[: size // 4] = (number + 1) % 8
    s1 = rng.normal(-12, 3, (2, size, size)).astype(np.float32)
    return s1, rng.integers(200, 3000, (13, size, size), dtype=np.uint16), label


def of_source(source: Source, size: int = 120) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The labelled patches of another data set, mirrored or cut to `size` pixels."""

    def fit(image: np.ndarray) -> np.ndarray:
        more = [(0, 0)] * (image.ndim - 2) + [(0, max(0, size - side)) for side in image.shape[-2:]]
        return np.pad(image, more, "reflect")[..., :size, :size]

    for row in source.rows("train", "val", "test"):
        patch = source.read(row)
        numbers = np.rint(np.nan_to_num(patch["s2"]) * 1e4).clip(1, 65535).astype(np.uint16)
        mask = source.mask(row, 0, 0, source.patch_size)
        yield fit(patch["s1"]), fit(numbers), fit(np.where(mask == 255, 0, mask))


def ben_ge(root: Path, patches: Iterable | int = 48, name: str = "ben-ge-800", top: bool = True) -> Path:
    """A folder like the unpacked archive; returns the one to give to `open_source`.

    Patches lie 2 km apart in turns in the twelve `TILES`; every fifth row east of the one before.
    """
    base = root / name if top else root
    rows = []
    for number, (s1, numbers, label) in enumerate(
        map(images, range(patches)) if isinstance(patches, int) else patches
    ):
        tile, epsg, lon, lat = TILES[number % len(TILES)]
        east, north = divmod(number // len(TILES), 5)
        size, x, y = label.shape[0], 4e5 + 2000.0 * east, METRES * lat + 2000.0 * north
        ids = [
            f"S2B_MSIL2A_20170814T100029_{number}_{number % 7}",
            f"S1A_IW_GRDH_1SDV_20170814T050029_{tile}_{number}_{number % 7}",
        ]
        for k, band in enumerate(S1_BANDS):
            fake.write(base / "sentinel-1" / ids[1] / f"{ids[1]}_{band}.tif", s1[k : k + 1], epsg, x, y)
        for band in S2_BANDS_L2A:
            factor = RESOLUTION[band] // 10
            coarse = numbers[S2_BANDS.index(band)][::factor, ::factor][None]
            path = base / "sentinel-2" / ids[0] / f"{ids[0]}_{band}.tif"
            fake.write(path, coarse, epsg, x, y, pixel=RESOLUTION[band])
        cover = base / "esaworldcover" / f"{ids[0]}_esaworldcover.tif"
        fake.write(cover, WORLDCOVER[label][None], epsg, x, y)
        assert size % 6 == 0
        place = {
            "lon": lon + 2000 * east / METRES / np.cos(np.radians(lat)),
            "lat": lat + 2000 * north / METRES,
        }
        rows.append({"patch_id": ids[0], "patch_id_s1": ids[1], "timestamp_s2": "2017-08-14", **place})
    table = pd.DataFrame(rows)
    table.to_csv(base / f"{name}_meta.csv", index=False)
    if name == "ben-ge-8k":
        (base / "splits").mkdir()
        for k, part in enumerate(("train", "val", "test")):
            table["patch_id"][k::3].to_csv(base / "splits" / f"{name}_{part}.csv", index=False, header=False)
    return root


def dfc2020(root: Path, patches: Iterable | int = 12) -> Path:
    """Copernicus-Bench's DFC2020: flat folders without places on Earth, three lists."""
    base = root / "dfc2020_s1s2"
    names: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for number, (s1, numbers, label) in enumerate(
        map(images, range(patches)) if isinstance(patches, int) else patches
    ):
        parts = {"s1": s1, "s2": numbers, "dfc": fake.DFC[label][None].astype(np.uint8)}
        for sensor, array in parts.items():
            fake.write(base / sensor / f"ROIs0000_test_{sensor}_0_p{number}.tif", array, epsg=None)
        names[("train", "val", "test")[number % 3]].append(f"ROIs0000_test_dfc_0_p{number}.tif")
    for part, lines in names.items():
        (base / f"dfc-{part}-new.csv").write_text("\n".join(lines) + "\n")
    return root
