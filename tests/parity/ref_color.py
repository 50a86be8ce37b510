"""CoLoR and CoLoR++: an expert per task, and k-means on features to find it again."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from janus.keyed_random import key_number
from tests.parity.frame import DOMAINS, Case, Data, Given, Trace
from tests.parity.held import newest_head
from tests.parity.plain import (
    Head,
    cross_entropy,
    dense,
    features,
    new_adapters,
    new_head,
    scores,
    train,
)


def color(
    given: Given,
    told: Trace,
    *,
    clusters: int = 5,
    normal: bool = True,
    first_task: bool = False,
    rank: int = 10,
    rate: float = 5e-4,
) -> None:
    """Expert t: W0 + B_t A_t on K and V, and head t. t(x): owner of the centroid nearest to f(x).

    f: features of the pretrained network, or of the first expert; normal: divided by their norm.
    Classes of other tasks get -inf.
    """
    experts: list[list[Tensor]] = []
    heads: list[Head] = []
    centroids: list[Tensor] = []

    def query(x: Tensor) -> Tensor:
        f = features(given.weights, x, experts[0] if first_task else ())
        return f / f.square().sum(1, keepdim=True).sqrt() if normal else f

    for task in given.tasks:
        a, b = new_adapters(given, task.index, "kv", rank)
        heads.append(new_head(given, task))

        def loss(x: Tensor, y: Tensor, task: Data = task, pair: Any = (a, b)) -> Tensor:
            z = scores(features(given.weights, x, dense("kv", pair)), heads[-1:])
            return cross_entropy(z, y - task.first)

        train(task, told, [(p, rate) for p in (*a, *b, *heads[-1])], loss)
        told.tell(a=torch.stack(a), b=torch.stack(b), head=heads[-1][0], bias=heads[-1][1])
        experts.append([change.detach() for change in dense("kv", (a, b))])
        f = torch.cat([query(x) for x, _ in task.plain])
        seed = key_number("k-means", *given.key, task.index) % 2**32
        found = KMeans(clusters, init="k-means++", n_init=10, random_state=seed).fit(f.numpy())
        centroids.append(torch.from_numpy(found.cluster_centers_))
        told.tell(centroids=torch.cat(centroids))
        owner = nearest(query(task.tests), centroids)
        told.tell(logits=answer(given, task, owner, experts, heads))


def nearest(q: Tensor, centroids: list[Tensor]) -> Tensor:
    """The task that owns the centroid nearest to each q (B, D): (B,)."""
    far = [(q[:, None] - c).square().sum(-1).min(1).values for c in centroids]
    return torch.stack(far, 1).argmin(1)


@torch.no_grad()
def answer(
    given: Given, now: Data, owner: Tensor, experts: list[list[Tensor]], heads: list[Head]
) -> Tensor:
    """Logits (B, C seen) of each image's expert for its own classes; -inf for all others."""
    z = torch.full((len(now.tests), now.seen), -torch.inf)
    for task, expert, head in zip(given.tasks, experts, heads, strict=False):
        own = scores(features(given.weights, now.tests, expert), [head])
        classes = slice(task.first, task.first + task.classes)
        z[:, classes] = torch.where(owner[:, None] == task.index, own, z[:, classes])
    return z


# ---- what the product holds ----------------------------------------------------------------------
def expert_of(method: Any, given: Given) -> dict[str, Tensor]:
    """A (L, P, r, D) and B (L, P, D, r) in training, and the newest head."""
    pair = {"a": torch.stack([x.a for x in method.layers])}
    return newest_head(method, given) | pair | {"b": torch.stack([x.b for x in method.layers])}


def centroids_of(method: Any, given: Given) -> dict[str, Tensor]:
    """(k tasks, D)."""
    return {"centroids": method.kept()["centroids"]}


CASES = [
    Case("color", "color", color, expert_of, centroids_of, slow=True),
    Case(
        "color on domains",
        "color",
        color,
        expert_of,
        centroids_of,
        options=DOMAINS,
        slow=True,
    ),
    Case(
        "color, 3 clusters of raw features",
        "color",
        partial(color, normal=False, clusters=3),
        expert_of,
        centroids_of,
        options={"method.clusters": 3, "method.unit_features": False},
        slow=True,
    ),
    Case(
        "color_pp",
        "color_pp",
        partial(color, first_task=True),
        expert_of,
        centroids_of,
        slow=True,
    ),
]
