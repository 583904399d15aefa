"""Config files: what they may hold, and the one line that tells what is wrong with one."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Config, dump_config, load_config, parse_override
from engine.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def complaint(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(path, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("[data]\nformt = 'voc'", "unknown key 'data.formt'", "did you mean 'data.format'?"),
        ("[train]\nbatchsize = 8", "unknown key 'train.batchsize'", "did you mean 'train.batch_size'?"),
        ("[trian]\nlr = 1.0", "unknown key 'trian'", "did you mean 'train'?"),
        ("[model]\nbatch_size = 8", "unknown key 'model.batch_size'", "did you mean 'train.batch_size'?"),
        ("[model]\nqqqq = 8", "unknown key 'model.qqqq'", "remove it"),
        ("epochs = 3", "unknown key 'epochs'", "did you mean 'train.epochs'?"),
    ],
)
def test_an_unknown_key_and_the_nearest_one(tmp_path: Path, text: str, key: str, remedy: str) -> None:
    path = written(tmp_path, text)
    assert complaint(path) == f"{path}: {key}; {remedy}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[data]\nformat = 'vic'", "data.format = 'vic': input should be 'voc', 'yolo', 'coco' or 'demo'"),
        ("[train]\nlr = 'fast'", "train.lr = 'fast': input should be a valid number; the default is 0.001"),
        ("[train]\nlr = 0", "train.lr = 0: input should be greater than 0"),
        ("[train]\nlr = nan", "train.lr = nan: input should be a finite number"),
        ("[train]\nlr = inf", "train.lr = inf: input should be a finite number"),
        ("[train]\nepochs = '5'", "train.epochs = '5': input should be a valid integer"),
        ("[train]\nepochs = true", "train.epochs = True: input should be a valid integer"),
        ("[train]\nepochs = 0", "train.epochs = 0: input should be greater than or equal to 1"),
        ("[train]\nepochs = 2.5", "train.epochs = 2.5: input should be a valid integer"),
        ("[data]\nuse_difficult = 'no'", "data.use_difficult = 'no': input should be a valid boolean"),
        ("[data]\nclasses = 'cat'", "data.classes = 'cat': input should be a valid list"),
        ("[data]\nclasses = ['a', 'b', 'a']", "data.classes = ['a', 'b', 'a']: 'a' stands twice"),
        ("[model]\ninput_size = 16", "model.input_size = 16: an input side is at least 32 pixels"),
        ("[model]\nanchors = [[1.0, -2.0]]", "model.anchors = "),
        ("[loss]\ntotal = []", "loss.total = []: names at least one term, each once"),
        ("[loss]\ntotal = ['lbox', 'lbox']", "loss.total = ['lbox', 'lbox']: names at least one term"),
        ("[layout]\norder = 'b y x a'", "[layout] order must name each of b y x a c once, got 'b y x a'"),
        (
            "[layout]\npred = ['conf']",
            "[layout] pred must hold each of conf, x, y, w, h, class* once, got conf",
        ),
        ("train = 5", "train = 5: is not a section; write [train] above its keys"),
    ],
)
def test_an_impossible_value_is_shown_with_its_key_and_the_remedy(
    tmp_path: Path, text: str, shown: str
) -> None:
    path = written(tmp_path, text)
    told = complaint(path)
    assert told.startswith(f"{path}: ")
    assert shown in told
    assert "; " in told  # and what to do


def test_an_unknown_key_comes_before_every_other_complaint(tmp_path: Path) -> None:
    assert "unknown key 'train.lrr'" in complaint(written(tmp_path, "[train]\nlr = -1.0\nlrr = 1.0"))


def test_files_that_are_no_config(tmp_path: Path) -> None:
    assert "no such config file; name a .toml file" in complaint(tmp_path / "none.toml")
    assert "is not TOML" in complaint(written(tmp_path, "[train\nlr = 1"))
    folder = tmp_path / "run"
    folder.mkdir()
    assert "is a folder, not a config; name a .toml file" in complaint(folder)
    (folder / "config.toml").touch()
    assert f"name {folder / 'config.toml'}" in complaint(folder)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8" in complaint(binary)


def test_overrides_are_toml_literals_and_bare_words_strings(tmp_path: Path) -> None:
    path = written(tmp_path, "[train]\nlr = 0.1\nepochs = 3")
    config = load_config(
        path,
        [
            "train.epochs=5",
            "train.minutes=10",
            "model.name=compact",
            "data.classes=['a b', 'c']",
            "model.anchors=[[1, 2], [3.5, 4]]",
            "data.use_difficult=true",
            "data.val=",
            "train.device=cuda:1",
        ],
    )
    assert (config.train.lr, config.train.epochs, config.train.minutes) == (0.1, 5, 10)
    assert (config.model.name, config.data.classes) == ("compact", ["a b", "c"])
    assert config.model.anchors == [[1, 2], [3.5, 4]]
    assert config.data.use_difficult
    assert config.data.val == ""
    assert config.train.device == "cuda:1"


def test_a_wrong_override_is_named_as_it_was_typed(tmp_path: Path) -> None:
    path = written(tmp_path, "train.epochs = 3")
    assert complaint(path, "train.epochs=many").startswith("--set train.epochs=many: train.epochs = 'many': ")
    assert complaint(path, "train.epoch=5").startswith("--set train.epoch=5: unknown key 'train.epoch'; ")
    assert complaint(path, "trian.epochs=5").startswith("--set trian.epochs=5: unknown key 'trian'; ")
    for bad in ("epochs=5", "train.epochs", "a.b.c=1", "=3", "train.=3"):
        assert complaint(path, bad).startswith(f"--set: {bad!r} is not section.key=value; ")
    assert "is not a section" in complaint(written(tmp_path, "train = 5"), "train.epochs=3")


@given(st.text())
def test_any_override_is_read_or_refused_in_one_line(text: str) -> None:
    told = ""
    try:
        parts, _ = parse_override(text)
    except UserError as error:
        told, parts = str(error), []
    assert len(parts) == (0 if told else 2)
    assert "\n" not in told


def test_paths_are_relative_to_the_file_or_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "here").mkdir()
    path = written(
        tmp_path / "configs",
        "[data]\nroot = '../voc'\n[code]\nfile = 'mine.py'\n[model]\nweights = '/a/b.st'",
    )
    monkeypatch.chdir(tmp_path / "here")
    config = load_config(path)
    assert config.data.root == str(tmp_path / "voc")
    assert config.code.file == str(tmp_path / "configs" / "mine.py")
    assert config.model.weights == "/a/b.st"
    assert load_config("../configs/run.toml").data.root == str(tmp_path / "voc")
    assert load_config(path, ["data.root=data"]).data.root == str(tmp_path / "here" / "data")
    assert load_config(path, ["code.file="]).code.file == ""
    assert load_config(path, ["data.root=~/voc"]).data.root == str(Path("~/voc").expanduser())
    # Keys that are no paths stay as they are.
    assert load_config(path, ["data.train=data"]).data.train == "data"


def test_what_is_dumped_reads_back_equal(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[data]\nroot = 'voc'\nclasses = ['a', 'ü \"b\"']\n"
        "[model]\ninput_size = [320, 256]\nanchors = [[[1.0, 2.0]], [[3.0, 4.5]]]\n"
        "[train]\nlr = 3e-5\nminutes = 2\n",
    )
    config = load_config(path)
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / "config.toml"
    copy.write_text(dump_config(config))
    assert load_config(copy) == config
    assert set(tomllib.loads(copy.read_text())) == set(Config.model_fields)
    assert config.model.input_wh == (320, 256)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "")) == Config()
    assert Config().model.input_wh == (416, 416)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*.toml")), ids=lambda path: path.stem)
def test_the_configs_that_come_with_it_are_valid(path: Path) -> None:
    config = load_config(path)
    assert load_config(path, [f"train.seed={config.train.seed}"]) == config


def test_reading_a_config_does_not_pay_for_torch() -> None:
    code = "import sys, engine.config; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_byte_order_mark_is_no_part_of_a_config(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[train]\nepochs = 3\n", encoding="utf-8-sig")
    assert load_config(path).train.epochs == 3
