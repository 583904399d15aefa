"""The command line. Only arguments are read here; each command's work is imported when it is called, so that
``--help`` and completion cost no second of ``import torch``."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer

from engine.errors import Terminated, UserError

from .console import FAILED, INTERRUPTED, PIPE_CLOSED, TERMINATED, USAGE, complain, log_crash, memory_lacking

app = typer.Typer(
    name="yolotui",
    help="Train, watch and use YOLO-style detectors from the terminal.",
    epilog="Example: yolotui train configs/demo.toml",
    add_completion=True,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data = typer.Typer(help="Data sets: the drawn demo set, the audit.", rich_markup_mode=None)
app.add_typer(data, name="data", epilog="Example: yolotui data check configs/voc.toml")

DISK_FAULTS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "name a folder that can be written to",
}
"""What to do about them."""

CONFIG = typer.Argument(metavar="CONFIG", help="A .toml file; see configs/.")
CODE = typer.Option(metavar="FILE", help="A Python file whose functions replace the reference's.")
SET = typer.Option("--set", metavar="a.b=c", help="Override a key of the config; may be given several times.")
TTA = typer.Option(
    "--tta", help="Look at each picture in every way the training mirrored and turned it, and merge."
)
JSON = typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        from importlib import metadata

        print(f"yolotui {metadata.version('yolotui')}")
        raise typer.Exit()
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit()


@app.command(epilog="Example: yolotui train configs/voc.toml --set train.epochs=5 --run runs/first")
def train(
    config: Annotated[Path, CONFIG],
    code: Annotated[Optional[Path], CODE] = None,  # noqa: UP045 (typer reads it)
    overrides: Annotated[Optional[list[str]], SET] = None,  # noqa: UP045
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="The run's folder; without it the next free one below runs/."),
    ] = None,
    headless: Annotated[
        bool, typer.Option("--headless", help="Plain lines instead of the live view.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with --run, or with the newest unfinished run of the config."),
    ] = False,
    nproc: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Processes that share every batch, each with a GPU where there are any."
        ),
    ] = 1,
) -> None:
    """Train a detector: a live view on a terminal, one line per interval elsewhere."""
    from .commands.train import train as work

    raise typer.Exit(work(config, code, overrides or [], run, headless, resume, nproc))


@app.command(epilog="Example: yolotui detect photo.jpg pictures/ film.mp4 --weights runs/voc-1 --out found")
def detect(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Images, videos, and folders of them.")
    ],
    weights: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="RUN|FILE", help="Without it: the newest run, else the demo weights."),
    ] = None,
    code: Annotated[Optional[Path], CODE] = None,  # noqa: UP045
    conf: Annotated[float, typer.Option(min=0, max=1, help="Lowest score shown.")] = 0.25,
    iou: Annotated[
        float, typer.Option(min=0, max=1, help="Overlap above which the weaker box is dropped.")
    ] = 0.45,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the drawn pictures and videos go.")] = Path(
        "detections"
    ),
    tta: Annotated[bool, TTA] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Find objects in images and videos: tables, drawn pictures and videos, the picture in the terminal."""
    from .commands.detect import detect as work

    raise typer.Exit(work(images, weights, code, conf, iou, out, tta, as_json))


