"""Protected subspaces: orthonormal bases of the layer inputs of past tasks, one basis per block.

The projections K and V have the same input, so a block has one basis V (D x q). A *collector*
receives the input rows of the current task batch by batch; `Basis.extend` then appends the new
directions to the basis. Collectors: `Covariance` (exact second moment), `FrequentDirections`
(sketch with an error bound), `GramSchmidt` (greedy, batch by batch). The paper's own update rule
was not available: the three are our readings of it [derived].

Shapes: N rows (tokens), D width, q basis size.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from janus.errors import RunError
from janus.nn.matmul import add_second_moment


class Collector(Protocol):
    """Interface: accumulates input rows (N, D) of one block into a second-moment matrix."""

    def update(self, rows: Tensor, protected: Tensor) -> None:
        """Add rows (N, D); `protected` is the block's current basis (D, q)."""

    def moment(self) -> Tensor:
        """(D, D) float64: estimate of the (weighted) sum of x x^T over all rows added."""

    def energy(self) -> float | None:
        """Sum of squares of all rows; None where it is the trace of `moment`."""

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: tensors and numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""


class Covariance:
    """Running uncentred second moment C <- decay C + X^T X. Needs D x D numbers of memory.

    C is symmetric, so its lower half is never computed.
    """

    def __init__(self, width: int, decay: float = 1.0) -> None:
        self.decay = decay
        self.total = torch.zeros(width, width)

    def update(self, rows: Tensor, protected: Tensor) -> None:
        """Add X^T X, in float32."""
        if self.total.device != rows.device:
            self.total = self.total.to(rows.device)
        add_second_moment(self.total, rows, self.decay)

    def moment(self) -> Tensor:
        """C, with the lower half copied from the upper half."""
        upper = self.total.double().triu()
        return upper + upper.triu(1).mT

    def energy(self) -> float | None:
        """None: the trace of `moment` is exact."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """See Collector."""
        return {"total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Collector."""
        self.total = state["total"].clone()


