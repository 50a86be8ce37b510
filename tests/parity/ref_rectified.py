"""LoRA-GPM, Janus-LoRA and their Gradient Rectification, from the full-weight gradient G.

The product never forms G: it works from the gradients of A and B. Here G is autograd's own, of
every block's update s B A, and rectification is the dense least-squares problem itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tests.parity.frame import Case, Data, Given, Trace, slow_but
from tests.parity.held import adapters, both, protected, prototypes
from tests.parity.plain import (
    Adam,
    Head,
    Schedule,
    Sgd,
    add_head,
    added,
    classes_of,
    cosine,
    cross_entropy,
    drop,
    features,
    new_adapters,
    on_thirds,
    tell_end,
    train,
    unit_means,
)
from tests.parity.subspaces import (
    greedy,
    grown,
    outside,
    second_moments,
    sketched,
    threshold,
)

RECTIFIED = ("rectified", "weight", "composite")


@dataclass(frozen=True)
class Plan:
    """The parts and values of one method."""

    protect: str = "cov"
    """Where V comes from: a second `pass`; `cov`, `fd`, `gs` of training's own inputs; or ''."""
    gradient: str = "rectified"
    """`plain`; `naive` (g_A P); `both` (also g_B of G P); `rectified`, with Adam on the factors,
    or before it on the full `weight` gradient, or on the `composite`."""
    blind: bool = True
    """A starts as A P."""
    exact: bool = True
    """A's finished step is projected."""
    constrained: bool = True
    """Where A reads V, only combinations of its rows that do not are used."""
    margin: float | None = 0.2
    weight: float = 0.1
    smooth: bool = False
    carried: bool = False
    rank: int = 10
    rate: float = 5e-4
    head_rate: float = 5e-4
    scale: float = 1.0
    damping: float = 1e-2
    energy: float = 0.95
    rises: bool = True
    power: int = 2
    memory: int = 0
    tokens: int = 0
    sketch: int = 64
    share: float = 0.002
    sgd: bool = False
    decay: float = 0.0
    schedule: Schedule = cosine


def ridge(a: Tensor, b: Tensor, d: Tensor, s: float, lam: float) -> tuple[Tensor, Tensor]:
    """(X, Y) minimising |s (B X + Y A) - D|^2 + s^2 lam (|X|^2 + |Y|^2), by normal equations.

    With rows as vectors: vec(B X) = (B (x) I) vec X, vec(Y A) = (I (x) A^T) vec Y.
    """
    (r, k), m = a.shape, d.shape[0]
    xx = torch.kron(b.mT @ b, torch.eye(k))
    yy = torch.kron(torch.eye(m), a @ a.mT)
    xy = torch.kron(b.mT.contiguous(), a.mT.contiguous())
    left = torch.cat([torch.cat([xx, xy], 1), torch.cat([xy.mT, yy], 1)])
    right = torch.cat([(b.mT @ d).flatten(), (d @ a.mT).flatten()]) / s
    left.diagonal().add_(lam)
    z = torch.cholesky_solve(right[:, None], torch.linalg.cholesky(left))[:, 0]
    return z[: b.shape[1] * k].view(-1, k), z[b.shape[1] * k :].view(m, r)


def blind_combinations(a: Tensor, v: Tensor) -> Tensor:
    """(r, p) orthonormal: all n with n^T A V = 0."""
    u, s, _ = torch.linalg.svd(a @ v, full_matrices=True)
    return u[:, int((s > 1e-4 * a.norm()).sum()) :]


def margin_loss(f: Tensor, means: Tensor, own: Tensor, plan: Plan) -> Tensor:
    """mean [max_c cos(f, p_c) - m]_+, or (1/16) log(1 + sum_c exp 16 (cos - m)).

    own: (B, P), prototypes of the image's own class; they count as if at the cosine -1.
    """
    cosines = f / f.norm(dim=1, keepdim=True) @ means.mT
    over = torch.where(own, -1.0, cosines) - plan.margin
    if plan.smooth:
        return ((16 * over).exp().sum(1) + 1).log().mean() / 16
    return over.max(1).values.clamp(min=0).mean()


