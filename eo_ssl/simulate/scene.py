"""One scene from its specification to its files."""

from pathlib import Path

import numpy as np

from eo_ssl.simulate.labels import coarse_labels, fine_labels
from eo_ssl.simulate.landscape import Landscape, make_landscape
from eo_ssl.simulate.optical import optical
from eo_ssl.simulate.world import SceneSpec
from eo_ssl.simulate.radar import radar
from eo_ssl.simulate.write import write_scene


def render(spec: SceneSpec) -> tuple[Landscape, dict[str, np.ndarray]]:
    """The landscape and its images by sensor, each (bands, size, size) with the margins cut off."""
    land = make_landscape(spec)
    images = {"s1": radar(land).astype(spec.s1_dtype), "s2": optical(land), "lc": coarse_labels(land)}
    if "dfc" in spec.sensors:
        images["dfc"] = fine_labels(land)[None]
    start = (spec.padded - spec.size) // 2
    inner = slice(start, start + spec.size)
    return land, {sensor: np.ascontiguousarray(image[:, inner, inner]) for sensor, image in images.items()}


def write(root: Path, spec: SceneSpec) -> None:
    """Simulate one scene and write its patches below `root`."""
    write_scene(root, spec, render(spec)[1])