class FrequentDirections:
    """Sketch S (2l x D) with S^T S <= X^T X and |X^T X - S^T S|_2 <= |X - X_j|_F^2 / (l - j).

    Liberty 2013; Ghashami et al. 2016. Only the part of the rows outside `protected` is sketched.
    """

    def __init__(self, width: int, size: int) -> None:
        self.size = size
        self.sketch = torch.zeros(0, width)
        self.seen = 0.0
        """Sum of squares of all rows, protected part included."""
        self.inside = 0.0
        """The part of `seen` that lies in the protected span."""
        self.basis = torch.zeros(width, 0)

    def update(self, rows: Tensor, protected: Tensor) -> None:
        """Append residual rows; shrink whenever more than 2l are held."""
        rows = rows.float()
        protected = protected.to(rows)
        within = rows @ protected
        self.basis = protected
        self.seen += finite_energy(rows)
        self.inside += float(within.double().square().sum())
        rest = rows - within @ protected.mT
        for chunk in rest.split(8 * self.size):
            self.sketch = torch.cat([self.sketch.to(chunk), chunk])
            if self.sketch.shape[0] > 2 * self.size:
                self._shrink()

    def _shrink(self) -> None:
        _, singular, directions = torch.linalg.svd(self.sketch, full_matrices=False)
        keep = min(self.size, singular.shape[0])
        cut = singular[keep].square() if keep < singular.shape[0] else singular.new_zeros(())
        kept = (singular[:keep].square() - cut).clamp_min(0).sqrt()
        # contiguous, as a checkpoint stores it: the layout decides the last bits of products
        self.sketch = (kept[:, None] * directions[:keep]).contiguous()

    def moment(self) -> Tensor:
        """S^T S, plus the protected energy spread evenly over the protected span."""
        moment = self.sketch.double().mT @ self.sketch.double()
        if self.basis.shape[1]:
            basis = self.basis.double()
            moment += self.inside / basis.shape[1] * (basis @ basis.mT)
        return moment

    def energy(self) -> float | None:
        """Counted exactly; shrinking takes energy from the sketch."""
        return self.seen

    def state_dict(self) -> dict[str, Any]:
        """See Collector."""
        names = ("sketch", "seen", "inside", "basis")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Collector."""
        for name, value in state.items():
            setattr(self, name, value)


class GramSchmidt:
    """Greedy basis: a batch adds the residual directions that hold more than `share` of its energy.

    Depends on the order of the batches and keeps at most `cap` directions. Energies are summed
    along the kept and along the protected directions.
    """

    def __init__(self, width: int, share: float, cap: int) -> None:
        self.share, self.cap = share, cap
        self.directions = torch.zeros(width, 0)
        self.energies = torch.zeros(0)
        self.protected = torch.zeros(width, 0)
        self.inside = torch.zeros(0)
        self.seen = 0.0

    def update(self, rows: Tensor, protected: Tensor) -> None:
        """Extend the running basis by this batch, then add the batch's energy along it."""
        rows = rows.float()
        if not len(self.inside):
            self.inside = rows.new_zeros(protected.shape[1])
        self.directions, self.energies = self.directions.to(rows), self.energies.to(rows)
        self.protected = protected
        self.seen += finite_energy(rows)
        self.inside = self.inside + (rows @ protected).square().sum(0)
        rest = rows - (rows @ protected) @ protected.mT
        rest = rest - (rest @ self.directions) @ self.directions.mT
        _, singular, right = torch.linalg.svd(rest, full_matrices=False)
        fresh = right[singular.square() > self.share * rows.square().sum()]
        fresh = fresh[: max(0, self.cap - self.directions.shape[1])]
        if len(fresh):
            # repeated QR keeps the basis orthonormal to rounding, whatever the batch order
            self.directions, triangle = torch.linalg.qr(torch.cat([self.directions, fresh.mT], 1))
            self.directions = (self.directions * triangle.diagonal().sign()).contiguous()
            self.energies = torch.cat([self.energies, rows.new_zeros(len(fresh))])
        self.energies = self.energies + (rows @ self.directions).square().sum(0)

    def moment(self) -> Tensor:
        """Energy along each kept and each protected direction."""
        directions = torch.cat([self.directions, self.protected], 1).double()
        energies = torch.cat([self.energies, self.inside]).double()
        return (directions * energies) @ directions.mT

    def energy(self) -> float | None:
        """Exact sum of squares, including directions that were not kept."""
        return self.seen

    def state_dict(self) -> dict[str, Any]:
        """See Collector."""
        names = ("directions", "energies", "protected", "inside", "seen")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See Collector."""
        for name, value in state.items():
            setattr(self, name, value)


DIVERGED = "the collected inputs are not finite: training diverged"


def finite_energy(rows: Tensor) -> float:
    """Sum of squares of `rows`. Raises RunError (cause `nan`) where it is not finite.

    To be called before an SVD, which may fail on such rows with an unclear error or not fail.
    """
    energy = float(rows.double().square().sum())
    if not energy < torch.inf:
        raise RunError(DIVERGED, cause="nan")
    return energy


ROUNDING = torch.finfo(torch.float32).eps
"""Residuals below this share of a moment's norm count as zero, since rows are float32."""


