"""Map similarity: what the maximum over offsets does."""

import torch

from eo_ssl.losses import map_similarity


def random_maps(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_equal_sizes_give_the_mean_of_the_cosines_at_each_place():
    a, b = random_maps(5, 6, 4, 4), random_maps(5, 6, 4, 4, seed=1)
    cosines = torch.cosine_similarity(a[:, None], b[None], dim=2).mean((2, 3))  # (5, 5)
    torch.testing.assert_close(map_similarity(a, b), cosines)


def test_a_part_is_found_wherever_it_was_cut():
    maps = random_maps(4, 8, 9, 9)
    for y, x in ((0, 0), (3, 1), (4, 4)):
        part = maps[:, :, y : y + 5, x : x + 5]
        torch.testing.assert_close(map_similarity(maps, part).diagonal(), torch.ones(4))
        assert map_similarity(maps, part).argmax(1).tolist() == [0, 1, 2, 3]


def test_a_shift_that_is_not_searched_for_is_not_found():
    maps = random_maps(4, 8, 6, 6)
    assert map_similarity(maps, maps.roll(1, dims=3)).diagonal().max() < 0.5


def test_either_side_may_be_the_smaller_one():
    a, b = random_maps(3, 4, 6, 5), random_maps(2, 4, 3, 5, seed=1)
    torch.testing.assert_close(map_similarity(a, b), map_similarity(b, a).T)
    assert map_similarity(a, b).shape == (3, 2)


def test_brightness_of_a_place_does_not_count():
    a, b = random_maps(3, 4, 5, 5), random_maps(3, 4, 5, 5, seed=1)
    gain = torch.rand(3, 1, 5, 5) + 0.1
    torch.testing.assert_close(map_similarity(a * gain, b), map_similarity(a, b))
