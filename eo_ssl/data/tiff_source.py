"""A data set read in place from its GeoTIFF files."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from eo_ssl import files
from eo_ssl.data import geotiff
from eo_ssl.data.source import LEAST_VALID, Affine, Source, class_counts, majority_of
from eo_ssl.data.statistics import Statistics, Sums
from eo_ssl.data.tiff import read_header
from eo_ssl.errors import DataError
from eo_ssl.sensors import DFC10_TO_EIGHT, DN_PER_REFLECTANCE, IGBP_TO_EIGHT, IGNORE

STATISTICS_PATCHES = 4000  # enough for means to three digits; a store counts every patch
THREADS = 4


class TiffSource(Source):
    """GeoTIFF files below a root; `s1_scale` and `s2_offset` override what the files say of themselves."""

    kind = "geotiff"

    def __init__(
        self,
        path: Path,
        catalog: pd.DataFrame,
        seed: int = 0,
        holdout: str | Path | None = None,
        s1_scale: float | None = None,
        s2_offset: int | None = None,
    ) -> None:
        super().__init__(path, catalog, seed, holdout)
        self.s1_scale = s1_scale
        self.s2_offset = catalog.attrs.get("s2_offset") if s2_offset is None else s2_offset
        self._paths = {key: self.catalog[key].to_numpy() for key in ("s1", "s2", "lc", "dfc")}
        self._size = 0
        self._majorities: dict[int, int] = {}

    @property
    def patch_size(self) -> int:
        if not self._size:
            row = int(np.flatnonzero(self._paths["s2"] != "")[0])
            header = read_header(self._file("s2", row))
            s2 = None if header else geotiff.read_s2(self._file("s2", row))[0]
            self._size = header.width if header else s2.shape[-1]  # type: ignore[union-attr]
        return self._size

    def _file(self, sensor: str, row: int) -> Path:
        path = self._paths[sensor][row]
        if not path:
            raise DataError(f"{self.catalog['id'][row]}: no {sensor} file")
        return self.path / path

    def fill(
        self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine
    ) -> np.ndarray | None:
        window = None if s1.shape[-1] == self.patch_size else (top, left, s1.shape[-1])
        db = geotiff.read_s1(self._file("s1", row), window, self.s1_scale)
        numbers, declared = geotiff.read_s2(self._file("s2", row), window)
        if db.shape[1:] != s1.shape[1:] or numbers.shape[1:] != s2.shape[1:]:
            raise DataError(f"{self._file('s1', row)}: {db.shape[1:]} pixels, S2 {numbers.shape[1:]}")
        offset = declared if self.s2_offset is None else self.s2_offset
        np.multiply(db, affine.s1_scale, out=s1)
        s1 += affine.s1_shift
        scale = affine.s2_scale / np.float32(DN_PER_REFLECTANCE)
        np.multiply(numbers, scale, out=s2)
        s2 += affine.s2_shift - np.float32(offset) * scale
        valid = valid_pixels(db, numbers)
        if valid is not None:
            s2[:, ~numbers.any(0)] = np.nan
        return valid

    def mask(self, row: int, top: int, left: int, size: int, coarse: bool = False) -> np.ndarray:
        sensor, table = (
            ("lc", IGBP_TO_EIGHT) if coarse or not self._paths["dfc"][row] else ("dfc", DFC10_TO_EIGHT)
        )
        if not self._paths[sensor][row]:
            return np.full((size, size), IGNORE, np.uint8)
        window = None if size == self.patch_size else (top, left, size)
        return table[geotiff.read_labels(self._file(sensor, row), window)]

    def valid_share(self, row: int) -> float:
        """Share of valid pixels of a whole patch."""
        return float(self.read(row)["valid"].mean())

    def usable(self, row: int) -> bool:
        """False, and noted in `left_out`, if less than 90 % of the patch is valid."""
        share = self.valid_share(row)
        if share < LEAST_VALID:
            self.left_out[self.catalog["id"][row]] = f"{share:.0%} valid"
        return share >= LEAST_VALID

    def _statistics(self, rows: np.ndarray) -> Statistics:
        if len(rows) > STATISTICS_PATCHES:
            rows = rows[np.linspace(0, len(rows) - 1, STATISTICS_PATCHES).astype(int)]
        cache = files.cache_dir() / "statistics" / f"{self._key(rows)}.json"
        if cache.exists():
            return Statistics.from_dict(files.read_json(cache))
        with ThreadPoolExecutor(THREADS) as pool:
            parts = tqdm(pool.map(self._sums, rows.tolist()), total=len(rows), desc="statistics")
            result = sum(parts, Sums.zero()).statistics()
        files.write_json(cache, result.to_dict())
        return result

    def _key(self, rows: np.ndarray) -> str:
        state = [
            str(self.path.resolve()),
            str(self.catalog.attrs.get("state")),
            self.s1_scale,
            self.s2_offset,
        ]
        state += self.catalog["id"].to_numpy()[rows].tolist()
        return hashlib.sha256("\n".join(map(str, state)).encode()).hexdigest()[:24]

    def _sums(self, row: int) -> Sums:
        patch = self.read(row)
        return Sums.zero() if patch["valid"].mean() < LEAST_VALID else Sums.of(patch["s1"], patch["s2"])

    def _majority(self, rows: np.ndarray) -> np.ndarray:
        missing = [int(row) for row in rows if int(row) not in self._majorities]
        with ThreadPoolExecutor(THREADS) as pool:
            labels = pool.map(lambda row: class_counts(self.mask(row, 0, 0, self.patch_size)), missing)
            bar = tqdm(labels, total=len(missing), desc="labels", disable=len(missing) < 2000)
            self._majorities |= {row: majority_of(counts) for row, counts in zip(missing, bar)}
        return np.array([self._majorities[int(row)] for row in rows], dtype=np.int64)


def valid_pixels(db: np.ndarray, numbers: np.ndarray) -> np.ndarray | None:
    """Mask (H, W) of pixels with radar (no NaN) and optical data (not 0 in all bands); None if all are."""
    radar, optical = np.isfinite(db).all(0), numbers.any(0)
    valid = radar & optical
    return None if valid.all() else valid
