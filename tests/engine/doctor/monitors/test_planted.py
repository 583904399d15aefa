"""Planted faults are named within the steps stated here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.learning.optimizer import build_optimizer
from engine.runs import events as ev
from engine.runs.store import RunFolder, RunReader
from engine.training import step as step_module

from .runs import of_kind, raised, trained


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


LOSS = """
def loss(pred, targets, head):
    terms = terms_of(pred, targets, head)
    {change}
    terms["total"] = terms["lcls"] + terms["lbox"] + terms["lobj"]
    return terms
"""


def test_a_learning_rate_a_hundred_times_too_high(tmp_path: Path) -> None:
    found = raised(trained(tmp_path, 9, "train.lr=0.2"))
    assert found["monitor.update"].function == "optimizer"
    assert found["monitor.update"].step <= 5


@pytest.mark.parametrize("term", ["lbox", "lobj", "lcls"])
def test_a_term_without_gradient(tmp_path: Path, term: str) -> None:
    change = f'terms["{term}"] = terms["{term}"].detach()'
    found = raised(trained(tmp_path, 6, fault=LOSS.format(change=change)))
    finding = found[f"monitor.gradient.{term}"]
    assert (finding.function, finding.step) == ("loss", 5)
    channel = {"lbox": "x", "lobj": "conf", "lcls": "class"}[term]
    assert found[f"monitor.channel.{channel}"].step == 3
    assert found[f"monitor.channel.{channel}"].channels == (channel,)


@pytest.mark.parametrize("term", ["lbox", "lobj", "lcls"])
def test_a_term_that_drowns_the_others(tmp_path: Path, term: str) -> None:
    change = f'terms["{term}"] = terms["{term}"] * 1000'
    found = raised(trained(tmp_path, 6, fault=LOSS.format(change=change)))
    finding = found.pop(f"monitor.dominating.{term}")
    assert (finding.function, finding.step) == ("loss", 5)
    assert not [probe for probe in found if "dominating" in probe]


def test_a_declared_term_in_no_sum_by_its_value(tmp_path: Path) -> None:
    listed = 'loss.total=["lcls", "lbox", "lobj", "liou"]'
    found = raised(trained(tmp_path, 6, listed, fault=LOSS.format(change="pass")))
    assert set(found) == {"monitor.sum.liou"}
    assert found["monitor.sum.liou"].step == 5


def test_a_declared_term_in_no_sum_by_its_gradient(tmp_path: Path) -> None:
    # free scales hide it from the values
    fault = LOSS.format(change="pass").replace('terms["lcls"] + terms["lbox"] +', '3 * terms["lcls"] +')
    found = raised(trained(tmp_path, 6, fault=fault))
    assert found["monitor.sum.lbox"].step == 5


def test_what_is_declared_as_only_shown_may_be_in_no_sum(tmp_path: Path) -> None:
    assert not raised(trained(tmp_path, 60, fault=LOSS.format(change="pass")))


def test_a_scaled_total_is_no_fault(tmp_path: Path) -> None:
    fault = LOSS.format(change="pass").replace('terms["lbox"] +', '7 * terms["lbox"] +')
    assert not raised(trained(tmp_path, 30, fault=fault))


def test_a_term_of_the_users_own_that_teaches_nothing(tmp_path: Path) -> None:
    found = raised(
        trained(tmp_path, 6, fault=LOSS.format(change='terms["mine"] = (pred[..., 2] ** 2).mean()'))
    )
    assert set(found) == {"monitor.sum.mine"}


@pytest.mark.parametrize(
    "change",
    [
        "labels = [each * 0 for each in labels]",
        "boxes = [b[k != 1] for b, k in zip(boxes, labels)]; labels = [k[k != 1] for k in labels]",
    ],
    ids=["zeroed", "missing"],
)
def test_a_class_without_slots(tmp_path: Path, change: str) -> None:
    fault = f"\ndef assign(boxes, labels, head):\n    {change}\n    return targets_of(boxes, labels, head)\n"
    found = raised(trained(tmp_path, 12, fault=fault))
    finding = found["monitor.class.slots"]
    assert finding.function == "assign"
    assert finding.step <= 10
    assert "'blue'" in finding.message


def test_a_class_without_objects(tmp_path: Path) -> None:
    found = raised(trained(tmp_path, 6, 'data.classes=["red", "blue", "green"]'))
    assert set(found) == {"monitor.class.data"}
    assert found["monitor.class.data"].step == 3
    assert "'green'" in found["monitor.class.data"].message


def test_targets_whose_mask_is_zero(tmp_path: Path) -> None:
    fault = (
        "\ndef assign(boxes, labels, head):\n    targets = targets_of(boxes, labels, head)\n"
        "    targets[..., 0] = 0\n    return targets\n"
    )
    found = raised(trained(tmp_path, 6, fault=fault))
    assert found["monitor.positives"].function == "assign"
    assert found["monitor.positives"].step == 3


NETWORK = """
from engine.nets.compact import Compact
class Net(torch.nn.Module):
    def __init__(self, head):
        super().__init__()
        self.inner = Compact([head], 4)
    def forward(self, images):
        return self.inner(images)[0]
def build_model(head, classes):
    net = Net(head)
    {change}
    return net
