"""The bundled bench and backbone: counts, split by family, recorded hashes, kept-apart characters.

Fast tests need no fonts; those that draw are slow and skipped where fonts are missing.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from janus.data.glyphs import bundle, fonts
from janus.data.glyphs.make import pretrain_set
from janus.data.glyphs.make.readme import README, sha256
from janus.errors import DataError

WEIGHTS = bundle.ASSETS / "glyph_vit.safetensors"
needs_fonts = pytest.mark.skipif(bool(fonts.missing_files()), reason="fonts not installed")


@pytest.fixture(scope="module")
def data() -> bundle.GlyphData:
    return bundle.load_glyphs()


def test_classes_are_distinct_and_at_least_a_hundred() -> None:
    assert len(set(bundle.CLASSES)) == len(bundle.CLASSES) >= 100


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_class_and_style_has_the_declared_number_of_images(
    data: bundle.GlyphData, split: str
) -> None:
    labels, styles = getattr(data, f"{split}_labels"), getattr(data, f"{split}_styles")
    counts = Counter(zip(labels.tolist(), styles.tolist(), strict=True))
    assert len(counts) == len(bundle.CLASSES) * len(fonts.STYLES)
    assert set(counts.values()) == {bundle.PER_STYLE[split]}


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "test"])
def test_images_are_inked_never_clipped_and_never_repeated(
    data: bundle.GlyphData, split: str
) -> None:
    images = getattr(data, f"{split}_images")
    assert images.dtype == np.uint8 and images.shape[1:] == (32, 32)
    assert images.max(axis=(1, 2)).min() > 64
    assert max(images[:, [0, -1]].max(), images[:, :, [0, -1]].max()) == 0
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_train_and_test_images_come_from_different_families(data: bundle.GlyphData) -> None:
    train, test = set(data.train_families.tolist()), set(data.test_families.tolist())
    assert not train & test
    split_of = {family.name: family.split for family in fonts.FAMILIES}
    assert {split_of[data.families[i]] for i in train} == {"train"}
    assert {split_of[data.families[i]] for i in test} == {"test"}
    assert len(train | test) >= 40


def test_style_of_each_image_is_the_style_of_its_family(data: bundle.GlyphData) -> None:
    style_of = {family.name: fonts.STYLES.index(family.style) for family in fonts.FAMILIES}
    expected = [style_of[data.families[i]] for i in data.train_families]
    assert data.train_styles.tolist() == expected


@pytest.mark.parametrize("style", fonts.STYLES)
def test_every_style_has_enough_families_on_both_sides(style: str) -> None:
    assert len(fonts.families(style, "train")) >= 4
    assert len(fonts.families(style, "test")) >= 3


def test_family_names_and_files_appear_once() -> None:
    names = [family.name for family in fonts.FAMILIES]
    files = [path for family in fonts.FAMILIES for path in family.files()]
    assert len(set(names)) == len(names) >= 40
    assert len(set(files)) == len(files)


@pytest.mark.parametrize(("path", "limit"), [(bundle.PATH, 8_000_000), (WEIGHTS, 4_000_000)])
def test_asset_is_small_and_is_the_one_its_readme_records(path: Path, limit: int) -> None:
    assert path.stat().st_size < limit
    assert f"| `{path.name}` | {path.stat().st_size} | `{sha256(path)}` |" in README.read_text(
        encoding="utf-8"
    )


def test_readme_lists_every_font_of_the_table() -> None:
    assert fonts.markdown_table() in README.read_text(encoding="utf-8")


def test_pretraining_characters_are_neither_bench_classes_nor_look_alikes() -> None:
    characters = pretrain_set.CHARACTERS
    assert len(set(characters)) == len(characters) >= 200
    assert not set(characters) & pretrain_set.forbidden()


def test_pretraining_characters_are_not_unicode_variants_of_bench_classes() -> None:
    """Full-width, superscript and duplicate code points fold to the same character."""
    bench = {unicodedata.normalize("NFKC", c) for c in bundle.CLASSES}
    folded = {unicodedata.normalize("NFKC", c) for c in pretrain_set.CHARACTERS}
    assert not bench & folded


def test_every_listed_look_alike_belongs_to_a_bench_class() -> None:
    assert set(pretrain_set.HOMOGLYPHS) <= set(bundle.CLASSES)
    listed = "".join(pretrain_set.HOMOGLYPHS.values())
    assert not set(listed) & set(bundle.CLASSES)


def test_pretraining_uses_no_test_family() -> None:
    test = {family.name for family in fonts.FAMILIES if family.split == "test"}
    assert not test & set(pretrain_set.family_names())
    assert pretrain_set.family_names()


@pytest.mark.parametrize("kept", [0, 1000, 400_000])
def test_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    cut = tmp_path / "glyphs.npz"
    cut.write_bytes(bundle.PATH.read_bytes()[:kept])
    with pytest.raises(DataError, match="rebuild"):
        bundle.load_glyphs(cut)


def test_missing_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"python -m janus\.data\.glyphs build"):
        bundle.load_glyphs(tmp_path / "none.npz")


def test_file_with_other_classes_is_refused(tmp_path: Path) -> None:
    with np.load(bundle.PATH) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["classes"] = arrays["classes"][::-1]
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(DataError, match="other classes"):
        bundle.load_glyphs(tmp_path / "other.npz")


def test_loading_needs_neither_torch_nor_pillow_nor_fonttools() -> None:
    code = (
        "import sys; from janus.data.glyphs import bundle; bundle.load_glyphs(); "
        "print(sorted({'torch', 'PIL', 'fontTools'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_data_is_frozen(data: bundle.GlyphData) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.families = ()  # type: ignore[misc]


@pytest.mark.slow
@needs_fonts
def test_building_again_gives_the_same_bytes(tmp_path: Path) -> None:
    bundle.write_bundle(tmp_path / "again.npz")
    assert sha256(tmp_path / "again.npz") == sha256(bundle.PATH)


@pytest.mark.slow
@needs_fonts
def test_pretraining_images_are_reproducible() -> None:
    first, second = (
        pretrain_set.render_characters(1, seed=3),
        pretrain_set.render_characters(1, seed=3),
    )
    assert np.array_equal(first[0], second[0]) and len(first[2]) >= 200


def test_a_linear_probe_separates_what_class_means_do_not() -> None:
    from janus.data.glyphs.make.pretrain import linear_probe, nearest_mean

    draw = np.random.default_rng(0)
    labels = np.arange(400) % 2
    points = np.stack([2.0 * labels - 1, 50 * draw.standard_normal(400)], axis=1)
    parts = (points[:200], labels[:200], points[200:], labels[200:])
    assert nearest_mean(*parts) < 0.8 and linear_probe(*parts) == 1.0


def every_class(data: bundle.GlyphData) -> bundle.GlyphData:
    """Every fifth training and every second test image; images lie class by class."""
    return dataclasses.replace(
        data,
        train_images=data.train_images[::5],
        train_labels=data.train_labels[::5],
        test_images=data.test_images[::2],
        test_labels=data.test_labels[::2],
    )


@pytest.mark.slow
def test_pretrained_features_beat_pixels_and_leave_room_to_learn(
    data: bundle.GlyphData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On 12 training and 10 test images of each class, a quarter of all."""
    from janus.data.glyphs.make import pretrain

    monkeypatch.setattr(pretrain, "linear_probe", lambda *_: 1.0)  # nothing is asked of it here
    monkeypatch.setattr(bundle, "load_glyphs", lambda: every_class(data))
    found = pretrain.measure_accuracies()
    pretrained = found["pretrained ViT, nearest class mean"]
    others = [value for what, value in found.items() if not what.startswith("pretrained")]
    assert pretrained > max(others) + 0.2
    assert 0.6 < pretrained < 0.85
