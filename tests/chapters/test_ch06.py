"""Chapter 06: equal maps get equal colours, and few scenes are shown one by one."""

import numpy as np

from chapters import ch06


def test_maps_that_agree_get_the_same_colours():
    maps = np.random.default_rng(0).normal(size=(6, 4, 4))
    one, two = ch06.as_colours([maps, 3 * maps])
    assert one.shape == (4, 4, 3)
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_few_scenes_are_shown_one_by_one_and_many_by_an_interval_over_scenes():
    values = np.array([0.0, 1.0, 1.0, 1.0])
    assert ch06.by_scene("all", values, [4, 4, 2, 2]) == {"all": 0.75, "scene 1": 0.5, "scene 2": 1.0}
    scene = np.arange(4 * ch06.FEW) // 4
    rows = ch06.by_scene("all", np.tile(values, ch06.FEW), scene)
    assert list(rows) == ["all"] and rows["all"].low == rows["all"].high == 0.75
    assert ch06.by_scene_words(np.tile(values, ch06.FEW), scene) == "75% (75–75%)"
