"""Faults in the LoRA family: schedules, optimisers, adapters, subspaces, rectification, losses."""

from __future__ import annotations

from tests.parity.mutants import Fault

OPTIM, LORA, HEADS, BANK = (
    "methods/base/optimizer.py",
    "nn/lora.py",
    "nn/heads.py",
    "nn/lora_bank.py",
)
SUBSPACE, RECTIFY, LOSSES, ALIGN = (
    "algorithms/subspace.py",
    "algorithms/rectification.py",
    "algorithms/losses.py",
    "methods/base/classifier_alignment.py",
)
METHOD, PROTECTED, RECTIFIED = (
    "methods/base/lora_method.py",
    "methods/base/subspace_lora.py",
    "methods/base/rectified_lora.py",
)
GPM, JANUS, INFLORA = "methods/lora_gpm.py", "methods/janus_lora.py", "methods/inflora.py"
DRS, OLORA, SD = "methods/lora_drs.py", "methods/olora.py", "methods/sd_lora.py"
E2, ENERGY = "methods/e2_lora.py", "nn/energy_linear.py"
BILORA, FOURIER, C_LORA = "methods/bilora.py", "nn/fourier_update.py", "methods/c_lora.py"
YAML = "conf/method/{}.yaml"


def fault(file: str, old: str, new: str, *cases: str, times: int = 1, equal: str = "") -> Fault:
    """See Fault."""
    return Fault(file, old, new, cases, times, equal)


TRAINING = [
    # schedules
    fault(OPTIM, "max(epoch - 1, 0)", "epoch", "seqlora"),
    fault(OPTIM, "math.cos(99 * math.pi", "math.cos(100 * math.pi", "seqlora"),
    fault(OPTIM, "/ (200 * last)", "/ (200 * (last + 1))", "seqlora"),
    fault(
        OPTIM,
        "self.length) / self.length",
        "self.length) / (self.length - 1)",
        "inflora_ca on imagenet_r",
    ),
    fault(OPTIM, "sum(epoch >= at", "sum(epoch > at", "seqlora on domainnet"),
    fault(OPTIM, "self.drop_factor ** sum", "self.drop_factor * sum", "sd_lora on domainnet"),
    fault(OPTIM, "self.length = task.cell.train.epochs", "pass", "lora_drs on imagenet_r"),
    fault(OPTIM, "if task.index == 0 else 1.0", "if task.index else 1.0", "bilora on domainnet"),
    fault(
        OPTIM,
        "return self.share * warm * self._curve()",
        "return warm * self._curve()",
        "bilora on domainnet",
    ),
    fault(
        OPTIM, "        self.steps += 1\n\n    def state_dict", "\n    def state_dict", "seqlora"
    ),
    # optimisers
    fault(OPTIM, 'momentum=settings["momentum"]', "momentum=0.0", "seqlora on domainnet"),
    fault(
        OPTIM,
        'momentum=settings["momentum"]',
        'momentum=settings["momentum"], nesterov=True',
        "seqlora on domainnet",
    ),
    fault(
        OPTIM,
        'momentum=settings["momentum"]',
        'momentum=settings["momentum"], dampening=0.1',
        "seqlora on domainnet",
    ),
    fault(
        OPTIM,
        "torch.optim.Adam(made, weight_decay=decay)",
        "torch.optim.AdamW(made, weight_decay=decay)",
        "seqlora, fresh adapters, q and k, scale 2",
    ),
    fault(
        OPTIM,
        "torch.optim.Adam(made, weight_decay=decay)",
        "torch.optim.Adam(made, betas=(0.9, 0.99), weight_decay=decay)",
        "seqlora",
    ),
    fault(
        OPTIM,
        "torch.optim.Adam(made, weight_decay=decay)",
        "torch.optim.Adam(made, eps=1e-7, weight_decay=decay)",
        "seqlora",
    ),
    fault(OPTIM, 'epsilon_hat and settings["optimizer"] == "adam"', "False", "lora_drs"),
    fault(
        OPTIM,
        "self.second.mul_(0.999)",
        "self.second.mul_(0.99)",
        "janus, Adam on the full gradient",
    ),
    fault(
        OPTIM,
        "self.second / (1 - 0.999**self.steps)",
        "self.second",
        "janus, Adam on the full gradient",
    ),
    fault(
        OPTIM, "self.first / (1 - 0.9**self.steps)", "self.first", "janus, Adam on the composite"
    ),
    fault(OPTIM, ".sqrt_().add_(1e-8)", ".sqrt_().add_(1e-6)", "janus, Adam on the full gradient"),
    # heads and losses
    fault(HEADS, "width**-0.5 if bound is None", "(3 / width) ** 0.5 if bound is None", "seqlora"),
    fault(HEADS, "if self.zero_bias:", "if False:", "sd_lora"),
    fault(
        "methods/base/heads_method.py",
        "self.heads.parts[-1](features)",
        "self.heads.parts[0](features)",
        "seqlora",
    ),
    fault("methods/base/heads_method.py", 's["head_lr"])]', 's["lr"])]', "seqlora on domainnet"),
    fault(LOSSES, "labels - first)", "(labels - first).flip(0))", "seqlora"),
    fault(
        LOSSES,
        "functional.cross_entropy(logits.float(), labels - first)",
        "functional.cross_entropy(logits.float(), labels - first, label_smoothing=0.001)",
        "seqlora",
    ),
    # adapters
    fault(LORA, "bound = layer.width**-0.5", "bound = (3 / layer.width) ** 0.5", "seqlora"),
    fault(
        LORA,
        "return self.scale * (self.b",
        "return 1.0 * (self.b",
        "seqlora, fresh adapters, q and k, scale 2",
    ),
    fault(
        LORA,
        '"qkv".index(self.targets[target])',
        '"vkq".index(self.targets[target])',
        "seqlora, fresh adapters, q and k, scale 2",
    ),
    fault(
        LORA,
        "self.linear.weight[self.rows(target)] += delta",
        "self.linear.weight[self.rows(target)] -= delta",
        "olora",
    ),
    fault(LORA, "blocks[: first or None]", "blocks", "inflora_b5"),
    fault(METHOD, "if task.index == 0 or not self.keeps_adapter:", "if True:", "seqlora"),
    fault(METHOD, "self.start_adapter(layer, task)", "pass", "inflora_b5 on domainnet", "seqlora"),
]