"""


def test_a_layer_frozen_behind_one_that_learns(tmp_path: Path) -> None:
    change = "net.inner.mixes.requires_grad_(False)"
    found = raised(trained(tmp_path, 6, fault=NETWORK.format(change=change)))
    assert found["monitor.frozen"].step == 1
    assert "8 x 8 x 3 x 3" in found["monitor.frozen"].message


def test_a_frozen_backbone_is_no_fault(tmp_path: Path) -> None:
    change = "net.inner.stem.requires_grad_(False); net.inner.stages[0].requires_grad_(False)"
    assert not raised(trained(tmp_path, 30, fault=NETWORK.format(change=change)))


def test_parameters_cut_off_from_the_gradient(tmp_path: Path) -> None:
    change = (
        "net.spare = torch.nn.Conv2d(3, 4, 1); net.stem = torch.nn.Conv2d(3, 3, 1)\n"
        "    net.register_forward_pre_hook(lambda m, x: (m.stem(x[0]).detach(),))"
    )
    found = raised(trained(tmp_path, 6, fault=NETWORK.format(change=change)))
    assert found["monitor.frozen"].step == 5
    assert "stem.weight" in found["monitor.frozen"].message
    assert "spare" not in found["monitor.frozen"].message


def test_a_layer_that_is_never_used_is_no_fault(tmp_path: Path) -> None:
    change = "net.spare = torch.nn.Conv2d(3, 4, 1)"
    assert not raised(trained(tmp_path, 30, fault=NETWORK.format(change=change)))


def test_parameters_that_stay(tmp_path: Path) -> None:
    change = "net.inner.mixes['8'][0].weight.register_hook(lambda g: g * 0)"
    found = raised(trained(tmp_path, 6, "train.weight_decay=0", fault=NETWORK.format(change=change)))
    assert set(found) == {"monitor.still"}
    assert found["monitor.still"].step == 3
    assert "mixes.8.0.weight" in found["monitor.still"].message


def test_an_optimizer_without_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_head(model: nn.Module, *rest: object) -> torch.optim.Optimizer:
        optimizer = build_optimizer(model, *rest)  # type: ignore[arg-type]
        head = {id(p) for name, p in model.named_parameters() if "heads" in name}
        for group in optimizer.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in head]
        return optimizer

    monkeypatch.setattr(step_module, "build_optimizer", without_head)
    found = raised(trained(tmp_path, 6))
    assert found["monitor.frozen"].function == "optimizer"
    assert found["monitor.frozen"].step == 1
    assert "heads.8.conv.weight" in found["monitor.frozen"].message
    assert found["monitor.still"].step == 3


def test_a_value_that_is_not_finite(tmp_path: Path) -> None:
    found = raised(
        trained(tmp_path, 6, fault=LOSS.format(change='terms["lobj"] = terms["lobj"] * float("nan")'))
    )
    finding = found["monitor.finite"]
    assert (finding.function, finding.step) == ("loss", 1)
    assert "lobj is nan" in finding.message


@pytest.mark.slow
def test_a_conf_target_that_is_constant(tmp_path: Path) -> None:
    change = (
        'terms["lobj"] = torch.nn.functional.binary_cross_entropy_with_logits('
        "pred[..., 0], torch.full_like(pred[..., 0], 0.02))"
    )
    found = raised(trained(tmp_path, 330, fault=LOSS.format(change=change)))
    assert set(found) == {"monitor.objectness"}
    assert found["monitor.objectness"].step <= 320
    assert found["monitor.objectness"].channels == ("conf",)


def test_a_jump_of_the_rate_is_raised_and_cleared(tmp_path: Path) -> None:
    fault = NETWORK.format(change="pass")
    # a network that asks for another rate cannot be had from a file: the control is the only way in
    from engine.training import loop

    original = loop.Loop._rates
    asked = iter([1.0] * 4 + [20.0] * 3 + [1.0] * 8)

    def jumping(self: loop.Loop) -> tuple[float, float]:
        scheduled, rate = original(self)
        return scheduled, rate * next(asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Loop, "_rates", jumping)
        events = trained(tmp_path, 15, fault=fault)
    assert raised(events)["monitor.rate"].step == 5
    assert [(c.probe, c.step) for c in of_kind(events, ev.FindingCleared) if c.probe == "monitor.rate"] == [
        ("monitor.rate", 10)
    ]


def test_findings_are_in_the_store_and_are_raised_once_over_a_resume(tmp_path: Path) -> None:
    fault = LOSS.format(change='terms["lbox"] = terms["lbox"].detach()')
    events = trained(tmp_path, 12, fault=fault, resume_after=7)
    names = [finding.probe for finding in of_kind(events, ev.FindingRaised)]
    assert len(set(names)) == len(names)
    assert "monitor.gradient.lbox" in names
    with RunReader(RunFolder.open(tmp_path / "run")) as reader:
        assert [finding.probe for finding in reader.findings()] == names


def test_a_checkpoint_from_before_there_were_monitors_goes_on(tmp_path: Path) -> None:
    trained(tmp_path, 12, stop_after=4)
    state = tmp_path / "run" / "checkpoints" / "last.state.pt"
    kept = torch.load(state, weights_only=True)
    del kept["monitors"]
    torch.save(kept, state)
    assert not raised(trained(tmp_path, 12, resume=True))
