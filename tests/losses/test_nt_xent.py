"""NT-Xent against another implementation, and its memory."""

import subprocess
import sys

import pytest
import torch
from lightly.loss import NTXentLoss

from eo_ssl.losses import nt_xent
from eo_ssl.losses.common import sum_over_chunks


@pytest.mark.parametrize("pairs", [2, 33])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equals_lightly_in_value_and_gradient(pairs, temperature):
    z = torch.randn(2, pairs, 24, generator=torch.Generator().manual_seed(0))
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    a, b = nt_xent(*ours, temperature, chunk=5), NTXentLoss(temperature)(*theirs)
    a.backward()
    b.backward()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_negatives_of_the_same_sensor_count():
    z1, z2 = torch.eye(4)[:3], torch.eye(4)[:3]
    alike = z1.clone()
    alike[1] = z1[0]  # two S1 embeddings fall together
    assert nt_xent(alike, z2, 0.1) > nt_xent(z1, z2, 0.1) + 1


def test_no_block_of_logits_is_larger_than_the_chunk():
    shapes = []

    def block_loss(rows, anchors, keys):
        shapes.append((len(anchors), len(keys)))
        return (anchors @ keys.T).sum()

    anchors, keys = torch.randn(10, 3, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    sum_over_chunks(block_loss, anchors, keys, 4).backward()
    assert shapes == [(4, 7), (4, 7), (2, 7)]
    torch.testing.assert_close(anchors.grad, keys.detach().sum(0).expand(10, 3))
    torch.testing.assert_close(keys.grad, anchors.detach().sum(0).expand(7, 3))


PEAK = """
import pathlib, torch
from eo_ssl.losses import nt_xent
def peak():
    return int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
nt_xent(*torch.randn(2, 8, 32, requires_grad=True), 0.1).backward()
for pairs in (1024, 4096):
    z = torch.randn(2, pairs, 32, requires_grad=True)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    nt_xent(*z, 0.1).backward()
    print((peak() - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_the_process_does_not_grow_with_the_square_of_the_pairs():
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    small, large = map(float, run.stdout.split())  # MiB; one square matrix of 8,192 float32 has 256
    assert large < 120 and large - small < 64
