"""What total is made of: the declared terms, each with a positive constant factor."""

from __future__ import annotations

import torch

from ..findings import Finding
from ..stage import BOX_NAMES
from .run import TERMS, Trial, near, profile_seen


def judge_total(trial: Trial, declared: bool, bad: set[str]) -> list[Finding]:
    """total is the sum of the profile's terms, each with a positive constant factor.

    ``bad``: terms known to be wrong already.
    """
    profile = trial.stage.detector.profile
    preds = near(trial, 8)
    leaves = [p.detach().clone().requires_grad_() for p in preds]
    terms = trial.terms(leaves)
    names = [n for n in terms if n != "total"]
    if not terms["total"].requires_grad:
        return [
            Finding(
                "error",
                "loss.total",
                "loss",
                "total carries no gradient: nothing can be learnt from it",
                tensor="gradient",
                expected="a scalar with a graph",
                got="a detached number",
                fix="sum the terms as tensors, without .item(), .detach() or float()",
                term="total",
            )
        ]
    grads = trial.grads(preds, [*names, "total"])
    used = [n for n in names if float(grads[n].abs().max()) > 0]
    matrix = torch.stack([grads[n].flatten() for n in used], 1).double()
    goal = grads["total"].flatten().double()
    scale = matrix.norm(dim=0).clamp(min=1e-30)
    factors = torch.linalg.lstsq(matrix / scale, goal.unsqueeze(1)).solution[:, 0] / scale
    rest = float((matrix @ factors - goal).norm() / goal.norm().clamp(min=1e-30))
    found = dict(zip(used, factors.tolist(), strict=True))
    if "liou" in found and "lbox" in found:
        i, j = used.index("liou"), used.index("lbox")
        close = float((matrix[:, i] @ matrix[:, j]) / (scale[i] * scale[j]))
        if abs(close) > 0.999:  # one and the same up to a factor: which of them it is makes no difference
            found.pop("liou")
    shown = " + ".join(f"{value:.3g} {name}" for name, value in found.items() if abs(value) > 1e-4) or "0"
    expected = " + ".join(profile.total)
    findings = []

    def say(text: str, channels: tuple[str, ...], term: str, fix: str) -> None:
        findings.append(
            Finding(
                "error",
                "loss.total",
                "loss",
                text,
                tensor="gradient",
                channels=channels,
                expected=expected,
                got=shown,
                fix=fix,
                term=term,
            )
        )

    own = {"lcls": ("class",), "lbox": BOX_NAMES, "lobj": ("conf",), "liou": BOX_NAMES}
    for name in TERMS:
        factor = found.get(name)
        if factor is None:
            continue
        if name in profile.total and abs(factor) <= 1e-4:
            # undeclared, a total that holds liou for lbox is a choice; without lcls or lobj it is none
            if declared or name != "liou":
                say(f"total leaves out {name}", own[name], name, f"add {name} to total")
        elif name in profile.total and factor < 0:
            say(f"total takes {name} with the wrong sign", own[name], name, f"add {name}")
        elif name not in profile.total and abs(factor) > 1e-3:
            if declared:
                say(
                    f"total holds {name}, which [loss] total does not list",
                    own[name],
                    name,
                    f'take it out, or list "{name}" in loss.total',
                )
            elif not bad:
                findings.append(
                    profile_seen("total", ", ".join(n for n in TERMS if abs(found.get(n, 0)) > 1e-3))
                )
    if not findings and rest > 5e-3:
        say(
            "total is not a sum of its terms: the gradient holds something else",
            (),
            "total",
            f"total = {expected}",
        )
    return findings