@app.command(
    "eval",
    epilog="Examples: yolotui eval configs/voc.toml --weights runs/voc-1   |   "
    "yolotui eval --truth coco.json --detections results.json",
)
def evaluate(
    config: Annotated[Optional[Path], CONFIG] = None,  # noqa: UP045
    weights: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="RUN|FILE", help="A run (its best weights where it validated) or a weights file."
        ),
    ] = None,
    code: Annotated[Optional[Path], CODE] = None,  # noqa: UP045
    overrides: Annotated[Optional[list[str]], SET] = None,  # noqa: UP045
    split: Annotated[str, typer.Option(metavar="NAME", help="Without it the config's data.val.")] = "",
    truth: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="JSON", help="COCO annotations, to score --detections against."),
    ] = None,
    detections: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="JSON", help="Any detector's COCO-format results."),
    ] = None,
    tta: Annotated[bool, TTA] = False,
    errors: Annotated[
        bool,
        typer.Option("--errors", help="Also what each kind of error costs, and where labels may lack."),
    ] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Average precision (VOC and COCO) of weights on a split, or of COCO-format results."""
    from .commands import evaluate as commands

    if truth is not None and detections is not None and config is None and weights is None and not tta:
        raise typer.Exit(commands.evaluate_files(truth, detections, errors, as_json))
    if truth is not None or detections is not None:
        raise UserError(
            "--truth and --detections go together and without CONFIG, --weights or --tta",
            where="eval",
            fix="see yolotui eval --help",
        )
    if config is None or weights is None:
        missing = "CONFIG" if config is None else "--weights"
        raise UserError(f"{missing} is missing", where="eval", fix="see yolotui eval --help")
    raise typer.Exit(
        commands.evaluate_split(config, weights, code, split, overrides or [], tta, errors, as_json)
    )


@app.command(
    epilog="Examples: yolotui inspect runs/voc-1   |   yolotui inspect configs/voc.toml --code my_yolo.py"
)
def inspect(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|CONFIG", help="A run's folder (its snapshots), or a .toml file (one fresh batch)."
        ),
    ],
    code: Annotated[Optional[Path], CODE] = None,  # noqa: UP045
    reference: Annotated[
        str,
        typer.Option(
            metavar="RUN|FILE",
            help="What to compare with: a run's snapshots of the same steps, or tensors in .npz or "
            ".safetensors under the declared layout. Without it the built-in detector.",
        ),
    ] = "",
    overrides: Annotated[Optional[list[str]], SET] = None,  # noqa: UP045
) -> None:
    """Look into every cell of target and prediction, on a run's snapshots or on one fresh batch."""
    from .commands.inspect import inspect as work

    raise typer.Exit(work(target, code, reference, overrides or []))


@app.command(
    "check",
    epilog="Examples: yolotui check configs/voc.toml --code my_yolo.py   |   yolotui check --run runs/voc-1",
)
def check_code(
    config: Annotated[Optional[Path], CONFIG] = None,  # noqa: UP045
    code: Annotated[Optional[Path], CODE] = None,  # noqa: UP045
    deep: Annotated[
        bool, typer.Option("--deep", help="Also overfit one batch and detect on it (up to a minute).")
    ] = False,
    overrides: Annotated[Optional[list[str]], SET] = None,  # noqa: UP045
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="RUN", help="Instead of CONFIG: what was found while this run was trained."),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Name the faulty function and channel of your own code, before training."""
    if run is not None:
        if config is not None or code is not None or deep or overrides:
            raise UserError(
                "--run stands alone: it shows what was found in a run",
                where="check",
                fix="drop CONFIG, --code, --deep and --set, or drop --run",
            )
        from .commands.check_run import check_run

        raise typer.Exit(check_run(run, as_json))
    if config is None:
        raise UserError(
            "CONFIG is missing", where="check", fix="name a .toml file, or a run with --run; see --help"
        )
    from .commands.check import check as work

    raise typer.Exit(work(config, code, deep, overrides or [], as_json))


@app.command(epilog="Examples: yolotui attach   |   yolotui attach runs/voc-1")
def attach(
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(
            metavar="RUN", help="A run's folder, or its name below runs/; without it the newest that goes on."
        ),
    ] = None,
) -> None:
    """The live view on a run that another process writes; q leaves that one running."""
    from .commands.attach import attach as work

    raise typer.Exit(work(run))


@app.command(epilog="Example: yolotui runs runs/")
def runs(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the runs.")] = Path(
        "runs"
    ),
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """The runs in a folder: a table to search, sort and open from on a terminal, a list elsewhere."""
    from .commands.runs import show_runs

    raise typer.Exit(show_runs(root, as_json))


@app.command(epilog="Example: yolotui compare runs/voc-1 runs/voc-2")
def compare(
    run: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="The folders of two runs or more.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Lay runs over each other: curves, settings that differ, the epoch at which they part."""
    from .commands.compare import compare as work

    raise typer.Exit(work(run, as_json))


