"""What makes runs comparable, and the refusal when they are not."""

from __future__ import annotations

import pytest

from analysis.runs import load, protocol
from janus.errors import ComparisonError, ConfigError


def split(fake, *allow: str) -> list[protocol.Group]:
    runs = load.load_runs([fake.root]).runs
    return protocol.split_by_protocol(runs, load.labels(runs), allow)


def test_methods_orders_seeds_and_settings_are_not_protocol(fake):
    fake.add("janus", order=0)
    fake.add("janus", order=1, seed=3, method__rank=4)
    fake.add("seqlora", order="natural")
    (group,) = split(fake)
    assert (group.bench, group.protocol, len(group.runs)) == ("glyphs", (), 3)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"train__epochs": 7}, "epochs"),
        ({"train__first_epochs": 7}, "first_epochs"),
        ({"train__batch_size": 7}, "batch_size"),
        ({"train__precision": "bf16"}, "precision"),
        ({"bench__tasks": 4}, "tasks"),
        ({"bench__train_per_class": 30}, "train_per_class"),
        ({"bench__augment": "shift"}, "augment"),
        ({"eval": "validation"}, "eval"),
        ({"backbone": "toy", "backbone__weights": "bundled"}, "model_kwargs"),
        ({"backbone__image_size": 64}, "image_size"),
        ({"backbone__mean": 0.0}, "mean"),
        ({"backbone__std": 1.0}, "std"),
        ({"weights": "9" * 64}, "weights"),
    ],
)
def test_each_protocol_field_is_refused_when_it_differs(fake, other, field):
    fake.add("janus")
    fake.add("inflora", **other)
    with pytest.raises(ComparisonError) as refused:
        split(fake)
    listed = [line.split()[0] for line in str(refused.value).splitlines()[1:-1]]
    assert listed == [field]
    assert f"--allow {field} " in str(refused.value)


def test_split_core_and_schema_are_protocol(fake):
    fake.add()
    (run,) = load.load_runs([fake.root]).runs
    assert {"split", "core", "schema"} <= protocol.fields_of(run).keys()


def test_a_verified_hash_decides_and_not_what_was_declared(fake):
    fake.add("janus", weights="1" * 64)
    fake.add("inflora", weights="1" * 64, backbone__weights_sha256="1" * 64)
    assert len(split(fake)) == 1


def test_the_refusal_lists_every_difference_and_who_has_it(fake):
    fake.add("janus", order=0, train__epochs=50, weights="1" * 64)
    fake.add("inflora", order=0, train__epochs=20, weights="9" * 64)
    fake.add("inflora", order=1, train__epochs=20, weights="9" * 64)
    with pytest.raises(ComparisonError) as refused:
        split(fake)
    assert str(refused.value).splitlines() == [
        "cannot compare runs of 'inflora' and 'janus' on glyphs: protocol differs",
        "  weights  vit_tiny_patch16_224, bundled (sha 11111111…) (janus: 1 run)  vs  "
        "vit_tiny_patch16_224, bundled (sha 99999999…) (inflora: 2 runs)",
        "  epochs   20 (inflora: 2 runs)  vs  50 (janus: 1 run)",
        "Pass --allow weights,epochs to print them side by side with a footnote, "
        "or keep one kind with --where.",
    ]


def test_two_protocols_of_one_method_are_refused_too(fake):
    fake.add("janus", order=0, train__epochs=5)
    fake.add("janus", order=1, train__epochs=8)
    with pytest.raises(ComparisonError, match="runs of 'janus' on glyphs"):
        split(fake)


def test_allowed_differences_part_the_runs_and_others_are_still_refused(fake):
    fake.add("janus", train__epochs=5)
    fake.add("inflora", train__epochs=8)
    first, second = split(fake, "epochs")
    assert (first.protocol, second.protocol) == ((("epochs", "5"),), (("epochs", "8"),))
    assert [run.method for run in first.runs] == ["janus"]
    fake.add("seqlora", train__batch_size=7)
    with pytest.raises(ComparisonError, match="batch_size"):
        split(fake, "epochs")


def test_hashes_that_look_alike_in_print_are_still_parted(fake):
    fake.add("janus", weights="1" * 64)
    fake.add("inflora", weights="1" * 63 + "2")
    assert len(split(fake, "weights")) == 2


def test_benches_are_not_compared_with_each_other(fake):
    fake.add()
    fake.add(bench="glyphs_styles", train__epochs=9)
    assert [group.bench for group in split(fake)] == ["glyphs", "glyphs_styles"]


def test_a_misspelt_field_is_answered_with_the_nearest(fake):
    fake.add()
    with pytest.raises(ConfigError, match="Did you mean 'epochs'"):
        split(fake, "epoch")
