"""The bench `renditions`: its images are the same everywhere, balanced, and legible in kind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from janus.config.compose import compose
from janus.data.glyphs import bundle, renditions
from janus.data.glyphs.__main__ import main
from janus.data.load_bench import load_images, read_originals
from janus.errors import DataError


@pytest.fixture(scope="module")
def made() -> dict[str, renditions.Renditions]:
    data = bundle.load_glyphs()
    return {split: renditions.render_split(data, split) for split in ("train", "test")}


def test_images_are_the_declared_split() -> None:
    config = compose({"bench": "renditions"}).bench
    assert read_originals(config).sha256 == config.split_sha256


@pytest.mark.parametrize(("split", "each"), [("train", 20), ("test", 20)])
def test_every_class_has_as_many_images_of_each_kind(
    made: dict[str, renditions.Renditions], split: str, each: int
) -> None:
    part = made[split]
    counts = Counter(zip(part.labels.tolist(), part.kinds.tolist(), strict=True))
    assert len(counts) == len(bundle.CLASSES) * len(renditions.KINDS)
    assert set(counts.values()) == {each}


def test_no_drawing_is_rendered_twice_for_training_and_each_test_drawing_in_every_kind(
    made: dict[str, renditions.Renditions],
) -> None:
    data = bundle.load_glyphs()
    assert len(made["train"].images) == len(data.train_images)
    assert (made["test"].kinds.reshape(-1, 3) == [0, 1, 2]).all()
    np.testing.assert_array_equal(made["test"].labels[::3], data.test_labels)
    np.testing.assert_array_equal(made["test"].families[::3], data.test_families)


def test_kinds_differ_in_contrast_as_described(made: dict[str, renditions.Renditions]) -> None:
    part = made["train"]
    faint, on_texture, in_texture = (part.images[part.kinds == k].astype(int) for k in range(3))
    assert faint.min() >= 110 and faint.max() <= 173
    assert on_texture.max() > 200 and in_texture.max() > 200
    corners = in_texture[:, ::31, ::31]
    assert corners.max() <= 90  # the pattern around is darker than the one inside
    assert np.ptp(on_texture, axis=(1, 2)).min() >= 90


def test_a_rendition_keeps_the_glyph(made: dict[str, renditions.Renditions]) -> None:
    """Faint images are the glyph under a small affine change: as bright in total, to a third."""
    data, part = bundle.load_glyphs(), made["train"]
    faint = part.kinds == 0
    ink = data.train_images[faint].sum(axis=(1, 2), dtype=np.int64)
    light = (part.images[faint].astype(np.int64) - 110).sum(axis=(1, 2))
    # light per ink is gain (0.12 to 0.25) over zoom squared (0.80 to 1.38)
    ratio = light / ink
    assert np.quantile(ratio, 0.01) > 0.06 and np.quantile(ratio, 0.99) < 0.33
    assert np.corrcoef(ink, light)[0, 1] > 0.8


def test_validation_holds_out_whole_font_families(made: dict[str, renditions.Renditions]) -> None:
    bench = load_images(compose({"bench": "renditions", "eval": "validation"}).bench)
    assert len(bench.train) == 4800 and len(bench.test) == 1200
    for label in (0, 57):
        train = set(bench.train.groups[bench.train.labels == label].tolist())
        test = set(bench.test.groups[bench.test.labels == label].tolist())
        assert len(train & test) <= 1


def test_a_root_is_refused_since_the_bench_is_bundled() -> None:
    with pytest.raises(DataError, match=r"leave out bench\.root"):
        load_images(compose({"bench": "renditions", "bench.root": "/data"}).bench)


def test_contact_sheet_shows_every_class_in_every_kind(tmp_path: Path) -> None:
    assert main(["renditions", str(tmp_path / "sheet.png")]) == 0
    picture = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert picture.shape == (4 * (3 * 34 + 8), 25 * 34)
    assert (picture[:32, :32] >= 110).all()
