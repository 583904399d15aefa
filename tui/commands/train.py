"""``yolotui train``: the live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

from engine.config import Config, load_config
from engine.errors import UserError
from engine.runs.choosing import chosen_run
from engine.training.launch import LEADER_FIRST, check_batch, is_spokesman, was_launched

from ..console import USAGE, is_interactive


def train(
    source: Path,
    code: Path | None,
    overrides: list[str],
    run: Path | None,
    headless: bool,
    resume: bool,
    nproc: int = 1,
) -> int:
    """Returns the exit code."""
    try:
        return _train(source, code, overrides, run, headless, resume, nproc)
    except UserError:
        if is_spokesman():
            raise
        time.sleep(LEADER_FIRST)
        return USAGE


def _train(
    source: Path,
    code: Path | None,
    overrides: list[str],
    run: Path | None,
    headless: bool,
    resume: bool,
    nproc: int,
) -> int:
    config = load_config(source, overrides)
    if code is not None and not code.is_file():
        raise UserError("no such file", where=f"--code {code}", fix="name a Python file")
    if was_launched():
        if nproc > 1:
            raise UserError("a launcher has started several already", where="--nproc", fix="leave it out")
        from ..rank import train_rank

        train_rank(config, source, code, run, resume)
    interactive = is_interactive() and not headless
    if nproc > 1:
        check_batch(config, nproc)
        with chosen_run(source, run, resume) as chosen:
            return _train_several(config, source, code, overrides, chosen, resume, nproc, interactive)
    if interactive:
        # Seconds of imports and reading lie ahead: an empty terminal would look like a hang.
        print(f"yolotui: setting up {source}", flush=True)
    from engine.training.session import Training

    with chosen_run(source, run, resume) as chosen:
        training = Training(config, chosen, source=source, code=code, resume=resume)
    folder = training.folder
    if not interactive:
        from ..headless import train_headless

        return train_headless(training, folder.path, folder.log, config.train.log_seconds)
    from ..app import LiveApp
    from ..remembered import default_path
    from ..terminal import leave, run_live

    app = LiveApp(training, folder.path, log_path=folder.log, layout_path=default_path())
    status = run_live(app)
    leave(status, app.thread.is_alive())
    return status


def _train_several(
    config: Config,
    source: Path,
    code: Path | None,
    overrides: list[str],
    folder: Path,
    resume: bool,
    nproc: int,
    interactive: bool,
) -> int:
    from ..ranks import Ranks, output_file, wait_for

    command = ["train", str(source), "--run", str(folder), "--headless"]
    command += [part for each in overrides for part in ("--set", each)]
    command += ["--code", str(code)] if code else []
    command += ["--resume"] if resume else []
    if not interactive:
        return wait_for(Ranks(nproc, config.train.device, folder, command, None))
    print(f"yolotui: setting up {source} in {nproc} processes", flush=True)
    output = output_file()
    with output.open("ab") as file:
        ranks = Ranks(nproc, config.train.device, folder, command, file.fileno())
    from ..trainer import show  # while the processes begin

    status = show(ranks, output)
    if status == 0:
        output.unlink(missing_ok=True)
    return status
