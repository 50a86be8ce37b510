"""JANUS_PLAIN_TIMM=1: timm's network as it is, with the same features, and told in the record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from janus.config.compose import compose
from janus.machine.plain_timm import VARIABLE
from janus.nn import matmul
from janus.nn.lora import attach_lora
from janus.nn.vit import build_backbone
from janus.store.store import Store
from janus.training.loop import run_cell
from tests.conftest import toy_cell

CPU = torch.device("cpu")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv(VARIABLE, "1")
    matmul.prefers_onednn.cache_clear()
    yield monkeypatch
    matmul.prefers_onednn.cache_clear()


def images() -> torch.Tensor:
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def test_no_class_of_timm_is_changed_and_features_are_equal_up_to_rounding(plain):
    config = compose({"bench": "glyphs"}).backbone
    bare = build_backbone(config, CPU)
    assert type(bare) is VisionTransformer and not matmul.prefers_onednn()
    assert {type(block) for block in bare.blocks} == {Block}
    linears = [m for m in bare.modules() if isinstance(m, nn.Linear)]
    assert {type(linear) for linear in linears} == {nn.Linear}
    plain.delenv(VARIABLE)
    matmul.prefers_onednn.cache_clear()
    fast = build_backbone(config, CPU)
    assert type(fast) is not VisionTransformer
    torch.testing.assert_close(bare(images()), fast(images()), rtol=1e-4, atol=1e-5)


def test_adapters_train_on_the_plain_network(plain):
    bare = build_backbone(compose({"bench": "glyphs"}).backbone, CPU)
    wrappers = attach_lora(bare, "kv", 4, 1.0)
    for wrapper in wrappers:
        nn.init.normal_(wrapper.a)
    direction = torch.randn(4, 128, generator=torch.Generator().manual_seed(1))
    (bare(images()) * direction).sum().backward()
    assert all(w.b.grad is not None and w.b.grad.abs().sum() > 0 for w in wrappers)


def test_the_record_of_a_run_says_so(plain, tmp_path: Path):
    cell = toy_cell("seqlora", bench__tasks=2, train__epochs=1)
    store = Store(tmp_path)
    run_cell(cell, store)
    (numerics,) = store.provenance(cell.id)["numerics"]
    assert numerics["plain_timm"] is True
