"""Makes ben-ge and Copernicus-Bench's DFC2020 in exactly the layouts in which they are published."""

from pathlib import Path

import fake_patches as fake
import numpy as np
import pandas as pd

from eo_ssl.sensors import S1_BANDS, S2, S2_BANDS, S2_BANDS_L2A

SIZE = 24
RESOLUTION = {band.name: band.resolution for band in S2}
WORLDCOVER = np.array([10, 20, 30, 90, 40, 50, 60, 80], np.uint8)  # one code per class of the eight
# MGRS tile, EPSG code, longitude and latitude of its south-western corner: a few degrees apart.
TILES = [(f"{30 + k % 6}T{a}{b}", 32630 + k % 6, 6.0 * (k % 6) - 3.0, 40.0 + k // 6) for k, (a, b) in
         enumerate((a, b) for a in "ABCD" for b in "KLM")]  # fmt: skip
METRES = 111_320.0  # per degree of latitude


def images(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dB (2, H, W), digital numbers (13, H, W) and classes (H, W) of one patch, of random numbers."""
    rng = np.random.default_rng(number)
    label = np.full((SIZE, SIZE), number % 8)
    label[: SIZE // 4] = (number + 1) % 8
    s1 = rng.normal(-12, 3, (2, SIZE, SIZE)).astype(np.float32)
    return s1, rng.integers(200, 3000, (13, SIZE, SIZE), dtype=np.uint16), label


def ben_ge(root: Path, count: int = 48, name: str = "ben-ge-800", top: bool = True) -> Path:
    """A folder like the unpacked archive; returns the one to give to `open_source`.

    Patches lie 2 km apart in turns in the twelve `TILES`; every fifth row east of the one before.
    """
    base = root / name if top else root
    rows = []
    for number in range(count):
        s1, numbers, label = images(number)
        tile, epsg, lon, lat = TILES[number % len(TILES)]
        east, north = (2000.0 * steps for steps in divmod(number // len(TILES), 5))
        place = {"epsg": epsg, "x": 4e5 + east, "y": METRES * lat + north}
        optical = f"S2B_MSIL2A_20170814T100029_{number}_{number % 7}"
        radar = f"S1A_IW_GRDH_1SDV_20170814T050029_{tile}_{number}_{number % 7}"
        for k, band in enumerate(S1_BANDS):
            fake.write(base / "sentinel-1" / radar / f"{radar}_{band}.tif", s1[k : k + 1], **place)
        for band in S2_BANDS_L2A:
            step = RESOLUTION[band] // 10
            coarse = numbers[S2_BANDS.index(band)][None, ::step, ::step]
            path = base / "sentinel-2" / optical / f"{optical}_{band}.tif"
            fake.write(path, coarse, **place, pixel=RESOLUTION[band])
        fake.write(base / "esaworldcover" / f"{optical}_esaworldcover.tif", WORLDCOVER[label][None], **place)
        lon, lat = lon + east / METRES / np.cos(np.radians(lat)), lat + north / METRES
        rows.append({"patch_id": optical, "patch_id_s1": radar, "lon": lon, "lat": lat})
    table = pd.DataFrame(rows)
    table.to_csv(base / f"{name}_meta.csv", index=False)
    if name == "ben-ge-8k":
        (base / "splits").mkdir()
        for k, part in enumerate(("train", "val", "test")):
            table["patch_id"][k::3].to_csv(base / "splits" / f"{name}_{part}.csv", index=False, header=False)
    return root


def dfc2020(root: Path, count: int = 12) -> Path:
    """Copernicus-Bench's DFC2020: flat folders without places on Earth, three lists."""
    base = root / "dfc2020_s1s2"
    for number in range(count):
        s1, numbers, label = images(number)
        parts = {"s1": s1, "s2": numbers, "dfc": fake.DFC[label][None].astype(np.uint8)}
        for sensor, array in parts.items():
            fake.write(base / sensor / f"ROIs0000_test_{sensor}_0_p{number}.tif", array, epsg=None)
    for k, part in enumerate(("train", "val", "test")):
        lines = [f"ROIs0000_test_dfc_0_p{number}.tif\n" for number in range(k, count, 3)]
        (base / f"dfc-{part}-new.csv").write_text("".join(lines))
    return root
