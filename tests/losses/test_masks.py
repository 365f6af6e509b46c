"""Masks of false negatives."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl.losses import same_group
from eo_ssl.losses.masks import false_negative_rows

groups = st.lists(st.integers(0, 4), min_size=2, max_size=12).map(torch.tensor)


@given(groups)
def test_mask_is_symmetric_and_never_marks_a_patch_itself(group):
    mask = same_group(group)
    assert mask.equal(mask.T) and not mask.diagonal().any()
    assert mask.sum() == sum((group == g).sum() - 1 for g in group)


@given(groups, st.data())
def test_groups_and_mask_give_the_same_rows(group, data):
    n = len(group)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n)))
    mask = same_group(group)
    before = mask.clone()
    assert false_negative_rows(group, n)(rows).equal(false_negative_rows(mask, n)(rows))
    assert false_negative_rows(mask, n)(rows).equal(mask[rows])
    assert mask.equal(before)
