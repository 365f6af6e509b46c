"""The test set, handed out once per trained model."""

from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

from eo_ssl.errors import EOError

T = TypeVar("T")


class TestReadTwice(EOError):
    """A trained model asked for the test set a second time."""

    __test__ = False  # not a test case, whatever pytest thinks of the name


class TestOnce(Generic[T]):
    """Guards a test set: `read(model)` gives it to each trained model exactly once.

    Training code never gets the guard, only code that runs after the last weight was chosen. The data may
    stay in memory between models; what is counted is who has looked.

    >>> guard = TestOnce(lambda: "test set")
    >>> guard.read("model a")
    'test set'
    >>> guard.read("model a")
    Traceback (most recent call last):
    eo_ssl.evaluate.once.TestReadTwice: model a has seen the test set already; ...
    """

    __test__ = False

    def __init__(self, load: Callable[[], T]) -> None:
        self._load = load
        self.reads: Counter[str] = Counter()

    def read(self, model: str) -> T:
        """The test set, for `model`; raises `TestReadTwice` if it has read it before."""
        if self.reads[model]:
            raise TestReadTwice(
                f"{model} has seen the test set already; a second look would select on it. "
                "Choose on validation and train a new model"
            )
        self.reads[model] += 1
        return self._load()

    def require_one(self, model: str) -> int:
        """1, the number of times `model` read the test set; anything else raises `TestReadTwice`."""
        if self.reads[model] != 1:
            raise TestReadTwice(f"{model} read the test set {self.reads[model]} times instead of once")
        return 1
