"""Weights to detections: which weights are meant, that the bundled ones see, and what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config import load_config
from engine.data.demo import draw_demo
from engine.data.images import read_image
from engine.data.shapes import draw_scene
from engine.data.voc import read_voc
from engine.errors import UserError
from engine.nets.weights import read_description, read_tensors, save_weights
from engine.predictor import demo_weights, find_weights, load_predictor
from engine.runs.importing.importer import import_log
from engine.runs.listing import newest
from engine.scoring import evaluate_split
from engine.training.session import Training
from engine.yolo.views import SYMMETRIES

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import tiny_voc


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run of the tiny set, and its config."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    config = tiny_voc.write_config(folder)
    Training(load_config(config), folder / "run", source=config, code=None, resume=False).run()
    return folder / "run", config


def test_a_run_means_its_best_weights_where_it_validated(run: tuple[Path, Path]) -> None:
    assert find_weights(str(run[0])).name == "best.safetensors"


def test_without_weights_the_newest_run_else_the_demos(
    run: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_weights(None) == demo_weights()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one").symlink_to(run[0])
    assert find_weights(None).parent.parent.name in ("one", "run")
    # an imported log is a run too, and has none
    (tmp_path / "log.txt").write_text("".join(f"epoch {k} loss {1 / k:.3f}\n" for k in range(1, 30)))
    import_log(tmp_path / "log.txt", run=tmp_path / "runs" / "two")
    found = newest("runs")
    assert found is not None
    assert found.name == "two"
    assert find_weights(None).parent.parent.name in ("one", "run")


def test_a_network_that_predicts_no_numbers_is_said_to(run: tuple[Path, Path], tmp_path: Path) -> None:
    """Else it would find nothing, anywhere, without a word."""
    weights = run[0] / "checkpoints" / "best.safetensors"
    tensors = {name: value.clone() for name, value in read_tensors(weights).items()}
    next(value for value in tensors.values() if value.is_floating_point()).fill_(float("nan"))
    save_weights(tmp_path / "nan.safetensors", tensors, read_description(weights))
    predictor = load_predictor(str(tmp_path / "nan.safetensors"), device="cpu")
    for looking in (predictor, predictor.looking_all_ways()):
        with pytest.raises(UserError, match=r"nan\.safetensors: its network predicts NaN or infinity"):
            looking.detect([np.zeros((40, 60, 3), np.uint8)])


def test_a_function_that_raises_is_said_with_its_line(run: tuple[Path, Path], tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text("def decode(pred, head):\n    return pred.grid\n")
    predictor = load_predictor(str(run[0]), code, device="cpu")
    with pytest.raises(UserError, match=r"mine\.py:2: raises AttributeError"):
        predictor.detect([np.zeros((40, 60, 3), np.uint8)])


MINE = """
from engine.nets.registry import build_network
from engine.config import ModelConfig
from engine.layout import Layout

def build_model(head, classes):
    return build_network(ModelConfig(name="compact", width=4, input_size=[96, 64]), (head,), Layout())