SUBSPACES = [
    fault(SUBSPACE, "residual = values.square()", "residual = values", "inflora"),
    fault(
        SUBSPACE,
        "moment.trace().clamp_min(seen or 0.0), values",
        "moment.trace().clamp_min(seen or 0.0), values.square()",
        "janus, cov in sigma^2, one threshold",
    ),
    fault(
        SUBSPACE,
        "moment.trace().clamp_min(seen or 0.0)",
        "moment.trace()",
        "janus, fd in sigma^2",
        "janus, gs in sigma^2",
    ),
    fault(SUBSPACE, "need = max(need - 1, 1)", "pass", "inflora"),
    fault(
        SUBSPACE,
        "if not one_sided:\n            rest",
        "if False:\n            rest",
        "lora_gpm naive",
    ),
    fault(
        SUBSPACE,
        "if not one_sided:\n            rest",
        "if True:\n            rest",
        "inflora on imagenet_r",
    ),
    fault(
        SUBSPACE,
        "if have >= energy else int((captured < energy - 1e-12).sum()) + 1",
        "if have >= energy else int((captured < energy - 1e-12).sum())",
        "lora_gpm naive",
    ),
    fault(
        SUBSPACE,
        "energy + (1 - energy) * task / tasks",
        "energy + (1 - energy) * task / (tasks - 1)",
        "inflora",
    ),
    fault(
        SUBSPACE,
        "energy + (1 - energy) * task / tasks",
        "energy + (1 - energy) * (task + 1) / tasks",
        "lora_gpm naive",
    ),
    fault(
        SUBSPACE,
        "* task / tasks if rises else energy",
        "* task / tasks",
        "janus, cov in sigma^2, one threshold",
    ),
    fault(
        SUBSPACE,
        "add_second_moment(self.total, rows, self.decay)",
        "add_second_moment(self.total, rows)",
        "janus, cov that forgets",
    ),
    fault(
        SUBSPACE,
        "add_second_moment(self.total, rows, self.decay)",
        "add_second_moment(self.total, rows - rows.mean(0), self.decay)",
        "janus, OE",
    ),
    fault(
        SUBSPACE,
        "self.inside / basis.shape[1] * (basis",
        "self.inside * (basis",
        "janus, fd in sigma^2",
    ),
    fault(SUBSPACE, "singular[:keep].square() - cut", "singular[:keep].square()", "janus, fd"),
    fault(SUBSPACE, "> 2 * self.size", "> 4 * self.size", "janus, fd"),
    fault(SUBSPACE, "rest = rows - within @ protected.mT", "rest = rows", "janus, fd"),
    fault(
        SUBSPACE,
        "self.share * rows.square().sum()",
        "self.share * rest.square().sum()",
        "janus, gs",
        "janus, gs in sigma^2",
    ),
    fault(
        SUBSPACE,
        "self.energies + (rows @ self.directions)",
        "self.energies + (rest @ self.directions)",
        "janus, gs",
    ),
    fault(
        SUBSPACE, "rest = rest - (rest @ self.directions) @ self.directions.mT", "pass", "janus, gs"
    ),
    fault(
        "nn/matmul.py",
        "part.addmm_(mine, rows[:, at:], beta=decay)",
        "part.addmm_(mine, rows[:, at:])",
        "janus, cov that forgets",
    ),
    fault(
        SUBSPACE,
        "captured = values.cumsum(0) / values.sum()",
        "captured = values.square().cumsum(0) / values.square().sum()",
        "lora_drs",
    ),
    fault(
        SUBSPACE,
        "need = min(int((captured < energy - 1e-12).sum()) + 1, len(values))",
        "need = min(int((captured < energy - 1e-12).sum()), len(values))",
        "lora_drs",
    ),
    # what is protected
    fault(
        PROTECTED,
        "layer.a.copy_(without(without(layer.a, basis), basis))",
        "pass",
        "lora_gpm exact",
    ),
    fault(PROTECTED, "layer.a.copy_(value)", "pass", "lora_gpm exact"),
    fault(
        PROTECTED,
        'task.train_batches("pass") if augmented else task.plain_batches()',
        "task.plain_batches()",
        "inflora",
    ),
    fault(
        PROTECTED,
        'task.train_batches("pass") if augmented else task.plain_batches()',
        'task.train_batches("pass")',
        "lora_gpm naive",
    ),
    fault(GPM, "layer.a.grad = without(layer.a.grad, basis.v)", "pass", "lora_gpm naive"),
    fault(GPM, "layer.b.grad -= layer.scale", "layer.b.grad += layer.scale", "lora_gpm both"),
    fault(
        GPM,
        "layer.b.grad -= layer.scale * zero",
        "layer.b.grad -= zero",
        "lora_gpm both, carried, scale 2",
    ),
    fault(
        GPM,
        '["variant"] == "exact":\n            self.project_step(before_a)',
        '["variant"] == "exact":\n            pass',
        "lora_gpm exact",
    ),
    fault(INFLORA, "left.mT / 3**0.5", "left.mT", "inflora"),
    fault(INFLORA, "rest = moment - v @ (v.mT @ moment)", "rest = moment", "inflora"),
    fault(INFLORA, "left[:, :rank]", "left[:, 1 : rank + 1]", "inflora"),
    fault(INFLORA, "trains_a = False", "trains_a = True", "inflora"),
    fault(INFLORA, "task, one_sided=True)", "task)", "inflora"),
    fault(INFLORA, 'context.settings["final_norm"] == "fresh"', "False", "inflora_ca on cifar100"),
]

