# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. What Gradient Rectification does to the update
#
# First the geometry on small matrices, then the measurements of the runs: by how much a finished
# task's update changes the outputs on past inputs, block by block.

# %%
import os
from pathlib import Path

import numpy as np
from IPython.display import display

from analysis import figures
from analysis.figures import facts
from analysis.runs import load, protocol

# %% [markdown]
# ## The geometry
#
# W = W0 + BA. The step along the gradient G that leaves the outputs on protected inputs unchanged
# is D = G(I - VV'); V is an orthonormal basis of the protected inputs. A step of the factors can
# change W only inside the tangent space of the rank-r matrices at BA. The step in this space that
# is nearest to D, by least squares over (dA, dB), is P_B D + (I - P_B) D P_A. It changes the
# outputs on protected inputs by (I - P_B) D P_A V, which is zero if the rows of A are orthogonal to
# V.

# %%
rng = np.random.default_rng(0)
m, k, r, q = 12, 10, 3, 4
B, A, G = rng.normal(size=(m, r)), rng.normal(size=(r, k)), rng.normal(size=(m, k))
V = np.linalg.qr(rng.normal(size=(k, q)))[0]
D = G @ (np.eye(k) - V @ V.T)


def best_step(B, A, D):
    """(m, k): the step B dA + dB A that is nearest to D, by least squares over dA and dB."""
    columns = [np.outer(B[:, i], e).ravel() for i in range(r) for e in np.eye(k)]
    columns += [np.outer(e, A[i]).ravel() for i in range(r) for e in np.eye(m)]
    design = np.array(columns).T
    found = np.linalg.lstsq(design, D.ravel(), rcond=None)[0]
    return (design @ found).reshape(m, k)


def projector(rows):
    """The orthogonal projector (columns, columns) onto the row space of the matrix `rows`."""
    return np.linalg.pinv(rows) @ rows


step = best_step(B, A, D)
closed = projector(B.T) @ D + (np.eye(m) - projector(B.T)) @ D @ projector(A)
print(f"closed form against least squares: {np.abs(step - closed).max():.1e}")
leak = np.linalg.norm(step @ V) / np.linalg.norm(step)
safe = best_step(B, A @ (np.eye(k) - V @ V.T), D)
print(
    f"leak |step V|/|step|: {leak:.3f}; with A started outside V: "
    f"{np.linalg.norm(safe @ V) / np.linalg.norm(safe):.1e}"
)
assert np.allclose(step, closed)
assert np.linalg.norm(safe @ V) < 1e-9

# %% [markdown]
# ## Null-space violation in the runs

# %%
store = Path(os.environ.get("JANUS_STORE", "runs"))
runs = [run for run in load.load_runs([store]).runs if run.eval == "test"]
labels = load.labels(runs)
groups = protocol.split_by_protocol(runs, labels)
for group in groups:
    rows = facts.rows_of(group, labels, sorted(set(labels.values())))
    for row, members in rows.items():
        for name in ("k", "v"):
            found = [v for run in members if (v := facts.violation(run, name)) is not None]
            if found:
                print(f"{group.bench} {row} {name}: |dW X_past| {np.mean(found):.4f}")

# %%
for drawn in figures.draw_figures(groups, labels, sorted(set(labels.values()))):
    if drawn.name.endswith("null_space_violation"):
        display(drawn)
        print(drawn.caption)

# %% [markdown]
# The bars of the paper, read off its figure: rectification lowers the violation but not to zero, as
# the leak above predicts for an A that is not projected.

# %%
display(figures.draw_published()[1])
