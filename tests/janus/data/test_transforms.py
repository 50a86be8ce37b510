"""Our transforms against torchvision's per-image Pillow pipeline, which this literature uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torchvision import transforms

from janus.config.compose import compose
from janus.data.images.flat_images import flat_images
from janus.data.images.images import Images
from janus.data.images.resample import Boxes, crop_resize, draw_boxes
from janus.data.images.transforms import plain_view, train_view
from janus.data.images.varied_size import VariedSizeImages
from janus.errors import ConfigError
from janus.keyed_random import generator

CPU = torch.device("cpu")
SIZES = [(40, 40), (37, 61), (90, 45), (33, 200), (128, 129), (32, 32)]
LEVEL = 1.01 / 255
"""One grey level: Pillow rounds between its two passes, the array code at most once."""


def picture(height, width, seed=0):
    """Smooth shapes with hard edges, so that a shift or another kernel shows."""
    y, x = np.mgrid[:height, :width]
    draw = np.random.default_rng(seed + height * 1000 + width)
    bands = 100 + 80 * np.sin(x[..., None] / draw.uniform(2, 9, 3) + y[..., None] / 7)
    bands[height // 3 : height // 2, width // 4 : width // 2] = draw.integers(0, 256, 3)
    return torch.from_numpy(bands.clip(0, 255).astype(np.uint8))


def images_of(store):
    count = len(SIZES) if isinstance(store, VariedSizeImages) else len(store)
    zeros = torch.zeros(count, dtype=torch.long)
    return Images(store, zeros, zeros, zeros)


def cell_of(**bench):
    named = {f"bench.{k}" if "__" not in k else k.replace("__", "."): v for k, v in bench.items()}
    plain = {"backbone.channels": 3, "backbone.mean": 0.0, "backbone.std": 1.0}
    return compose({"bench": "glyphs", "backbone": "toy", **plain, **named})


def pillow(image):
    return Image.fromarray(image.numpy())


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("share", [1.0, 0.875])
@pytest.mark.parametrize("kind", ["one size", "larger from one size", "many sizes"])
def test_test_transform_equals_pillow_to_within_a_grey_level(kernel, share, kind):
    cell = cell_of(test_crop=share, test_interpolation=kernel)
    sources = [picture(h, w) for h, w in SIZES]
    if kind != "many sizes":  # CIFAR's images are enlarged
        side = 45 if kind == "one size" else 13
        sources = [picture(side, side, seed) for seed in range(4)]
        store = torch.stack(sources).permute(0, 3, 1, 2)
    else:
        store = flat_images(sources)
    mode = getattr(transforms.InterpolationMode, kernel.upper())
    theirs = transforms.Compose(
        [
            transforms.Resize(round(32 / share), interpolation=mode),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
        ]
    )
    found = plain_view(images_of(store), cell, CPU)
    allowed = 1e-6 if kind == "many sizes" else LEVEL
    for mine, image in zip(found, sources, strict=True):
        assert (mine - theirs(pillow(image))).abs().max() <= allowed


@pytest.mark.parametrize("size", [16, 32, 70])
@pytest.mark.parametrize("kind", ["one size", "many sizes"])
def test_a_given_crop_equals_pillow_to_within_a_grey_level(size, kind):
    sizes = [(48, 40)] * 6 if kind == "one size" else SIZES
    sources = [picture(h, w, seed) for seed, (h, w) in enumerate(sizes)]
    boxes = draw_boxes(torch.tensor(sizes), 0.05, 4 / 3, generator("boxes", size))
    if kind == "one size":
        x = torch.stack(sources).permute(0, 3, 1, 2).float() / 255
        found = crop_resize(x, boxes, size)
    else:
        found = flat_images(sources).crops(torch.arange(len(sizes)), boxes, size).float() / 255
    assert boxes.flip.any() and not boxes.flip.all()
    for n, image in enumerate(sources):
        top, left, h, w = (int(v[n]) for v in (boxes.top, boxes.left, boxes.height, boxes.width))
        part = pillow(image).crop((left, top, left + w, top + h))
        part = part.resize((size, size), Image.Resampling.BILINEAR)
        theirs = transforms.ToTensor()(part)
        theirs = theirs.flip(-1) if boxes.flip[n] else theirs
        assert (found[n] - theirs).abs().max() <= LEVEL


@pytest.mark.parametrize(("height", "width"), [(60, 90), (64, 64)])
def test_boxes_are_distributed_as_torchvision_draws_them(height, width):
    count = 4000
    torch.manual_seed(0)
    image = torch.zeros(3, height, width)
    draw = transforms.RandomResizedCrop.get_params
    theirs = np.array([draw(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(count)])
    boxes = draw_boxes(torch.tensor([[height, width]]).expand(count, 2), 0.08, 4 / 3, generator(1))
    ours = torch.stack([boxes.top, boxes.left, boxes.height, boxes.width], 1).numpy()
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    for of in (lambda b: b[:, 2] * b[:, 3] / (height * width), lambda b: b[:, 3] / b[:, 2]):
        assert stats.ks_2samp(of(ours), of(theirs)).pvalue > 1e-3
        assert abs(of(ours).max() - of(theirs).max()) < 0.03  # large crops are few
        assert abs(of(ours).min() - of(theirs).min()) < 0.03
    assert 0.45 < boxes.flip.float().mean() < 0.55


@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.floats(0.01, 1),
    st.floats(1, 3),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_boxes_lie_inside_the_image(size, scale, ratio, seed):
    sizes = torch.tensor([size]).expand(16, 2)
    b = draw_boxes(sizes, scale, ratio, generator(seed))
    assert (b.top >= 0).all() and (b.left >= 0).all()
    assert (b.height >= 1).all() and (b.width >= 1).all()
    assert (b.top + b.height <= size[0]).all() and (b.left + b.width <= size[1]).all()


@pytest.mark.parametrize("size", [(10, 400), (400, 10)])
def test_a_strip_falls_back_to_the_centre_as_torchvision_does(size):
    theirs = transforms.RandomResizedCrop.get_params(
        torch.zeros(3, *size), [0.9, 1.0], [0.75, 4 / 3]
    )
    b = draw_boxes(torch.tensor([size]), 0.9, 4 / 3, generator("strip"))
    assert (int(b.top), int(b.left), int(b.height), int(b.width)) == theirs


def test_the_whole_image_at_its_own_size_comes_back_unchanged():
    x = torch.rand(3, 3, 20, 20)
    zero, full = torch.zeros(3, dtype=torch.long), torch.full((3,), 20)
    found = crop_resize(x, Boxes(zero, zero, full, full, torch.tensor([False, True, False])), 20)
    assert torch.allclose(found[0], x[0], atol=1e-6)
    assert torch.allclose(found[1], x[1].flip(-1), atol=1e-6)


def test_training_views_are_a_function_of_their_key_alone():
    cell = cell_of(augment="crop")
    images = images_of(flat_images([picture(h, w) for h, w in SIZES]))
    one, two = (train_view(images, cell, CPU, generator("k", 0)) for _ in range(2))
    assert torch.equal(one, two) and one.shape == (6, 3, 32, 32)
    assert not torch.equal(one, train_view(images, cell, CPU, generator("k", 1)))


def test_crops_under_autocast_are_those_without_it():
    """Methods make an extra pass over augmented images inside autocast."""
    cell = cell_of(augment="crop")
    images = images_of(torch.stack([picture(45, 45, n) for n in range(4)]).permute(0, 3, 1, 2))
    plain = train_view(images, cell, CPU, generator("k"))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(train_view(images, cell, CPU, generator("k")), plain)


@pytest.mark.parametrize("kind", ["one size", "many sizes"])
@pytest.mark.parametrize("augmentation", ["none", "crop"])
def test_imagenets_mean_and_std_are_those_of_torchvision(augmentation, kind):
    normal = {"augment": augmentation, "test_crop": 0.875}
    cell, plain = cell_of(**normal, backbone__imagenet_stats=True), cell_of(**normal)
    sources = [picture(40, 40, n) for n in range(3)]
    many = kind == "many sizes"
    images = images_of(flat_images(sources) if many else torch.stack(sources).permute(0, 3, 1, 2))
    if many:
        images = images.take(torch.arange(3))
    theirs = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = theirs(train_view(images, plain, CPU, generator("n")))
    assert torch.allclose(train_view(images, cell, CPU, generator("n")), expected, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"mean": 0.5}, {"std": 0.5}, {"channels": 1}])
def test_imagenets_mean_and_std_take_the_place_of_others(wrong):
    named = {f"backbone__{key}": value for key, value in wrong.items()}
    with pytest.raises(ConfigError, match="imagenet_stats takes the place"):
        cell_of(backbone__imagenet_stats=True, **named)


def test_parts_of_a_bench_share_its_memory():
    store = torch.zeros(10, 1, 8, 8, dtype=torch.uint8)
    images = images_of(store)
    part = images.take(torch.tensor([4, 2, 7])).take(torch.tensor([2, 0]))
    assert part.store is store and part.where().tolist() == [7, 4]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augmentation", ["none", "crop"])
@pytest.mark.parametrize("kind", ["one size", "many sizes"])
def test_views_on_a_gpu_equal_those_on_the_cpu(kind, augmentation):
    cell = cell_of(augment=augmentation, test_crop=0.875)
    sources = [picture(45, 45, n) if kind == "one size" else picture(*SIZES[n]) for n in range(6)]
    store = torch.stack(sources).permute(0, 3, 1, 2) if kind == "one size" else flat_images(sources)
    images = images_of(store)
    views = [train_view(images, cell, d, generator("g")) for d in (CPU, torch.device("cuda"))]
    assert (views[0] - views[1].cpu()).abs().max() < 1e-4
