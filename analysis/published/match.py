"""Which published row a row of ours may be judged against, and what of it stands in the way.

A verdict is about the method that was published. A part switched off, another setting, fewer
images or other training makes another method of it, whatever the row is called: such a pair is
shown, with the reason, and gets no verdict. Learning rates alone may be tuned.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from analysis.published.read_csv import Published
from analysis.runs.load import Run, settings, text
from janus.config.cell import Cell, TrainConfig
from janus.config.compose import compose
from janus.config.method_spec import method_spec, read_yaml, readable_names

RATES = ("lr", "head_lr")
"""Settings that may be tuned for a bench without making another method."""

SWITCHES = {"oe": "estimate", "gr": "rectify", "dml": "margin_loss"}
"""The parts that the rows of Janus-LoRA's published ablation are named by."""

FEWER = ("train_per_class", "test_per_class", "stored_side")
"""Fields of a bench that no published figure has."""


def variant_of(method: str, label: str) -> str:
    """What a row's label has in brackets: `oe+gr` of `janus[oe+gr] [2]`, '' of `janus [2]`."""
    inside = label.removeprefix(method)
    return inside[1:].partition("]")[0] if inside.startswith("[") else ""


def same_row(method: str, label: str, figure: Published) -> bool:
    """Whether the two are to be shown together: `janus[oe+gr]` is the published variant `oe+gr`; a
    row without brackets, or named by its settings, goes with the whole method.
    """
    variant = variant_of(method, label)
    return method == figure.method and (
        figure.variant == variant or ("=" in variant and not figure.variant)
    )


def obstacle(run: Run, figure: Published, allow: Collection[str] = ()) -> str:
    """Why no run with the settings of `run` can confirm or refute `figure`; '' where it can."""
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


def _settings(run: Run, figure: Published) -> list[str]:
    """Settings that differ from the method's own for the bench, with the published row's parts.

    Both as identities have them: a value with an earlier meaning differs (`cosine`, `cosine@2`), a
    setting later than the run counts as its neutral value, and an earlier revision of the method's
    code is another configuration.
    """
    neutral = method_spec(run.method).neutral
    method = _own(run.bench, run.method).method.identity()
    own = {**neutral, **method["values"], "revision": method["revision"]}
    if figure.variant:
        parts = SWITCHES if figure.variant == "all" else figure.variant.split("+")
        own |= {name: part in parts for part, name in SWITCHES.items()}
    ours = {**neutral, **settings(run)}
    return _differing({n: v for n, v in ours.items() if n in own and n not in RATES}, own)


def _images(run: Run) -> list[str]:
    bench = run.cell["bench"]
    found = [f"{name}={text(bench[name])}" for name in FEWER if bench.get(name) is not None]
    return found + ["scored on validation images"] * (run.eval != "test")


def _training(run: Run, stated: Collection[str]) -> list[str]:
    """Training that is neither the bench's nor the method's own; stated epochs are compared."""
    trained = run.cell["train"]
    unified = TrainConfig(**read_yaml("bench", run.bench).get("train", {}))
    shared, own = vars(unified), vars(_own(run.bench, run.method).train)
    asked = ["batch_size"] + ["epochs", "first_epochs"] * ("epochs" not in stated)
    ours = {n: trained[n] for n in asked}
    ours |= {n: trained.get(n, shared[n]) for n in ("clip", "warmup")}  # older runs have none
    return _differing({n: v for n, v in ours.items() if v != shared[n]}, own)


def _differing(ours: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    differ = {name: value for name, value in sorted(ours.items()) if value != own[name]}
    return [f"{name}={text(value)} instead of {text(own[name])}" for name, value in differ.items()]


@lru_cache
def _own(bench: str, method: str) -> Cell:
    """The method on the bench as its file has it, whatever split a run used."""
    return compose({"bench": bench, "method": method, "bench.split_sha256": "any"})