RECTIFICATION = [
    fault(
        RECTIFY, "return x - (x @ v) @ v.mT", "return x - 0.5 * (x @ v) @ v.mT", "lora_gpm naive"
    ),
    fault(
        RECTIFY,
        "a.square().sum((-2, -1)) / a.shape[-2]",
        "a.square().sum((-2, -1))",
        "janus, rank 3",
    ),
    fault(RECTIFY, "return strength * mean_square", "return strength", "janus, rank 3"),
    fault(RECTIFY, "r_b.mT @ bt_d - mixed @", "r_b.mT @ bt_d + mixed @", "janus, rank 3"),
    fault(RECTIFY, "d_at @ r_a - (b @ r_b) @ mixed", "d_at @ r_a", "janus, rank 3"),
    fault(RECTIFY, "(s_a + lam)[..., None, :]", "s_a[..., None, :]", "janus, rank 3"),
    fault(
        RECTIFY, "+ s_a[..., None, :] + lam[..., None])", "+ s_a[..., None, :])", "janus, rank 3"
    ),
    fault(RECTIFY, "(s_b + lam)[..., None]", "(s_b + 2 * lam)[..., None]", "janus, rank 3"),
    fault(
        RECTIFY,
        "return d_a / scale, d_b / scale",
        "return d_a, d_b",
        "janus, other damping, margin, weight, scale",
    ),
    fault(
        RECTIFY, "projector: Tensor = eye - ", "projector: Tensor = eye - 0.5 * ", "janus, carried"
    ),
    fault(
        RECTIFY,
        "torch.linalg.svd(a @ v, full_matrices=False)",
        "torch.linalg.svd(a, full_matrices=False)",
        "janus, carried",
    ),
    fault(
        RECTIFIED,
        "without(g_a, self.bases) / scale, g_b / scale",
        "g_a / scale, g_b / scale",
        "janus, rank 3",
    ),
    fault(
        RECTIFIED,
        "without(g_a, self.bases) / scale, g_b / scale",
        "without(g_a, self.bases), g_b",
        "janus, other damping, margin, weight, scale",
    ),
    fault(RECTIFIED, "d_at = d_at @ self.row_filter", "pass", "janus, carried"),
    fault(RECTIFIED, "d_at[i] -= ", "d_at[i] += ", "janus, random A, leaking"),
    fault(RECTIFIED, "layer.b.copy_(b + (layer.b - b) @ rows)", "pass", "janus, carried"),
    fault(
        RECTIFIED,
        "filtered = a if self.row_filter is None else self.row_filter @ a",
        "filtered = a",
        "janus, carried",
    ),
    fault(
        RECTIFIED,
        "damping = relative_damping(a, ",
        "damping = relative_damping(filtered, ",
        "janus, carried",
    ),
    fault(
        RECTIFIED,
        "gradient = scale * (b @ d_a + d_b @ a)",
        "gradient = b @ d_a + d_b @ a",
        "janus, Adam on the composite, scale 2",
    ),
    fault(
        RECTIFIED,
        "scale * (b @ d_a + d_b @ a)",
        "scale * (b @ d_a)",
        "janus, Adam on the composite",
    ),
    fault(
        RECTIFIED,
        "gradient = self.weight_gradient()\n            optimizer.clip(gradient)\n"
        "            d = without(self.dense.direction(gradient), self.bases)",
        "gradient = without(self.weight_gradient(), self.bases)\n"
        "            d = self.dense.direction(gradient)",
        "janus, Adam on the full gradient",
    ),
    fault(
        RECTIFIED,
        'self.settings["lr"] * optimizer.factor',
        'self.settings["lr"]',
        "janus, Adam on the composite",
    ),
    fault(
        RECTIFIED,
        "self.leaks = reads and not constrained",
        "self.leaks = False",
        "janus, random A, leaking",
    ),
    fault(GPM, "constrained=", "constrained=not ", "lora_gpm_gr naive", "lora_gpm_gr, carried"),
    # Janus-LoRA
    fault(JANUS, "layer.a.grad = without(layer.a.grad, basis.v)", "pass", "janus, OE"),
    fault(
        JANUS,
        "            self.project_step(before_a)",
        "            pass",
        "janus, OE",
        "janus, rank 3",
    ),
    fault(JANUS, "1.0 - 1.0 / steps", "1.0 - 2.0 / steps", "janus, cov that forgets"),
    fault(JANUS, "* (task.epochs - 1)", "* task.epochs", "janus, gs"),
    fault(JANUS, 'last if s["estimator"] == "gs" else 0', "0", "janus, gs"),
    fault(
        JANUS,
        "rows[(at * rows.shape[0] // tokens + at) % rows.shape[0]]",
        "rows[at]",
        "janus, cov of some tokens",
    ),
    fault(JANUS, 's["margin_weight"] * term', "term", "janus, DML"),
    fault(JANUS, "self.prototypes.add(*self.task_features(task))", "pass", "janus, DML"),
    fault(JANUS, 'self.context.settings["a_init"] == "projected"', "False", "janus, OE"),
    fault(
        JANUS,
        "skip) - margin).clamp_min(0).mean()",
        "skip) + margin).clamp_min(0).mean()",
        "janus, DML",
    ),
    fault(
        JANUS,
        "skip) - margin).clamp_min(0).mean()",
        "skip) - margin).mean()",
        "janus, hinge at work",
    ),
    fault(LOSSES, "skip).max(dim=-1).values", "skip).mean(dim=-1)", "janus, DML"),
    fault(JANUS, "sharpness: float = 16.0", "sharpness: float = 8.0", "janus, smooth margin"),
    fault(JANUS, "functional.pad(over, (0, 1))", "over", "janus, smooth margin"),
    fault(
        HEADS,
        "means = functional.normalize(means.float(), dim=-1)",
        "means = means.float()",
        "janus, DML",
    ),
]

