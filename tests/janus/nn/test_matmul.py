"""Both libraries give the same products and gradients, in every layout that a network asks for."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from janus.nn import matmul
from janus.nn.cast_cache import keep_casts
from janus.nn.lora import attach_lora
from janus.nn.matmul import add_second_moment, linear
from tests.janus.nn.small_vit import IMAGES, vit

onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no oneDNN"
)


@pytest.fixture(params=[False, True], ids=["mkl", "onednn"])
def library(request, monkeypatch):
    """Either library, whatever the processor."""
    if request.param and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(matmul, "prefers_onednn", lambda: request.param)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


LAYOUTS = {
    "rows": lambda: drawn(70, 128),
    "images of tokens": lambda: drawn(3, 17, 128),
    "first tokens": lambda: drawn(3, 17, 128)[:, :1],
    "columns": lambda: drawn(128, 70).mT,
    "every other row": lambda: drawn(70, 128)[::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_and_its_gradients(library, layout, bias):
    inputs = [LAYOUTS[layout](), drawn(256, 128), drawn(256) if bias else None]
    upstream = drawn(*inputs[0].shape[:-1], 256)
    found = {}
    for call in (functional.linear, linear):
        given = [None if t is None else t.clone().requires_grad_() for t in inputs]
        out = call(*given)
        out.backward(upstream)
        found[call] = [out.detach(), *[t.grad for t in given if t is not None]]
    for one, other in zip(*found.values(), strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() < 1e-5 * one.abs().max()


def test_gradients_that_lie_in_memory_in_another_order(library):
    x, weight = drawn(70, 128).requires_grad_(), drawn(256, 128)
    upstream = drawn(256, 70).mT
    linear(x, weight).backward(upstream)
    assert torch.allclose(x.grad, upstream @ weight, rtol=1e-5, atol=1e-4)


def test_frozen_weights_get_no_gradient_and_inputs_without_one_need_none(library):
    x, weight = drawn(70, 128), drawn(256, 128)
    assert not linear(x, weight).requires_grad
    linear(x.requires_grad_(), weight).sum().backward()
    assert weight.grad is None and x.grad is not None


@onednn
def test_what_is_not_a_large_float32_product_stays_with_torch(monkeypatch):
    monkeypatch.setattr(matmul, "prefers_onednn", lambda: True)
    monkeypatch.setattr(matmul, "_product", lambda *_: pytest.fail("called"))
    linear(drawn(9, 8), drawn(8, 8))
    linear(drawn(9, 128).double(), drawn(256, 128).double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(drawn(9, 128), drawn(256, 128)).dtype == torch.bfloat16


@pytest.mark.parametrize("width", [100, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_second_moments(library, width, dtype):
    # a large mean: what rounding the sums to bf16 would drown the rest in
    rows = (drawn(500, width) + 10).to(dtype)
    total = torch.zeros(width, width)
    for _ in range(2):
        add_second_moment(total, rows, decay=0.5)
    exact = 1.5 * rows.double().mT @ rows.double()
    assert ((total - exact).triu().abs().max() < 1e-5 * exact.abs().max()).item()


def test_a_network_trains_alike_with_both(monkeypatch):
    found = []
    for choice in (False, hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        monkeypatch.setattr(matmul, "prefers_onednn", lambda choice=choice: choice)
        monkeypatch.setattr(matmul, "SMALLEST", 1)
        model = keep_casts(vit())
        layers = attach_lora(model, "kv", 4, 1.0)
        for layer in layers:
            torch.nn.init.normal_(layer.a, generator=torch.Generator().manual_seed(layer.block))
            torch.nn.init.normal_(layer.b, generator=torch.Generator().manual_seed(9))
        features = model(IMAGES)
        (features * drawn(*features.shape)).sum().backward()
        found.append(torch.cat([p.grad.flatten() for x in layers for p in (x.a, x.b)]))
    assert (found[0] - found[1]).abs().max() < 1e-4 * found[0].abs().max()
