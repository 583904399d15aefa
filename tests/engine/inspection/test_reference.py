"""The built-in detector on a captured step gives what it gave while training."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from engine.config import load_config
from engine.errors import UserError
from engine.inspection.frames import built_in_decode
from engine.inspection.reference import reference_snapshot, with_functions
from engine.training.fresh import look_once
from engine.yolo.plugin import load_functions

from .scenes import HEAD, canonical_pred, snapshot

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import tiny_voc

DECODE = """
import torch
def decode(pred, head):
    grid = torch.stack(torch.meshgrid(
        torch.arange(head.grid_h), torch.arange(head.grid_w), indexing="ij"), -1).flip(-1)[:, :, None]
    box = pred[..., 0:4]
    size = torch.tensor([head.grid_w, head.grid_h])
    xy = (grid + 0.5 + box[..., :2]) / size
    return torch.cat((xy, head.anchors * box[..., 2:].exp() / size), -1)
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_voc.write_config(tmp_path_factory.mktemp("tiny"))


def test_without_a_users_code_nothing_differs(config: Path) -> None:
    snapshot = look_once(load_config(config))
    reference = reference_snapshot(snapshot)
    assert reference is not None
    assert set(reference.tensors) >= {"pred.0", "targets.0", "decoded.0", "grad.0", "loss.lbox.0"}
    for name, tensor in reference.tensors.items():
        assert torch.allclose(tensor, snapshot.tensors[name], atol=1e-6), name


def test_a_users_decode_differs_where_it_is_wrong(config: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(DECODE)
    snapshot = look_once(load_config(config, [f"code.file={code}"]))
    assert str(snapshot.functions["decode"]) == "mine.py:3"
    reference = reference_snapshot(snapshot)
    assert reference is not None
    assert torch.equal(reference.tensors["pred.0"], snapshot.tensors["pred.0"])
    assert not torch.allclose(reference.tensors["decoded.0"], snapshot.tensors["decoded.0"])


def test_a_users_error_is_one_line_with_its_place(config: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text("def decode(pred, head):\n    return pred.nothing\n")
    with pytest.raises(UserError, match=r"mine\.py:2: AttributeError"):
        look_once(load_config(config, [f"code.file={code}"]))


def test_a_step_made_anew_by_the_users_functions(tmp_path: Path) -> None:
    """The user's decode halves every box; what it does not make is kept."""
    code = tmp_path / "mine.py"
    code.write_text(
        "def decode(pred, head):\n"
        "    from engine.yolo.decode import decode_boxes\n"
        "    return decode_boxes(pred, head, 'yolov2') / 2\n"
    )
    made = snapshot()
    anew = with_functions(made, load_functions(code))
    assert torch.equal(anew.tensors["pred.0"], made.tensors["pred.0"])
    assert torch.equal(anew.tensors["images"], made.tensors["images"])
    assert torch.allclose(anew.tensors["decoded.0"], built_in_decode(made.layout)(canonical_pred(), HEAD) / 2)
    assert str(anew.functions["decode"]) == "mine.py:1"
    assert anew.step == made.step
    code.write_text("def decode(pred, head):\n    return pred[..., 99]\n")
    with pytest.raises(UserError, match=r"mine\.py:2"):
        with_functions(made, load_functions(code))
