"""Frozen adapters: summed, scaled, selected."""

from __future__ import annotations

import torch
from torch import nn

from janus.nn.lora import LoraQKV
from janus.nn.lora_bank import AdapterBank


def layers(ranks=(3, 2), width=8, blocks=2):
    """Layers and a bank of random adapters of these ranks."""
    g = torch.Generator().manual_seed(0)
    made = [LoraQKV(nn.Linear(width, 3 * width), i, "qv", 3, 1.0) for i in range(blocks)]
    bank = AdapterBank()
    for rank in ranks:
        for layer in made:
            layer.a = nn.Parameter(torch.randn(2, rank, width, generator=g))
            layer.b = nn.Parameter(torch.randn(2, width, rank, generator=g))
        bank.add(made)
    for layer in made:
        layer.b.data.zero_()
    return made, bank


def test_installed_bank_adds_every_entry_times_its_gain():
    made, bank = layers()
    x = torch.randn(4, 5, 8)
    plain = [layer.linear(x) for layer in made]
    bank.install(made, unit=False)
    gains = torch.tensor([0.5, -2.0])
    for block, layer in enumerate(made):
        layer.gains = bank.gains_per_rank(gains)
        expected = plain[block].clone()
        for entry, gain in zip(bank.entries, gains, strict=True):
            a, b = entry[block]
            for target, rows in enumerate((slice(0, 8), slice(16, 24))):
                expected[..., rows] += gain * x @ (b[target] @ a[target]).mT
        assert torch.allclose(layer(x), expected, atol=1e-5)


def test_gain_minus_one_takes_a_merged_adapter_out_again():
    made, bank = layers(ranks=(3,))
    x = torch.randn(4, 5, 8)
    before = [layer(x).detach() for layer in made]
    for layer, (a, b) in zip(made, bank.pairs(0), strict=True):
        layer.a.data, layer.b.data = a.clone(), b.clone()
        layer.merge()
    bank.install(made, unit=False)
    for layer, expected in zip(made, before, strict=True):
        assert not torch.allclose(layer.linear(x), expected, atol=1e-2)
        layer.gains = bank.gains_per_rank(-torch.ones(1))
        assert torch.allclose(layer(x), expected, atol=1e-4)


def test_gram_equals_inner_products_of_dense_unit_directions():
    _, bank = layers(ranks=(3, 2, 1))
    directions = []
    for entry in bank.entries:
        parts = [b[t] @ a[t] / (b[t].norm() * a[t].norm()) for a, b in entry for t in range(len(a))]
        directions.append(torch.stack(parts).flatten().double())
    dense = torch.stack(directions)
    assert torch.allclose(bank.gram(), dense @ dense.mT, atol=1e-6)


def test_fit_of_an_old_direction_is_exact_and_of_an_orthogonal_one_is_nothing():
    _, bank = layers(ranks=(2, 2))
    bank.entries.append([(a.clone(), 5 * b) for a, b in bank.entries[1]])
    fit, residual = bank.fit_last()
    assert torch.allclose(fit, torch.tensor([0.0, 1.0]).double(), atol=1e-5) and residual < 1e-9
    narrow = [(torch.eye(8)[:2].expand(2, 2, 8), b) for _, b in bank.entries[0]]
    other = [(torch.eye(8)[2:4].expand(2, 2, 8), b) for _, b in bank.entries[0]]
    bank.entries = [narrow, other]
    _, residual = bank.fit_last()
    assert residual > 1 - 1e-9
