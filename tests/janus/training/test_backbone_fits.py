"""Networks that a method cannot run on are refused before training; colours have their own mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from janus.config.colours import IMAGENET
from janus.config.compose import compose
from janus.config.overrides import parse_overrides
from janus.data.images.pixels import normalise
from janus.errors import ConfigError
from janus.store.store import Store
from janus.training.backbone_fits import is_plain
from janus.training.loop import run_cell
from tests.janus.training import backbone_table

PAGE = Path(__file__).parents[3] / "docs" / "backbones.md"
TOY = ["bench=glyphs", "backbone=toy", "method=ncm", "backbone.channels=3"]


def toy(*words: str):
    return compose(parse_overrides([*TOY, *words]))


@pytest.mark.parametrize(
    ("network", "method"),
    [("BEiT", "seqlora"), ("EVA-02", "coda_prompt"), ("DINOv3", "coda_prompt"), ("Swin", "l2p")],
)
def test_a_method_that_does_not_fit_is_refused_by_name_and_nothing_is_committed(
    network, method, tmp_path
):
    cell, store = backbone_table.cell_of(network, method), Store(tmp_path)
    with pytest.raises(ConfigError) as refused:
        run_cell(cell, store)
    assert "\n" not in str(refused.value) and "vit_" in str(refused.value)
    assert not store.done() and store.status(cell.id) == "failed"


def test_an_odd_network_that_fits_is_trained(tmp_path):
    cell = backbone_table.cell_of("DINOv3", "ncm")
    assert run_cell(cell, Store(tmp_path)) is not None


def test_plain_networks_are_not_tried_twice():
    assert is_plain("vit_base_patch16_224.augreg_in21k") and is_plain("deit_tiny_patch16_224")
    assert not is_plain("vit_small_patch16_dinov3") and not is_plain("beit_base_patch16_224")


@pytest.mark.slow
def test_the_page_shows_what_works():
    assert backbone_table.table() in PAGE.read_text()


def test_each_colour_has_its_mean_and_std():
    cell = toy("backbone.mean=[0.1,0.2,0.3]", "backbone.std=[0.5,0.25,1]")
    images = torch.full((1, 3, 2, 2), 0.6)
    found = normalise(images, cell.backbone)[0, :, 0, 0]
    assert found.tolist() == pytest.approx([1.0, 1.6, 0.3])


def test_colours_that_are_alike_are_the_cell_of_one_number():
    assert toy("backbone.mean=[0.5,0.5,0.5]", "backbone.std=0.5").id == (
        toy("backbone.mean=0.5", "backbone.std=0.5").id
    )
    mean, std = ([c[i] for c in IMAGENET] for i in (0, 1))
    assert toy(f"backbone.mean={mean}", f"backbone.std={std}").id == (
        toy("backbone.imagenet_stats=true", "backbone.mean=0", "backbone.std=1").id
    )
    assert "colour_stats" not in toy().backbone.identity()


@pytest.mark.parametrize(
    "words",
    [
        ["backbone.mean=[0.1,0.2]"],
        ["backbone.mean=[0.1,0.2,a]"],
        ["backbone.std=[0.1,0.2,0]"],
        ["backbone.mean=[0.1,0.2,0.3]", "backbone.channels=1"],
        ["backbone.mean=[0.1,0.2,0.3]", "backbone.imagenet_stats=true"],
    ],
)
def test_colours_that_cannot_be_are_refused(words):
    with pytest.raises(ConfigError, match="backbone"):
        toy(*words)
