"""What explorers send to the browser: their script, pictures, colours and numbers, all in a few kilobytes of text."""

import base64
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np

_ESM = Path(__file__).parent / "esm"


def script(name: str) -> str:
    """The JavaScript of an explorer, `esm/<name>.js`, after the helpers that the explorers share."""
    return "".join((_ESM / f"{part}.js").read_text(encoding="utf-8") for part in ("contrastive_common", name))


def colour_table(name: str) -> str:
    """The 256 colours of a Matplotlib map as base64 RGB bytes, so that picture and explorer look alike."""
    table = mpl.colormaps[name](np.arange(256), bytes=True)[:, :3]
    return base64.b64encode(np.ascontiguousarray(table).tobytes()).decode()


def cosines(values: np.ndarray) -> str:
    """Numbers in [−1, 1] as base64 signed bytes, steps of 1/127."""
    return base64.b64encode(np.round(np.clip(values, -1, 1) * 127).astype(np.int8).tobytes()).decode()


def data_url(picture: np.ndarray, side: int | None = None) -> str:
    """A picture (H, W, 3) in [0, 1] as a JPEG data URL, shrunk to `side` pixels where it is larger."""
    from PIL import Image

    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    if side and max(image.size) > side:
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def thumbnail(picture: np.ndarray, side: int = 52) -> np.ndarray:
    """A picture (H, W, 3) in [0, 1] at `side` × `side` pixels."""
    from PIL import Image

    image = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC)) / 255
