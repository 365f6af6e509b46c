"""Arrays for batches that are used again once nobody holds them: fresh memory costs more than filling it."""

import sys
import threading

import numpy as np

_KEPT = 8


class Buffers:
    """float32 arrays by shape. An array is handed out again only when no tensor or view of it is left.

    A tensor made by `torch.from_numpy` holds a reference to its array, and so does every view of the
    tensor, so the reference count says whether it is in use. When all are in use a new one is made.
    """

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._lock = threading.Lock()

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of this shape with arbitrary content."""
        with self._lock:
            array = _idle(self._arrays, shape, _IDLE)
            if array is None:
                array = np.empty(shape, np.float32)
                self._arrays = [*self._arrays[-_KEPT + 1 :], array]
            return array

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__()  # type: ignore[misc]


def _idle(arrays: list[np.ndarray], shape: tuple[int, ...], count: int) -> np.ndarray | None:
    for array in arrays:
        if array.shape == shape and sys.getrefcount(array) <= count:
            return array
    return None


def _idle_count() -> int:
    """References that `_idle` itself sees on an array nobody else holds; differs between Python versions."""
    arrays = [np.empty(1, np.float32)]
    return next(count for count in range(1, 10) if _idle(arrays, (1,), count) is not None)


_IDLE = _idle_count()
