"""One fresh batch of a config, looked at without training."""

from __future__ import annotations

from pathlib import Path

from ..config import Config
from ..errors import UserError
from ..runs.snapshots import Snapshot
from ..yolo.plugin import line_at_fault
from .capture import as_snapshot
from .setup import put_together
from .step import Stepper


def look_once(config: Config) -> Snapshot:
    """The first batch through a fresh network (or ``model.weights``) and all functions, the user's included.

    Raises ``UserError``, naming the line where the user's code raises.
    """
    parts = put_together(config)
    stepper = Stepper(parts.model, parts.blueprint.detector(parts.user), config.train, parts.compute)
    try:
        batch = next(parts.loader.train_batches(0, 1))
        stepper.find_terms(batch)
        captured = stepper.look(batch, 0)
        return as_snapshot(captured, parts.blueprint, parts.user, 0, 0, "a fresh batch, before training")
    except UserError:
        raise
    except Exception as error:
        line = line_at_fault(parts.user.path, error)
        if not line:
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        where = f"{Path(parts.user.path).name}:{line}"
        raise UserError(text, where=where, fix="mend that line") from error
    finally:
        parts.close()