class Basis:
    """The protected basis of one block. It grows at the end of a task and never shrinks."""

    def __init__(self, width: int) -> None:
        self.v = torch.zeros(width, 0)

    def state_dict(self) -> Tensor:
        """V itself, all there is."""
        return self.v

    def load_state_dict(self, state: Tensor) -> None:
        """Continue from `state`."""
        self.v = state

    @property
    def size(self) -> int:
        """Number of protected directions q."""
        return self.v.shape[1]

    @torch.no_grad()
    def extend(
        self,
        moment: Tensor,
        energy: float,
        spectrum: str,
        one_sided: bool = False,
        seen: float | None = None,
    ) -> float:
        """Append the leading residual directions of `moment` (D, D); returns the captured share.

        Directions are added until V captures at least the share `energy` of the task's inputs.
        spectrum='variance' measures shares in sigma^2 (LoRA-DRS), 'squared' in sigma^4: InfLoRA
        takes the singular values of a covariance and squares them again [seen], which protects
        far fewer directions at the same threshold. The residual is P C P with P = I - V V^T, or
        P C with `one_sided` (InfLoRA's code [seen], whose first task also stops one direction
        short of the threshold). `seen` is the true sum of squares where the trace of `moment`
        is smaller (sigma^2 only). The threshold may then be out of reach: V takes all directions
        of `moment` and no more. Float64, because two nearly equal sums are compared.
        """
        if not bool(torch.isfinite(moment).all()):
            raise RunError(DIVERGED, cause="nan")
        moment = moment.double()
        v = self.v.double().to(moment.device)
        width = moment.shape[0]
        rest = moment - v @ (v.mT @ moment)
        if not one_sided:
            rest = rest - (rest @ v) @ v.mT
        vectors, values = _singular(rest, symmetric=not one_sided)
        if spectrum == "squared":
            total = torch.linalg.matrix_norm(moment).square()
            residual = values.square()
        else:
            total, residual = moment.trace().clamp_min(seen or 0.0), values
        if float(total) <= 0:
            return 1.0
        inside = moment.trace() - values.sum() if spectrum != "squared" else total - residual.sum()
        have = float(inside / total)
        captured = have + (residual.cumsum(0) / total)
        need = 0 if have >= energy else int((captured < energy - 1e-12).sum()) + 1
        if one_sided and self.size == 0:
            need = max(need - 1, 1)
        # singular vectors of residuals that are only rounding are arbitrary and may even lie in V
        held = int((values > ROUNDING * torch.linalg.matrix_norm(moment)).sum())
        need = min(need, held, width - self.size)
        new = vectors[:, :need]
        grown, _ = torch.linalg.qr(torch.cat([v, new], 1)) if need else (v, None)
        # QR may flip signs; keep the old columns bit for bit and append the new ones
        grown = torch.cat([self.v.to(moment.device), grown[:, self.size :].float()], 1)
        # plain strides even for one column, as after a checkpoint: strides decide which BLAS
        # routine runs and so the last bits
        self.v = grown.clone(memory_format=torch.contiguous_format)
        return have if need == 0 else float(captured[need - 1])


def _singular(matrix: Tensor, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Left singular vectors and values, largest first: (D, D), (D,)."""
    if not symmetric:
        left, values, _ = torch.linalg.svd(matrix)
        return left, values
    # takes half the time of an SVD
    values, vectors = torch.linalg.eigh(matrix)
    values, order = values.abs().sort(descending=True, stable=True)
    return vectors[:, order], values


@torch.no_grad()
def leading_span(moment: Tensor, energy: float) -> Tensor:
    """(D, k) orthonormal: the fewest leading eigenvectors of `moment` that hold the share `energy`.

    Shares are of sigma^2. Raises RunError (cause `nan`) where the moment is not finite.
    """
    if not bool(torch.isfinite(moment).all()):
        raise RunError(DIVERGED, cause="nan")
    values, vectors = torch.linalg.eigh(moment.double())
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    captured = values.cumsum(0) / values.sum().clamp_min(1e-300)
    need = min(int((captured < energy - 1e-12).sum()) + 1, len(values))
    span: Tensor = vectors[:, :need].float().clone(memory_format=torch.contiguous_format)
    return span


def complement(span: Tensor) -> Tensor:
    """(D, D - k) orthonormal basis of the orthogonal complement of `span` (D, k)."""
    full, _ = torch.linalg.qr(span.double(), mode="complete")
    rest: Tensor = full[:, span.shape[1] :].float().clone(memory_format=torch.contiguous_format)
    return rest


def padded(parts: list[Tensor]) -> Tensor:
    """Bases (D, k_i) as one tensor (blocks, D, k_max), filled up with zero columns."""
    widest = max(part.shape[1] for part in parts)
    return torch.stack([torch.nn.functional.pad(p, (0, widest - p.shape[1])) for p in parts])


def energy_at(task: int, tasks: int, energy: float, rises: bool) -> float:
    """Energy threshold of a task (from 0): `energy`, or if it `rises`
    energy + (1 - energy) task / tasks [seen]."""
    return energy + (1 - energy) * task / tasks if rises else energy


def stacked_bases(bases: list[Basis]) -> Tensor:
    """All bases as one tensor (blocks, D, q_max), filled up with zero columns."""
    return padded([b.v for b in bases])


def make_collector(kind: str, width: int, sketch: int, share: float, decay: float) -> Collector:
    """The collector that the setting `estimator` names (see conf/method/janus.yaml)."""
    if kind == "fd":
        return FrequentDirections(width, min(sketch, width))
    if kind == "gs":
        return GramSchmidt(width, share, cap=width)
    return Covariance(width, decay)
