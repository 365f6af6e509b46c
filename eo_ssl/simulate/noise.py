"""Random building blocks: correlated fields, integer hashes and stable seeds."""

from functools import lru_cache

import numpy as np
from scipy import fft

_MIX = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


@lru_cache(maxsize=64)
def _amplitude(n: int, beta: float, scale: float) -> np.ndarray:
    k = fft.fftfreq(n).astype(np.float32)
    power = k[:, None] ** 2 + k[None, :] ** 2 + np.float32(1.0 / (2 * np.pi * scale)) ** 2
    amplitude = power ** (-beta / 4)
    amplitude[0, 0] = 0.0
    return (amplitude * (n / np.sqrt((amplitude**2).sum()))).astype(np.float32)


class Fields:
    """Correlated Gaussian fields of one size from one generator.

    Each field has zero mean, unit variance and the spectrum (k² + (2π·scale)⁻²)^(−β/2): rough below
    `scale` pixels with roughness 1/β, uncorrelated above. One complex inverse FFT gives two fields, so
    a second request with the same spectrum costs nothing.
    """

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        self.rng, self.n = rng, n
        self._spare: dict[tuple[float, float], np.ndarray] = {}

    def __call__(self, scale: float, beta: float = 3.0) -> np.ndarray:
        """One (n, n) float32 field with correlation length about `scale` pixels."""
        key = (scale, beta)
        if key in self._spare:
            return self._spare.pop(key)
        white = self.rng.standard_normal((self.n, self.n, 2), dtype=np.float32).view(np.complex64)[..., 0]
        pair = fft.ifft2(white * _amplitude(self.n, beta, scale)) * self.n
        first, self._spare[key] = _standard(pair.real), _standard(pair.imag)
        return first


def _standard(field: np.ndarray) -> np.ndarray:
    field = field.astype(np.float32)
    field -= field.mean()
    field /= field.std()
    return field


def hash01(*keys: np.ndarray | int) -> np.ndarray:
    """A uniform number in [0, 1) for each tuple of integers: the same tuple, the same number."""
    mixed = np.uint64(0x9E3779B97F4A7C15)
    for key in keys:
        with np.errstate(over="ignore"):
            mixed = (mixed ^ np.asarray(key).astype(np.int64).view(np.uint64)) * _MIX
            mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX2
            mixed = mixed ^ (mixed >> np.uint64(32))
    return ((mixed >> np.uint64(40)).astype(np.float32)) / np.float32(2**24)


def generator(*keys: int) -> np.random.Generator:
    """A generator that depends on the integers given and on nothing else."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(keys)))
