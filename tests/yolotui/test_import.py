"""``yolotui`` as a name: cheap, whole, and out of the way of a script's own ``engine`` and ``tui``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yolotui

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, folder: Path) -> str:
    script = folder / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, cwd=folder, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_costs_no_torch_and_no_engine(tmp_path: Path) -> None:
    code = "import sys, yolotui\nprint([m for m in ('torch', 'numpy', 'engine', 'tui') if m in sys.modules])"
    assert run(code, tmp_path).strip() == "[]"


def test_an_engine_package_and_a_tui_module_of_the_scripts_own_stay_its_own(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("MINE = 1")
    (tmp_path / "engine" / "layout.py").write_text("MINE = 2")
    (tmp_path / "tui.py").write_text("MINE = 3")
    code = (
        "import engine, engine.layout, tui\n"
        "from yolotui import Head, Layout, __version__\n"
        "import engine.layout as again, pickle\n"
        "print(engine.MINE, again.MINE, tui.MINE, Layout(order='b (a c) y x').order, bool(__version__))\n"
        "print(pickle.loads(pickle.dumps(Layout())) == Layout(), hasattr(engine.layout, 'Layout'))\n"
    )
    assert run(code, tmp_path).split("\n")[:2] == ["1 2 3 b (a c) y x True", "True False"]


def test_what_it_offers_is_there_and_nothing_else() -> None:
    assert set(yolotui.__all__) <= set(dir(yolotui))
    assert all(getattr(yolotui, name) is not None for name in yolotui.__all__)
    assert not hasattr(yolotui, "recorder")