@app.command(epilog="Example: yolotui export runs/voc-1 --format html --out report.html")
def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder; for onnx a file of weights will do.")
    ],
    name: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="csv|tensorboard|html|onnx",
            help="Tables, TensorBoard's events, a report, the network.",
        ),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="PATH", help="Where to; without it a name after the run's, in this folder."),
    ] = None,
    code: Annotated[Optional[Path], CODE] = None,  # noqa: UP045
) -> None:
    """Write a run as CSV, TensorBoard events, a report that opens offline, or its network as ONNX."""
    from .commands.export import export as work

    raise typer.Exit(work(run, name, out, code))


@app.command("import", epilog="Example: yolotui import train.log --run runs/theirs")
def import_file(
    log: Annotated[
        Path, typer.Argument(metavar="LOG", help="Another trainer's log: text, CSV or JSON lines, .gz too.")
    ],
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="The run's folder; without it the next free one below runs/."),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Turn someone else's log into a run, and say what the log itself proves."""
    from .commands.importing import import_file as work

    raise typer.Exit(work(log, run, as_json))


@app.command(epilog="Example: yolotui darknet yolov3.cfg --weights yolov3.weights")
def darknet(
    cfg: Annotated[Path, typer.Argument(metavar="CFG", help="A Darknet .cfg file.")],
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="Darknet .weights to account for, value by value."),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show a Darknet network: its layers, parameters and BFLOPs, and whether weights fit it."""
    from .commands.darknet import darknet as work

    raise typer.Exit(work(cfg, weights, as_json))


@data.command(epilog="Example: yolotui data demo")
def demo(
    root: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Where to draw it; without it the user's cache."),
    ] = None,
) -> None:
    """Draw the demo set (from a seed, in VOC layout) and print its folder."""
    from .commands.data import draw

    raise typer.Exit(draw(root))


@data.command(epilog="Example: yolotui data check configs/voc.toml --json")
def check(
    config: Annotated[Path, CONFIG],
    overrides: Annotated[Optional[list[str]], SET] = None,  # noqa: UP045
    as_json: Annotated[bool, JSON] = False,
    sheet: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="A .png to draw labelled pictures to, those with problems first."),
    ] = None,
) -> None:
    """Read every label and image of a config and say what is wrong with them."""
    from .commands.data import check as work

    raise typer.Exit(work(config, overrides or [], as_json, sheet))


def main(arguments: list[str] | None = None) -> NoReturn:
    """The console script: maps every way out to its exit code, and never shows a traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = app(args=arguments, prog_name="yolotui", standalone_mode=False)
        sys.stdout.flush()
        raise SystemExit(status if isinstance(status, int) else 0)
    except UserError as error:
        complain(str(error))
        raise SystemExit(USAGE) from None
    except (KeyboardInterrupt, typer.Abort):
        raise SystemExit(INTERRUPTED) from None
    except (BrokenPipeError, SystemExit) as error:
        # Typer turns a broken pipe into an exit with 1 of its own.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        # The reader has gone; the interpreter would complain when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise SystemExit(PIPE_CLOSED) from None
    except Exception as error:
        raise SystemExit(_explain(error)) from None


def _explain(error: Any) -> int:
    """One line for what typer complains about (by its form: its classes are private), for what is too large,
    or for a crash."""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "yolotui"
        complain(f"{error.format_message().rstrip('.')}; see {command} --help")
        return USAGE
    if isinstance(error, OSError) and error.errno in DISK_FAULTS:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}cannot be written: {os.strerror(error.errno).lower()}; {DISK_FAULTS[error.errno]}")
        return USAGE
    lacking = memory_lacking(error)
    if lacking:
        smaller = "input (model.input_size, a cfg's width and height), batch or network"
        complain(f"{lacking}; take a smaller {smaller}")
        return USAGE
    complain(f"{type(error).__name__}: {error}; the traceback is in {log_crash(error)}")
    return FAILED


def _terminated(*_: object) -> None:
    raise Terminated(TERMINATED)


if __name__ == "__main__":
    main()
