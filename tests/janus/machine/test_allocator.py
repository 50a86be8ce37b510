"""What a cell is said to have used is its own."""

from __future__ import annotations

import sys

import pytest
import torch

from janus.machine.allocator import reuse_large_blocks
from janus.machine.provenance import peak_memory_bytes, reset_peak_memory

CPU = torch.device("cpu")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts anew")
def test_the_peak_of_an_earlier_cell_of_the_process_is_not_the_next_ones():
    if not reuse_large_blocks():
        pytest.skip("another C library")
    reset_peak_memory(CPU)
    before = peak_memory_bytes(CPU)
    blocks = [torch.ones(5_000_000) for _ in range(10)]
    assert peak_memory_bytes(CPU) > before + 150e6
    del blocks
    reset_peak_memory(CPU)
    assert peak_memory_bytes(CPU) < before + 50e6