DOMAIN_STREAMS = [
    fault(LOSSES, "cosine.masked_fill(skip, -1.0)", "cosine", "janus, on domains"),
    fault(LOSSES, '.masked_fill(skip, float("inf"))', "", "lora_drs on domains"),
    fault(
        HEADS,
        "self.classes = torch.cat([self.classes, present])",
        "self.classes = present",
        "janus, on domains",
    ),
    fault(
        HEADS,
        "labels[:, None] == self.classes[None, :]",
        "labels[:, None] != self.classes[None, :]",
        "janus, on domains",
    ),
    fault(ALIGN, "heads.parts[-1].requires_grad_(True)", "pass", "inflora_ca on domains"),
    fault(
        "methods/base/heads_method.py",
        "return task.fresh",
        "return task.classes",
        "seqlora on domains",
    ),
]

OTHERS = [
    # LoRA-DRS
    fault(DRS, "own.copy_(2 * first - own)", "own.copy_(first)", "lora_drs"),
    fault(DRS, "own.copy_(2 * first - own)", "pass", "lora_drs"),
    fault(DRS, "span.shape[1] ** -0.5", "1 / span.shape[1]", "lora_drs"),
    fault(DRS, "if task.index else []", "", "lora_drs"),
    fault(DRS, 'task.train_batches("pass")', "task.plain_batches()", "lora_drs"),
    fault(DRS, "0.01 * torch.randn", "0.02 * torch.randn", "lora_drs"),
    fault(DRS, 's["triplet_weight"] * term', "term", "lora_drs"),
    fault(
        DRS,
        "b + shrink * (span @ (span.mT @ (layer.b - b)))",
        "b + shrink * (layer.b - b)",
        "lora_drs",
    ),
    fault(
        DRS,
        "a + shrink * ((layer.a - a) @ span @ span.mT)",
        "a + shrink * (layer.a - a)",
        "lora_drs_clean",
    ),
    fault(DRS, "layer.a.copy_(layer.a @ span @ span.mT)", "pass", "lora_drs_gr"),
    fault(DRS, "complement(span) for span", "span for span", "lora_drs_gr"),
    fault(
        DRS,
        'settings["classifier"] == "ncm"',
        'settings["classifier"] != "ncm"',
        "lora_drs",
        times=2,
    ),
    fault(
        LOSSES,
        "return (farthest - nearest + margin)",
        "return (nearest - farthest + margin)",
        "lora_drs",
    ),
    fault(LOSSES, "nearest = torch.minimum(nearest, to_old.amin(1))", "pass", "lora_drs"),
    fault(
        LOSSES,
        "among.masked_fill(~same, 0.0).amax(1)",
        "among.masked_fill(~same, 0.0).mean(1)",
        "lora_drs",
    ),
    # O-LoRA
    fault(OLORA, "(rows @ old.mT).abs().sum()", "(rows @ old.mT).square().sum()", "olora"),
    fault(OLORA, "(rows @ old.mT).abs().sum()", "(rows @ old.mT).abs().mean()", "olora"),
    fault(
        OLORA,
        "factors.norm(dim=(-2, -1))",
        "factors.square().sum((-2, -1))",
        "olora, other penalties",
    ),
    fault(
        OLORA,
        "factors.norm(dim=(-2, -1))",
        "factors.norm()",
        "olora, other penalties",
    ),
    fault(OLORA, "(norms(rows) + norms(ups))", "norms(rows)", "olora, other penalties"),
    fault(
        OLORA,
        "self.bank.add(self.layers)",
        "self.bank.entries.clear(); self.bank.add(self.layers)",
        "olora",
    ),
    # BiLoRA
    fault(FOURIER, "0.5 * coefficients", "coefficients", "bilora"),
    fault(FOURIER, "return alpha * updates\n", "return alpha * updates * self.width\n", "bilora"),
    fault(FOURIER, "(-u) % width, (-v) % width", "u, (-v) % width", "bilora"),
    fault(BILORA, "size // task.count", "size", "bilora"),
    fault(FOURIER, "super().merge()\n        self.delta", "self.delta", "bilora"),
    fault(BILORA, "support[:count]", "support[-count:]", "bilora, few coefficients"),
    # C-LoRA
    fault(C_LORA, "self.old = self.old + self.new", "pass", "c_lora"),
    fault(
        C_LORA,
        "layer.a.detach(), layer.scale * layer.b.detach() @ old",
        "layer.a, layer.scale * layer.b.detach() @ old",
        "c_lora",
    ),
    fault(
        C_LORA,
        "(self.new @ self.right).square().sum()",
        "(self.new @ self.left).square().sum()",
        "c_lora",
    ),
    fault(C_LORA, "(self.left @ self.new).square()", "(self.new @ self.left).square()", "c_lora"),
    fault(C_LORA, "bound = layer.b.shape[-1] ** -0.5", "bound = layer.width ** -0.5", "c_lora"),
    fault(
        C_LORA,
        "sizes.square().cumsum(-1) - sizes.square()",
        "sizes.cumsum(-1) - sizes",
        "c_lora, open, other penalty",
    ),
    fault(
        C_LORA,
        "(before < energy * total)",
        "(before + sizes.square() < energy * total)",
        "c_lora, open, other penalty",
    ),
    # SD-LoRA
    fault(
        SD,
        "m * torch.cat([self.shares, self.shares.new_ones(1)])",
        "torch.cat([self.shares, self.shares.new_ones(1)])",
        "sd_lora",
    ),
    fault(
        SD,
        "self.magnitudes = nn.Parameter(self.started_at.clone())\n        self.bank",
        "self.magnitudes = nn.Parameter(torch.cat([self.magnitudes.detach(), "
        "self.started_at[-1:]])[-len(self.started_at):])\n        self.bank",
        "sd_lora",
    ),
    fault(
        SD,
        "self.bank.install(self.layers, unit=True)\n        super()",
        "self.bank.install(self.layers, unit=False)\n        super()",
        "sd_lora",
    ),
    fault(
        BANK,
        "b.norm(dim=(-2, -1), keepdim=True) * a.norm(dim=(-2, -1), keepdim=True)",
        "b.norm(dim=(-2, -1), keepdim=True)",
        "sd_lora",
    ),
    fault(
        SD,
        "1 - 0.2 * min(index // every, 2)",
        "1 - 0.2 * min((index + 1) // every, 2)",
        "sd_lora_rr",
    ),
    fault(SD, "1 - 0.2 *", "1 - 0.1 *", "sd_lora_rr"),
    fault(
        SD,
        "self.shares = self.shares + fit",
        "self.shares = self.shares - fit",
        "sd_lora_kd, all absorbed",
    ),
    fault(SD, 'if residual < s["distill_threshold"]:', "if True:", "sd_lora_kd"),
    fault(
        BANK,
        "whole - 2 * fit @ along + fit @ old @ fit",
        "whole - 2 * fit @ along",
        "sd_lora_kd, nearly absorbed",
    ),
    # E2-LoRA
    fault(E2, "student, teacher, s[", "teacher, student, s[", "e2_lora, five tasks"),
    fault(E2, "return temperature**2 *", "return temperature *", "e2_lora"),
    fault(
        E2,
        "task.index * out //",
        "(task.index + 1) * out //",
        "e2_lora, five tasks",
    ),
    fault(
        ENERGY,
        "(c <= share * t)",
        "(c < 0.9 * share * t)",
        "e2_lora from the identity, tight energy",
    ),
    fault(ENERGY, "- count * torch.outer(mean, mean)", "", "e2_lora"),
    fault(ENERGY, "values.flip(0)", "values", "e2_lora"),
    fault(ENERGY, "pair.b[:, k:]", "pair.b[:, :0]", "e2_lora"),
    fault(
        E2,
        "layer.finish(orthonormal=not layer.b.requires_grad)",
        "layer.finish(orthonormal=True)",
        "e2_lora",
    ),
    # classifier alignment
    fault(ALIGN, "add_(self.jitter)", "add_(10 * self.jitter)", "inflora_ca on imagenet_r"),
    fault(ALIGN, "max(len(own) - 1, 1)", "len(own)", "inflora_ca on imagenet_r"),
    fault(
        ALIGN,
        "0.1 * (self.tasks + 1) / (now + 1)",
        "0.1 * self.tasks / (now + 1)",
        "inflora_ca on imagenet_r",
    ),
    fault(
        ALIGN,
        "(1 + math.cos(math.pi * epoch",
        "(1 + math.cos(math.pi * (epoch + 1)",
        "inflora_ca on imagenet_r",
    ),
    fault(
        ALIGN,
        "for part in parts]).mean(0)",
        "for part in parts]).sum(0)",
        "inflora_ca on imagenet_r",
    ),
    fault(ALIGN, "momentum=0.9, weight_decay=s", "weight_decay=s", "inflora_ca on imagenet_r"),
    fault(
        ALIGN,
        "noise.to(mean.device) @ root.mT",
        "noise.to(mean.device) @ root",
        "inflora_ca on imagenet_r",
    ),
    fault(ALIGN, 'if self.settings["align_restarts"]:', "if True:", "inflora_ca on imagenet_r"),
]

