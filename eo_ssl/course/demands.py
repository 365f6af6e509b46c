"""What a profile asks of the computer and of the data, checked before anything starts."""

import os
from pathlib import Path

from eo_ssl.errors import ConfigError, DataError, nearest
from eo_ssl.profiles import Profile

SIMULATED = "simulated"


def check_data(data: str) -> Path:
    """The data root as a folder; raises `DataError` that says how to get the simulated set."""
    root = Path(data).expanduser()
    if not root.is_dir():
        hint = f"{nearest(data, [SIMULATED])}, or name the root of SEN12MS or DFC2020"
        raise DataError(f"data root {data!r} is not a folder{hint}")
    return root.resolve()


def require_data(profile: Profile, data: str) -> None:
    """Raise where the data root does not exist, or where the profile is not meant for simulated data."""
    if data != SIMULATED:
        check_data(data)
    elif profile.real_data:
        raise ConfigError(
            f"profile {profile.name!r} needs real data: give --data the folder that holds (or links to) SEN12MS "
            f"and DFC2020; {profile.name}-rehearsal goes the same way on simulated data"
        )


def require_gpu(profile: Profile) -> None:
    """Raise `ConfigError` if the profile needs a GPU that is not there (EO_SSL_ALLOW_CPU=1 overrides)."""
    if not profile.requires_gpu or os.environ.get("EO_SSL_ALLOW_CPU") == "1":
        return
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(
            f"profile {profile.name!r} needs a CUDA GPU and none was found; use profile laptop, "
            "or set EO_SSL_ALLOW_CPU=1 to go on without one"
        )
