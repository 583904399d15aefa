"""Device and precision."""

from __future__ import annotations

import pytest
import torch

from engine.device import Compute, choose_compute
from engine.errors import UserError


@pytest.mark.parametrize(("units", "dtype"), [({"amx_bf16": True}, torch.bfloat16), ({}, None)])
def test_a_cpu_trains_in_bf16_where_it_has_units_for_it(
    monkeypatch: pytest.MonkeyPatch, units: dict[str, bool], dtype: torch.dtype | None
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    compute = choose_compute("cpu")
    assert compute.autocast is dtype
    assert ("bf16" in compute.name) == (dtype is not None)
    assert not compute.scaled, "only fp16 needs its loss scaled"


def test_a_torch_that_does_not_tell_trains_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_compute("cpu").autocast is None


@pytest.mark.parametrize("named", ["fp32", "bf16"])
def test_a_precision_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": named == "fp32"}, raising=False)
    assert choose_compute("cpu", named).autocast is {"fp32": None, "bf16": torch.bfloat16}[named]


def test_autocasting_is_what_was_chosen() -> None:
    a = torch.ones(2, 2)
    for named, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with choose_compute("cpu", named).autocasting():
            assert (a @ a).dtype is dtype


@pytest.mark.parametrize(
    ("device", "precision", "where"),
    [
        ("gpu", "auto", "train.device"),
        ("meta", "auto", "train.device"),
        ("cuda:99", "auto", "train.device"),
        ("cpu", "fp16", "train.precision"),
    ],
)
def test_what_is_not_there_is_refused_with_the_key(device: str, precision: str, where: str) -> None:
    with pytest.raises(UserError) as refused:
        choose_compute(device, precision)
    assert where in str(refused.value)
    assert "\n" not in str(refused.value)


def test_scores_are_taken_in_full_precision_on_a_cpu() -> None:
    assert Compute(torch.device("cpu"), torch.bfloat16).for_scores().autocast is None
    gpu = Compute(torch.device("cuda"), torch.bfloat16)
    assert gpu.for_scores() == gpu