DEFAULTS = [
    fault(
        YAML.format("_head"),
        "{default: cosine, choices",
        "{default: cosine_step, choices",
        "seqlora",
    ),
    fault(
        YAML.format("_head"),
        "head_lr:      {default: 5e-4",
        "head_lr:      {default: 1e-3",
        "seqlora",
    ),
    fault(
        YAML.format("_head"),
        "momentum:     {default: 0.9",
        "momentum:     {default: 0.95",
        "seqlora on domainnet",
    ),
    fault(
        YAML.format("_training"),
        "lr:           {default: 5e-4",
        "lr:           {default: 1e-3",
        "seqlora",
    ),
    fault(YAML.format("_lora"), "rank:     {default: 10", "rank:     {default: 8", "seqlora"),
    fault(YAML.format("_lora"), "targets:  {default: kv", "targets:  {default: qv", "seqlora"),
    fault(
        YAML.format("_subspace"),
        "subspace_energy: {default: 0.95",
        "subspace_energy: {default: 0.9",
        "lora_gpm naive",
    ),
    fault(
        YAML.format("_subspace"),
        "energy_rises:    {default: true",
        "energy_rises:    {default: false",
        "inflora",
    ),
    fault(
        YAML.format("_rectify"),
        "damping:       {default: 1e-2",
        "damping:       {default: 1e-3",
        "janus, rank 3",
    ),
    fault(
        YAML.format("janus"),
        "margin:        {default: 0.2",
        "margin:        {default: 0.1",
        "janus, DML",
    ),
    fault(
        YAML.format("janus"),
        "margin_weight: {default: 0.1",
        "margin_weight: {default: 0.2",
        "janus, DML",
    ),
    fault(
        YAML.format("janus"),
        "{default: projected, choices",
        "{default: random, choices",
        "janus, OE",
    ),
    fault(
        YAML.format("lora_drs"),
        "triplet_weight:  {default: 0.05",
        "triplet_weight:  {default: 0.1",
        "lora_drs",
    ),
    fault(
        YAML.format("lora_drs"),
        "sqrt_scaling:    {default: true",
        "sqrt_scaling:    {default: false",
        "lora_drs",
    ),
    fault(
        YAML.format("olora"),
        "orthogonality: {default: 0.5",
        "orthogonality: {default: 1.0",
        "olora",
    ),
    fault(
        YAML.format("sd_lora"),
        "magnitude:         {default: 0.8",
        "magnitude:         {default: 1.0",
        "sd_lora",
    ),
    fault(
        YAML.format("bilora"),
        "alpha:        {default: 300.0",
        "alpha:        {default: 100.0",
        "bilora",
    ),
    fault(
        YAML.format("c_lora"),
        "penalty:        {default: 0.01",
        "penalty:        {default: 0.1",
        "c_lora",
    ),
    fault(
        YAML.format("_align"),
        "align_samples:  {default: 256",
        "align_samples:  {default: 128",
        "inflora_ca on imagenet_r",
    ),
    fault(
        YAML.format("inflora_ca"),
        "final_norm: fresh",
        "final_norm: pretrained",
        "inflora_ca on cifar100",
    ),
]

