"""Heads."""

import torch

from eo_ssl.models.heads import LinearHead, ProjectionHead, PyramidHead


def test_projection_is_linear_relu_linear_with_128_outputs():
    head = ProjectionHead(24)
    assert [type(layer).__name__ for layer in head.layers] == ["Linear", "ReLU", "Linear"]
    assert head(torch.randn(3, 24)).shape == (3, 128)
    assert head.layers[0].out_features == 24
    assert ProjectionHead(24, hidden=8, out=4)(torch.randn(3, 24)).shape == (3, 4)


def test_linear_head_is_linear():
    head, x, y = LinearHead(5, 8), torch.randn(3, 5), torch.randn(3, 5)
    torch.testing.assert_close(head(x + y), head(x) + head(y) - head.bias)


def test_pyramid_head_reads_every_level_at_any_size():
    head = PyramidHead((4, 6), num_classes=3)
    maps = [torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(2, 6, 4, 4, requires_grad=True)]
    logits = head(maps, (30, 33))
    assert logits.shape == (2, 3, 30, 33)
    logits.sum().backward()
    assert all(m.grad.abs().sum() > 0 for m in maps)
