"""Matches our rows to published rows and says why a pair is not comparable.

A verdict concerns the method as it was published. A run with a part switched off, with another
setting, fewer images or other training is of another method, even under the same name: the pair is
shown as not comparable, with the reason. Only learning rates may differ.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from analysis.published.read_csv import Published
from analysis.runs.load import RunRecord, settings, value_text
from janus.config.cell import Cell, TrainConfig
from janus.config.compose import compose
from janus.config.method_spec import method_spec, read_spec, readable_names

RATES = ("lr", "head_lr")
"""Settings of a method that may differ from the published ones: learning rates."""

SWITCHES = {"oe": "estimate", "gr": "rectify", "dml": "margin_loss"}
"""{part in the row names of Janus-LoRA's published ablation: our setting that switches it on}."""

FEWER = ("train_per_class", "test_per_class", "stored_side")
"""Fields of a bench that reduce the images; no published figure was measured on reduced images."""


def variant_of(method: str, label: str) -> str:
    """The text in brackets of a row's label: `oe+gr` for `janus[oe+gr] [2]`, '' for `janus [2]`."""
    inside = label.removeprefix(method)
    return inside[1:].partition("]")[0] if inside.startswith("[") else ""


def same_row(method: str, label: str, figure: Published) -> bool:
    """Whether our row and the published figure are of the same method and variant.

    `janus[oe+gr]` is the published variant `oe+gr`. A row without brackets, or with settings in the
    brackets (`janus[rank=4]`), matches published figures without a variant.
    """
    variant = variant_of(method, label)
    return method == figure.method and (
        figure.variant == variant or ("=" in variant and not figure.variant)
    )


def obstacle(run: RunRecord, figure: Published, allow: Collection[str] = ()) -> str:
    """The reason why runs with these settings cannot confirm or refute `figure`; '' if they can."""
    if run.method not in readable_names("method") or run.bench not in readable_names("bench"):
        return "the method's own settings on this bench are not known here"
    if figure.variant and not _is_ablation(figure):
        return "the settings of the published row are not known"
    stated = {*figure.protocol, *allow}
    found = [*_settings(run, figure), *_images(run), *_training(run, stated)]
    return f"ours is not the published configuration: {', '.join(found)}" if found else ""


def _is_ablation(figure: Published) -> bool:
    parts = set(figure.variant.split("+"))
    return figure.method == "janus" and (figure.variant in ("none", "all") or parts <= {*SWITCHES})


def _settings(run: RunRecord, figure: Published) -> list[str]:
    """The run's settings that differ from those of the published row: `rank=4 instead of 16` each.

    The settings of the published row are taken to be those of the method's YAML for the bench, with
    the row's parts switched on. Values are compared as in identities: `cosine` and `cosine@2`
    differ, a setting that is newer than the run has its neutral value, and another revision of the
    method's code differs.
    """
    neutral = method_spec(run.method).neutral
    method = _own(run.bench, run.method).method.identity()
    own = {**neutral, **method["values"], "revision": method["revision"]}
    if figure.variant:
        parts = SWITCHES if figure.variant == "all" else figure.variant.split("+")
        own |= {name: part in parts for part, name in SWITCHES.items()}
    ours = {**neutral, **settings(run)}
    return _differing({n: v for n, v in ours.items() if n in own and n not in RATES}, own)


def _images(run: RunRecord) -> list[str]:
    bench = run.cell["bench"]
    found = [f"{name}={value_text(bench[name])}" for name in FEWER if bench.get(name) is not None]
    return found + ["scored on validation images"] * (run.eval != "test")


def _training(run: RunRecord, stated: Collection[str]) -> list[str]:
    """The run's training values that are neither those of the bench nor of the method.

    Each is a text like `batch_size=8 instead of 128`. Epochs are left out if `stated` (the protocol
    fields of the figure, and allowed ones) has them: they are compared as part of the protocol.
    """
    trained = run.cell["train"]
    unified = TrainConfig(**read_spec("bench", run.bench).get("train", {}))
    shared, own = vars(unified), vars(_own(run.bench, run.method).train)
    asked = ["batch_size"] + ["epochs", "first_epochs"] * ("epochs" not in stated)
    ours = {n: trained[n] for n in asked}
    ours |= {n: trained.get(n, shared[n]) for n in ("clip", "warmup")}  # older runs lack them
    return _differing({n: v for n, v in ours.items() if v != shared[n]}, own)


def _differing(ours: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    differ = {name: value for name, value in sorted(ours.items()) if value != own[name]}
    return [
        f"{name}={value_text(value)} instead of {value_text(own[name])}"
        for name, value in differ.items()
    ]


@lru_cache
def _own(bench: str, method: str) -> Cell:
    """The cell of the method on the bench with the settings of its YAML, whatever the split is."""
    return compose({"bench": bench, "method": method, "bench.split_sha256": "any"})