"""


@pytest.mark.slow
def test_weights_say_whose_functions_they_want(tmp_path: Path) -> None:
    code, config = tmp_path / "mine.py", tiny_voc.write_config(tmp_path)
    changes = [f"code.file={code}", "train.epochs=1", "data.val="]
    code.write_text(MINE)
    Training(load_config(config, changes), tmp_path / "run", source=config, code=code, resume=False).run()
    weights = tmp_path / "run" / "checkpoints" / "last.safetensors"
    assert load_predictor(str(weights), code).notes == ()
    with pytest.raises(UserError, match=r"built by build_model of .*mine\.py; give that file with --code"):
        load_predictor(str(weights))
    plain = str(tmp_path / "plain.safetensors")
    save_weights(
        Path(plain), read_tensors(weights), {**read_description(weights), "own": ["assign", "detect"]}
    )
    predictor = load_predictor(plain)
    assert not predictor.blueprint.fused  # the config's rule was not what filled the targets
    (note,) = predictor.notes
    assert "trained with detect of" in note
    assert "--code" in note
    assert evaluate_split(load_config(config), plain).notes() == [note]


@pytest.mark.slow
def test_the_bundled_weights_are_small_and_see_the_demos_shapes(tmp_path: Path) -> None:
    assert demo_weights().stat().st_size < 3_000_000
    predictor = load_predictor(str(demo_weights()), device="cpu")
    assert predictor.compute.autocast is None, "the same scores on every CPU"
    root = draw_demo(tmp_path / "demo")
    dataset = read_voc(root, "test", list(predictor.classes), 1)
    found = right = truths = 0
    for sample in dataset.samples[:20]:
        (rows,) = predictor.detect([read_image(sample.path)])
        assert rows.shape[1] == 6
        found += len(rows)
        truths += len(sample.boxes)
        right += sum(_hit(row, sample.boxes[sample.labels == int(row[5])]) for row in rows)
    assert right > 0.7 * truths
    assert right > 0.7 * found


def _hit(row: np.ndarray, truths: np.ndarray) -> bool:
    from engine.boxes import pairwise_iou

    overlaps = pairwise_iou(torch.tensor(row[None, :4]), torch.tensor(truths))
    return bool((overlaps > 0.5).any())


def test_images_of_any_size_in_one_batch(run: tuple[Path, Path]) -> None:
    predictor = load_predictor(str(run[0]))
    images = [np.full((h, w, 3), 90, np.uint8) for h, w in ((64, 96), (200, 31), (1, 1))]
    found = predictor.detect(images, conf=0.0)
    for rows, image in zip(found, images, strict=True):
        assert (rows[:, 2] <= image.shape[1] + 1e-3).all()
        assert (rows[:, 3] <= image.shape[0] + 1e-3).all()


def test_slots_speak_together_where_each_truth_was_learnt_at_several(run: tuple[Path, Path]) -> None:
    predictor = load_predictor(str(run[0]))
    alone, together = (
        replace(
            predictor,
            blueprint=replace(
                predictor.blueprint, model=predictor.blueprint.model.model_copy(update={"assign": rule})
            ),
        )
        for rule in ("best", "multi")
    )
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    pred, size = alone._predict(torch.from_numpy(alone.prepare(image)).permute(2, 0, 1)[None]), [(96, 96)]
    for predictor, fused in ((alone, False), (together, True)):
        (expected,) = predictor.detector.detect(pred, size, conf=0.0, fused=fused, one_class=True)
        torch.testing.assert_close(torch.from_numpy(predictor.detect([image], conf=0.0)[0]), expected)
    places = [torch.from_numpy(p.detect([image], conf=0.0)[0][:, :4]) for p in (alone, together)]
    assert not torch.equal(*places)


def test_a_split_is_scored(run: tuple[Path, Path]) -> None:
    scores = evaluate_split(load_config(run[1]), str(run[0])).scores
    assert scores.images == 6
    document = scores.to_json()
    assert set(document["per_class"]) == {"red", "blue"}
    assert set(document["coco"]) == {
        "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
    }  # fmt: skip


@pytest.mark.slow
def test_looking_from_both_sides_is_mirrored_with_the_picture() -> None:
    plain = load_predictor(str(demo_weights()), device="cpu")
    both = plain.looking_all_ways()
    assert len(both.views) == 2
    picture, _ = draw_scene(np.random.default_rng(0))
    (here,) = both.detect([picture])
    (there,) = both.detect([np.ascontiguousarray(picture[:, ::-1])])
    assert len(here) == len(there) > 0
    mirrored = there.copy()
    mirrored[:, (0, 2)] = picture.shape[1] - there[:, (2, 0)]
    np.testing.assert_allclose(mirrored, here, atol=1e-2)
    (alone,) = plain.detect([picture])
    (other,) = plain.detect([np.ascontiguousarray(picture[:, ::-1])])
    assert np.abs(alone[0, 4] - other[0, 4]) > 1e-3, "else there was nothing to average"


def test_all_eight_ways_of_an_input_that_is_no_square(run: tuple[Path, Path]) -> None:
    plain = load_predictor(str(run[0]))
    blueprint = replace(plain.blueprint, symmetries=SYMMETRIES)
    around = replace(plain, blueprint=blueprint).looking_all_ways()
    assert len(around.views) == 8
    # letterboxed with a border on two sides, of an odd number of pixels
    picture = np.random.default_rng(0).integers(0, 255, (61, 45, 3), np.uint8)
    (here,) = around.detect([picture], conf=0.001)
    (there,) = around.detect([np.ascontiguousarray(picture[::-1])], conf=0.001)
    assert len(here) == len(there) > 0
    assert sorted(there[:, 4].tolist()) == pytest.approx(sorted(here[:, 4].tolist()), abs=0.01)
    assert around.detect([picture, picture], conf=1.0)[1].shape == (0, 6)


def test_weights_that_know_no_symmetry_are_not_looked_at_from_all_sides(run: tuple[Path, Path]) -> None:
    plain = load_predictor(str(run[0]))
    blueprint = replace(plain.blueprint, symmetries=())
    with pytest.raises(UserError, match=r"--tta .*names no flip_x, flip_y or transpose"):
        replace(plain, blueprint=blueprint).looking_all_ways()


def test_a_split_is_scored_from_all_sides(run: tuple[Path, Path]) -> None:
    config = load_config(run[1])
    assert evaluate_split(config, str(run[0]), tta=True).scores.images == 6


def test_what_does_not_fit_is_refused(run: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such weights file"):
        load_predictor(str(tmp_path / "nothing.safetensors"))
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(UserError, match="no safetensors file"):
        load_predictor(str(tmp_path / "text.safetensors"))
    config = load_config(run[1], ['data.classes=["red", "blue", "green"]'])
    with pytest.raises(UserError, match="knows the classes red, blue"):
        evaluate_split(config, str(run[0]))
    with pytest.raises(UserError, match=r"names no data\.val"):
        evaluate_split(load_config(run[1], ["data.val="]), str(run[0]))
