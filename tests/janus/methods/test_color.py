"""CoLoR's defining properties: the right expert, and nothing but that expert."""

from __future__ import annotations

import pytest
import torch

from tests.janus.methods.by_hand import started, train

FAST = {"method__lr": 3e-3, "method__head_lr": 1e-2}
STYLES = {"bench": "glyphs_styles", "bench__tasks": 5, "bench__train_per_class": 2}


def trained(name="color", tasks=2, **options):
    method, stream = started(name, **FAST, **options)
    for task in stream.tasks[:tasks]:
        train(method, task)
    return method, stream


def by_hand(method, images, index):
    """Head `index` on the pretrained weights with expert `index` merged, in a fresh forward."""
    with torch.no_grad():
        saved = [[w.clone() for w in x.slices()] for x in method.layers]
        for layer, (a, b) in zip(method.layers, method.bank.pairs(index), strict=True):
            for weight, delta in zip(layer.slices(), b @ a, strict=True):
                weight += delta
            layer.enabled = False
        logits = method.heads.parts[index](method.backbone(images))
        for layer, old in zip(method.layers, saved, strict=True):
            for weight, value in zip(layer.slices(), old, strict=True):
                weight.copy_(value)
            layer.enabled = True
    return logits


def test_prediction_equals_running_each_expert_by_hand():
    method, stream = trained()
    images = torch.cat([next(t.plain_batches()).images[:6] for t in stream.tasks[:2]])
    with torch.no_grad():
        logits, features = method.predict(images)
    chosen = method.infer_task(method.query(images))
    assert features is None and set(chosen.tolist()) == {0, 1}
    for index, (first, count) in enumerate(method.spans):
        mine = chosen == index
        expected = by_hand(method, images[mine], index)
        assert torch.allclose(logits[mine, first : first + count], expected, atol=1e-4)
        others = torch.cat([logits[mine, :first], logits[mine, first + count :]], dim=1)
        assert bool((others == float("-inf")).all())


@pytest.mark.parametrize("unit", [True, False])
def test_length_of_features_does_not_decide_the_expert(unit):
    """Longer features of the same directions: another expert only where length is compared."""
    method, stream = trained(method__unit_features=unit, train__epochs=1)
    lengths = method.centroids.norm(dim=1)
    assert bool((lengths <= 1 + 1e-6).all()) is unit
    queries = torch.cat([method.query(next(t.plain_batches()).images) for t in stream.tasks[:2]])
    chosen = method.infer_task(queries)
    nearest = torch.cdist(
        torch.nn.functional.normalize(queries) if unit else queries, method.centroids
    ).argmin(1)
    assert torch.equal(chosen, method.owners[nearest])
    assert torch.equal(method.infer_task(3 * queries), chosen) is unit


@pytest.mark.slow
def test_right_expert_is_chosen_on_separable_tasks():
    """Domains that differ by a shift of all pixels lie apart in any feature space."""
    method, stream = trained(method__clusters=2)
    shifts = (0.0, 4.0)
    method.centroids, method.owners = method.centroids[:0], method.owners[:0]
    method.spans, method.bank.entries = [], []
    seen = []
    for task, shift in zip(stream.tasks[:2], shifts, strict=True):
        images = next(task.plain_batches()).images
        shifted = type(task).plain_batches

        class Shifted(type(task)):
            def plain_batches(self, shift=shift, original=shifted):
                for batch in original(self):
                    yield type(batch)(batch.images + shift, batch.labels, batch.domains)

        method.end_task(Shifted(**vars(task)))
        seen.append(images + shift)
    for index, images in enumerate(seen):
        assert bool((method.infer_task(method.query(images)) == index).all())


@pytest.mark.slow
def test_every_domain_has_an_expert_with_all_classes():
    method, stream = trained(**STYLES, train__epochs=1)
    assert [p.out_features for p in method.heads.parts] == [100, 100]
    images = next(stream.tasks[1].plain_batches()).images[:20]
    with torch.no_grad():
        logits, _ = method.predict(images)
    assert logits.shape == (20, 100) and bool(logits.isfinite().all())
    index = int(method.infer_task(method.query(images))[0])
    assert torch.allclose(logits[0], by_hand(method, images[:1], index)[0], atol=1e-4)


@pytest.mark.slow
def test_query_does_not_change_with_later_tasks():
    """Pretrained or first expert: old centroids stay comparable with new queries."""
    for name in ("color", "color_pp"):
        method, stream = trained(name, tasks=1)
        images = next(stream.tasks[0].plain_batches()).images[:8]
        before = method.query(images).detach()
        train(method, stream.tasks[1])
        assert torch.equal(method.query(images), before)


def test_first_task_reference_is_the_first_expert():
    method, stream = trained("color_pp")
    images = next(stream.tasks[0].plain_batches()).images[:8]
    with torch.no_grad():
        found = method.heads.parts[0](method.query(images))
        plain = method.backbone(images)
    assert torch.allclose(found, by_hand(method, images, 0), atol=1e-4)
    assert not torch.allclose(method.query(images), plain, atol=1e-4)


@pytest.mark.slow
def test_pretrained_weights_never_change():
    method, stream = started("color", **FAST)
    before = [x.linear.weight.clone() for x in method.layers]
    for task in stream.tasks[:3]:
        train(method, task)
    assert all(torch.equal(x.linear.weight, w) for x, w in zip(method.layers, before, strict=True))