class Run:
    """One run: what a task leaves to the next."""

    def __init__(self, given: Given, told: Trace, plan: Plan) -> None:
        self.given, self.told, self.plan = given, told, plan
        width = given.width
        self.v = [torch.zeros(width, 0) for _ in range(given.depth)]
        self.merged = [torch.zeros(3 * width, width)] * given.depth
        self.means, self.heads = torch.zeros(0, width), list[Head]()
        self.classes = torch.zeros(0, dtype=torch.long)
        self.a: list[Tensor] = []
        self.b: list[Tensor] = []

    def start(self, task: Data) -> None:
        """Merge, draw A (made blind where planned), add a head."""
        if task.index == 0 or not self.plan.carried:
            if task.index:
                self.merged = [d.detach() for d in self.delta()]
            self.a, self.b = new_adapters(self.given, task.index, "kv", self.plan.rank)
            if self.plan.blind:
                pairs = zip(self.a, self.v, strict=True)
                self.a = [outside(a.detach(), v).requires_grad_() for a, v in pairs]
        add_head(self.heads, self.given, task)
        self.rows: list[list[Tensor]] = []
        reads = any(
            (a.detach() @ v).norm() > 1e-4 * a.norm() for a, v in zip(self.a, self.v, strict=True)
        )
        self.filter = [torch.stack([torch.eye(self.plan.rank)] * 2)] * len(self.a)
        if reads and self.plan.constrained:
            for i, (a, v) in enumerate(zip(self.a, self.v, strict=True)):
                each = [blind_combinations(x, v) for x in a.detach()]
                self.filter[i] = torch.stack([n @ n.mT for n in each])
        self.leaks = self.plan.gradient in RECTIFIED and reads and not self.plan.constrained

    def delta(self) -> list[Tensor]:
        """(3D, D) of every block; the parts s B A of K and V are kept for their gradients."""
        self.parts = [
            [self.plan.scale * y @ x for x, y in zip(a, b, strict=True)]
            for a, b in zip(self.a, self.b, strict=True)
        ]
        return added(self.merged, [on_thirds("kv", p) for p in self.parts])

    def loss(self, x: Tensor, y: Tensor, first: int) -> Tensor:
        """Local cross-entropy and the margin loss; keeps what the blocks read."""
        rows: list[Tensor] = []
        f = features(self.given.weights, x, self.delta(), rows)
        self.rows.append(rows)
        weight, bias = self.heads[-1]
        value = cross_entropy(f @ weight.mT + bias, y - first)
        if self.plan.margin is not None and len(self.means):
            value = value + self.plan.weight * margin_loss(
                f, self.means, y[:, None] == self.classes, self.plan
            )
        return value

    def gradient(self, value: Tensor) -> list[Tensor]:
        """Of A of every block, B of every block, head weight and bias."""
        head = self.heads[-1]
        wanted = [w for parts in self.parts for w in parts]
        found = torch.autograd.grad(value, [*wanted, *head])
        full = list(zip(found[:-2:2], found[1:-2:2], strict=True))
        with torch.no_grad():
            pairs = [self.factors(i, gs) for i, gs in enumerate(full)]
        return [a for a, _ in pairs] + [b for _, b in pairs] + list(found[-2:])

    def factors(self, i: int, full: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """(gradient of A, of B) of block i, both (2, ...), from the two full gradients."""
        s, how, v = self.plan.scale, self.plan.gradient, self.v[i]
        a, b = self.a[i], self.b[i]
        g = torch.stack(full)
        d = outside(g, v)
        if how == "weight":
            d = outside(self.dense(i, g), v)
        if how in ("plain", "naive", "both"):
            to_a = s * b.mT @ (g if how == "plain" else d)
            return to_a, s * (d if how == "both" else g) @ a.mT
        x, y = self.solve(i, d)
        if how == "composite":
            d = outside(self.dense(i, s * (b @ x + y @ a)), v)
            x, y = self.solve(i, d)
        return x, y

    def solve(self, i: int, d: Tensor) -> tuple[Tensor, Tensor]:
        """The ridge problem of K and of V, through the blind combinations of A's rows."""
        plan, found = self.plan, []
        for t in range(2):
            a, b, keep = self.a[i][t], self.b[i][t], self.filter[i][t]
            lam = plan.damping * float(a.square().sum()) / plan.rank
            x, y = ridge(keep @ a, b, d[t], plan.scale, lam)
            found.append((x, y @ keep))
        return torch.stack([x for x, _ in found]), torch.stack([y for _, y in found])

    def finish(self, index: int, step: Tensor) -> Tensor:
        """A's finished step loses what V reads, B's what acts through rows that read V."""
        count = len(self.a)
        if index < count and self.plan.exact and not self.leaks:
            return outside(step, self.v[index])
        if count <= index < 2 * count and self.plan.gradient in RECTIFIED:
            return step @ self.filter[index - count]
        return step

    def task(self, task: Data) -> None:
        """Start, train, grow V, take prototypes."""
        plan, w = self.plan, self.given.weights
        self.start(task)
        self.dense = Adam()
        params = [(p, plan.rate) for p in (*self.a, *self.b)]
        params += [(p, plan.head_rate) for p in self.heads[-1]]
        factor_adam, dense = Sgd() if plan.sgd else Adam(), plan.gradient in ("weight", "composite")

        def direction(key: int, g: Tensor) -> Tensor:
            # Adam has already acted on the full gradient of the factors
            return g if dense and key < 2 * len(self.a) else factor_adam(key, g)

        loss = partial(self.loss, first=task.first)
        train(
            task, self.told, params, loss, direction, plan.schedule, plan.decay,
            self.gradient, self.finish,
        )  # fmt: skip
        self.told.tell(a=torch.stack(self.a), b=torch.stack(self.b))
        delta = [d.detach() for d in self.delta()]
        self.grow(task, delta)
        if plan.margin is not None:
            self.means = torch.cat([self.means, unit_means(w, task, delta)])
            self.classes = torch.cat([self.classes, classes_of(task)])
            self.told.tell(prototypes=self.means)
        tell_end(self.told, self.given, task, delta, self.heads)

    def grow(self, task: Data, delta: list[Tensor]) -> None:
        """V takes in the task's inputs."""
        plan, count = self.plan, self.given.depth
        tau = threshold(plan.energy, task.index, task.count, plan.rises)
        if plan.protect == "pass":
            found = [(c, 0.0) for c in second_moments(self.given.weights, task.plain, delta)]
        elif plan.protect == "cov":
            fade, found = 1 - 1 / plan.memory if plan.memory else 1.0, []
            for i in range(count):
                c = torch.zeros(self.given.width, self.given.width)
                for rows in self.rows:
                    x = chosen(rows[i], plan.tokens)
                    c = fade * c + x.mT @ x
                found.append((c, 0.0))
        elif plan.protect == "fd":
            steps = [[rows[i] for rows in self.rows] for i in range(count)]
            found = [sketched(r, v, plan.sketch) for r, v in zip(steps, self.v, strict=True)]
        elif plan.protect == "gs":
            last = len(task.epochs[-1])
            steps = [[rows[i] for rows in self.rows[-last:]] for i in range(count)]
            found = [greedy(r, v, plan.share) for r, v in zip(steps, self.v, strict=True)]
        else:
            return
        pairs = zip(self.v, found, strict=True)
        self.v = [
            grown(v, c, tau, plan.power, seen=e if plan.power == 1 else 0) for v, (c, e) in pairs
        ]
        self.told.tell(
            protected=torch.stack([v @ v.mT for v in self.v]),
            sizes=torch.tensor([v.shape[1] for v in self.v]),
        )


def chosen(rows: Tensor, tokens: int) -> Tensor:
    """`tokens` of the rows, evenly spread and each shifted by one more; 0: all."""
    if not tokens or len(rows) <= tokens:
        return rows
    return rows[[(i * len(rows) // tokens + i) % len(rows) for i in range(tokens)]]


def run(given: Given, told: Trace, plan: Plan) -> None:
    """All tasks."""
    state = Run(given, told, plan)
    for task in given.tasks:
        state.task(task)


PART = {"scenario": "bench", "epochs": "train", "batch_size": "train"}


def case(
    name: str,
    method: str,
    plan: Plan,
    bench: str = "cifar100",
    **options: Any,
) -> Case:
    """Options are method settings; whether prototypes are kept follows from the plan."""
    kept = both(
        protected if plan.protect else None, prototypes if plan.margin is not None else None
    )
    return Case(
        name,
        method,
        partial(run, plan=plan),
        adapters,
        kept,
        {f"{PART.get(key, 'method')}.{key}": value for key, value in options.items()},
        bench,
    )


GPM = Plan("pass", "naive", blind=False, exact=False, margin=None)
GPM_GR = Plan("pass", "rectified", margin=None, rank=3)
JANUS = Plan(rank=3)
OFF = Plan("", "plain", blind=False, exact=False, margin=None, rank=3)
OE = replace(JANUS, gradient="naive", margin=None)
LOOSE = {"rank": 4, "energy": 0.1}
"""Few directions and many rows: some combinations of A's rows read V, some do not."""


def janus(name: str, plan: Plan, bench: str = "cifar100", **options: Any) -> Case:
    """A row of the ablation, or another value of a setting, in a training of 4 epochs."""
    short = {"rank": plan.rank, "epochs": 4}
    return case(f"janus, {name}", "janus", plan, bench, **short | options)


CASES = [
    case("lora_gpm naive", "lora_gpm", GPM),
    case("lora_gpm both", "lora_gpm", replace(GPM, gradient="both"), variant="both"),
    case("lora_gpm exact", "lora_gpm", replace(GPM, blind=True, exact=True), variant="exact"),
    case("lora_gpm on imagenet_r", "lora_gpm", replace(GPM, energy=0.98), "imagenet_r"),
    case(
        "lora_gpm both, carried, scale 2",
        "lora_gpm",
        replace(GPM, gradient="both", carried=True, scale=2.0),
        variant="both",
        lifetime="carried",
        scale=2.0,
    ),
    case("lora_gpm_gr", "lora_gpm_gr", GPM_GR, rank=3),
    case(
        "lora_gpm_gr naive",
        "lora_gpm_gr",
        replace(GPM_GR, blind=False, exact=False, constrained=False),
        rank=3,
        variant="naive",
    ),
    case(
        "lora_gpm_gr, carried",
        "lora_gpm_gr",
        replace(GPM_GR, carried=True, **LOOSE),
        rank=4,
        subspace_energy=0.1,
        lifetime="carried",
    ),
    case(
        "lora_gpm_gr, composite",
        "lora_gpm_gr",
        replace(GPM_GR, gradient="composite"),
        rank=3,
        precondition="composite",
    ),
    case("janus", "janus", replace(JANUS, rank=10)),
    janus("rank 3", JANUS),
    janus("GR", replace(JANUS, protect="", margin=None), estimate=False, margin_loss=False),
    janus("OE", OE, rectify=False, margin_loss=False),
    janus("DML", replace(OFF, margin=0.2), rectify=False, estimate=False),
    janus("nothing", OFF, rectify=False, estimate=False, margin_loss=False),
    janus("OE and GR", replace(JANUS, margin=None), margin_loss=False),
    janus("OE and DML", replace(OE, margin=0.2), rectify=False),
    janus("GR and DML", replace(JANUS, protect=""), estimate=False),
    janus(
        "other damping, margin, weight, scale",
        replace(JANUS, damping=0.1, margin=-0.1, weight=0.3, scale=2.0),
        damping=0.1,
        margin=-0.1,
        margin_weight=0.3,
        scale=2.0,
    ),
    janus("on domains", JANUS, scenario="domain", epochs=3),
    janus(
        "smooth margin on domains",
        replace(JANUS, smooth=True),
        margin_form="smooth",
        scenario="domain",
        epochs=3,
    ),
    janus("smooth margin", replace(JANUS, smooth=True), margin_form="smooth"),
    janus(
        "fd",
        replace(OE, protect="fd", sketch=8),
        rectify=False,
        margin_loss=False,
        estimator="fd",
        sketch_size=8,
    ),
    janus(
        "fd in sigma^2",
        replace(OE, protect="fd", sketch=8, power=1),
        rectify=False,
        margin_loss=False,
        estimator="fd",
        sketch_size=8,
        spectrum="variance",
    ),
    janus(
        "gs",
        replace(OE, protect="gs"),
        rectify=False,
        margin_loss=False,
        estimator="gs",
        batch_size=8,
    ),
    janus(
        "gs in sigma^2",
        replace(OE, protect="gs", power=1, share=0.01),
        rectify=False,
        margin_loss=False,
        estimator="gs",
        spectrum="variance",
        batch_share=0.01,
    ),
    janus(
        "cov in sigma^2, one threshold",
        replace(OE, power=1, rises=False),
        rectify=False,
        margin_loss=False,
        spectrum="variance",
        energy_rises=False,
    ),
    janus(
        "cov that forgets",
        replace(OE, memory=5),
        rectify=False,
        margin_loss=False,
        estimate_memory=5,
    ),
    janus(
        "cov of some tokens",
        replace(OE, tokens=50),
        rectify=False,
        margin_loss=False,
        estimate_tokens=50,
    ),
    janus("Adam on the full gradient", replace(JANUS, gradient="weight"), precondition="weight"),
    janus(
        "Adam on the composite, scale 2",
        replace(JANUS, gradient="composite", scale=2.0),
        precondition="composite",
        scale=2.0,
    ),
    janus("hinge at work", replace(OFF, margin=0.93), rectify=False, estimate=False, margin=0.93),
    janus("Adam on the composite", replace(JANUS, gradient="composite"), precondition="composite"),
    janus(
        "carried", replace(JANUS, carried=True, **LOOSE), subspace_energy=0.1, lifetime="carried"
    ),
    janus(
        "carried, composite",
        replace(JANUS, carried=True, gradient="composite", **LOOSE),
        subspace_energy=0.1,
        lifetime="carried",
        precondition="composite",
    ),
    janus("random A", replace(JANUS, blind=False, **LOOSE), subspace_energy=0.1, a_init="random"),
    janus(
        "random A, leaking",
        replace(JANUS, blind=False, constrained=False),
        a_init="random",
        constrained=False,
    ),
    janus(
        "random A, leaking, full gradient",
        replace(JANUS, blind=False, constrained=False, gradient="weight"),
        a_init="random",
        constrained=False,
        precondition="weight",
    ),
    janus(
        "random A, leaking, composite",
        replace(JANUS, blind=False, constrained=False, gradient="composite"),
        a_init="random",
        constrained=False,
        precondition="composite",
    ),
    janus(
        "random A, OE alone",
        replace(OE, blind=False),
        rectify=False,
        margin_loss=False,
        a_init="random",
    ),
    janus(
        "on domainnet",
        replace(JANUS, sgd=True, rate=5e-3, head_rate=1e-2, schedule=drop(3)),
        "domainnet",
    ),
    janus(
        "on imagenet_r, with decay",
        replace(JANUS, energy=0.98, decay=0.1),
        "imagenet_r",
        weight_decay=0.1,
    ),
]

CASES = slow_but(CASES, "janus, rank 3")
