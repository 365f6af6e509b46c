"""Figures of the appendix bring alt text that says what was measured."""

import numpy as np

from eo_ssl.data.samples import Pair
from chapters import a1 as reference
from eo_ssl.sensors import CLASS_NAMES, S2_BANDS
from eo_ssl.show import fidelity as plots


def test_class_figures_name_the_largest_gap():
    s2 = np.stack([reference.S2_REFERENCE[name] for name in CLASS_NAMES])
    s2[0, 7] *= 1.5
    fig = plots.class_spectra(s2, reference.S2_REFERENCE, reference.COMPARED_BANDS, 0.25)
    assert "Forest +50%" in fig.eo_alt
    s1 = np.array([reference.S1_REFERENCE[name] for name in CLASS_NAMES]) + np.array([0.0, 2.0])
    assert "Water +0.0 and +2.0" in plots.class_backscatter(s1, reference.S1_REFERENCE, 1.5).eo_alt


def test_texture_figure_accepts_a_reference_with_a_missing_lag():
    curves = {"real": (0.9, np.nan, 0.5, 0.1), "simulated": (0.8, 0.7, 0.5, 0.2)}
    assert "not measured" in plots.texture_curves((1, 2, 4, 16), curves, 0.12).eo_alt


def test_pictures_can_be_shown_without_real_patches():
    pair = Pair(
        "a",
        np.zeros((2, 64, 64)),
        np.random.rand(13, 64, 64),
        S2_BANDS,
        (),
        None,
        None,
        None,
        "",
        "simulated",
    )
    assert "0 real patches beside 2 simulated" in plots.side_by_side([], [pair, pair], 48).eo_alt