NO_FAULTS = [
    fault(
        BILORA,
        "            layer.merge()\n",
        "            pass\n",
        "bilora",
        equal="the task's begin merges again; merging nothing adds nothing",
    ),
    fault(
        INFLORA,
        "left = left * left.gather(0, left.abs().argmax(0, keepdim=True)).sign()",
        "pass",
        "inflora",
        equal="B takes up the sign of a row of A; fixed for equal bytes everywhere",
    ),
    fault(
        PROTECTED,
        "without(without(layer.a, basis), basis)",
        "without(layer.a, basis)",
        "lora_gpm exact",
        equal="a projection repeated, for float32's rounding",
    ),
    fault(
        PROTECTED,
        "            safe = without(safe, bases)\n",
        "            pass\n",
        "lora_gpm exact",
        equal="a projection repeated, for float32's rounding",
    ),
    fault(
        SUBSPACE,
        "if have >= energy else int((captured < energy - 1e-12).sum()) + 1",
        "if have >= energy else int((captured <= energy).sum()) + 1",
        "lora_gpm naive",
        "inflora",
        equal="shares that equal the threshold do not occur",
    ),
    fault(
        RECTIFY,
        "s_b, s_a = s_b.clamp_min(0), s_a.clamp_min(0)",
        "pass",
        "janus, rank 3",
        equal="eigenvalues of B^T B and A A^T are not negative but for rounding",
    ),
    fault(
        DRS,
        "self.before = [(a, torch.zeros_like(b)) for a, b in self.before]",
        "pass",
        "lora_drs",
        equal="read by the diagnostics alone",
    ),
]

FAULTS = [*NO_FAULTS, *TRAINING, *SUBSPACES, *RECTIFICATION, *DOMAIN_STREAMS, *OTHERS, *DEFAULTS]
