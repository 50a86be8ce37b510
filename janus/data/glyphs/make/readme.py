"""Writes `assets/README.md` on the two bundled files: sizes, hashes, fonts and accuracies.

The text is generated, so that no number in it is typed by hand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from janus.data.glyphs import bundle, fonts

README = bundle.ASSETS / "README.md"

_TEXT = """\
# The bundled bench and backbone

Written by `python -m janus.data.glyphs.make.pretrain readme`; do not edit.

| file | bytes | SHA-256 |
|---|---|---|
{files}

* `glyphs.npz`: {classes} glyph classes, 32x32 grey, white on black; {train} train and {test} test
  images a class, balanced over {styles} styles ({style_names}). Train and test images come from
  different font families. `janus.data.glyphs.bundle.load_glyphs()` reads it with numpy alone.
* `glyph_vit.safetensors`: a vision transformer (width 128, 6 blocks, 8x8 patches, 1.2 M
  parameters) in half precision, without a classifier, pretrained on {characters} other characters
  ({images} images, {epochs} epochs, seed {seed}). None of them is a bench class or looks like one
  (`janus.data.glyphs.make.pretrain_set.HOMOGLYPHS`), and no test family drew them.
  Arrays drawn for it: SHA-256 `{data_sha256}`.

The backbone stands to the bench as ImageNet weights stand to CIFAR-100. Numbers on it say how
methods compare here; they are not results on any published benchmark.

## Classes

```text
{class_lines}
```

Characters that size and position jitter makes alike (0 O o, 1 I l, c C, p P, s S, ...) stand for
one class only; see the comment at `CLASSES` in `janus/data/glyphs/bundle.py`.

## What frozen features are worth

Test accuracy over all {classes} classes, from `python -m janus.data.glyphs.make.pretrain report`.
Nearest class mean: L2-normalised features, cosine.

| features | test accuracy (%) |
|---|---|
{accuracies}

## Rebuilding

On Debian 12, with Pillow's and fontTools' wheels (other versions of FreeType may move single grey
levels, and so the hash):

```sh
{install}
python -m janus.data.glyphs build     # seconds; the same bytes each time
python -m janus.data.glyphs.make.pretrain train        # 5 to 15 minutes on 2 cores
python -m janus.data.glyphs.make.pretrain readme
```

Floating-point sums differ between processors, so retrained weights need not be bit-identical.

## Fonts

{families} families. The files here hold drawn images and weights, no font program.
{counts}

{fonts}
"""


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _counts() -> str:
    styles = fonts.STYLES
    head = ["| | " + " | ".join(styles) + " |", "|---" * (len(styles) + 1) + "|"]
    rows = [
        f"| {split} | "
        + " | ".join(str(len(fonts.families(style, split))) for style in styles)
        + " |"
        for split in bundle.PER_STYLE
    ]
    return "\n" + "\n".join([*head, *rows])


def text(accuracies: Mapping[str, float], weights: Path) -> str:
    """The text of the README; `accuracies` (fractions) are from `pretrain.measure_accuracies`."""
    with safe_open(weights, framework="numpy") as stored:
        metadata: dict[str, str] = stored.metadata()
    files = [
        f"| `{path.name}` | {path.stat().st_size} | `{sha256(path)}` |"
        for path in (bundle.PATH, weights)
    ]
    lines = ["".join(bundle.CLASSES[i : i + 25]) for i in range(0, len(bundle.CLASSES), 25)]
    return _TEXT.format(
        files="\n".join(files),
        classes=len(bundle.CLASSES),
        styles=len(fonts.STYLES),
        style_names=", ".join(fonts.STYLES),
        train=bundle.PER_STYLE["train"] * len(fonts.STYLES),
        test=bundle.PER_STYLE["test"] * len(fonts.STYLES),
        characters=metadata["characters"],
        images=metadata["images"],
        epochs=metadata["epochs"],
        seed=json.loads(metadata["recipe"])["seed"],
        data_sha256=metadata["data_sha256"],
        class_lines="\n".join(lines),
        accuracies="\n".join(f"| {what} | {100 * a:.1f} |" for what, a in accuracies.items()),
        install=fonts.install_line(),
        families=len(fonts.FAMILIES),
        counts=_counts(),
        fonts=fonts.markdown_table(),
    )


def write_readme(accuracies: Mapping[str, float], weights: Path) -> None:
    """Write the README into the folder of the assets."""
    README.write_text(text(accuracies, weights), encoding="utf-8")
