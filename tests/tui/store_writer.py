"""The scripted training as a process of its own that writes a run and obeys requests; or as a thread."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from fake_training import FakeTraining

from engine.runs import events as ev
from engine.runs.folder import RunFolder
from engine.runs.store import RunWriter, StoreSubscriber
from engine.training.obeying import Obeying


class StoredTraining:
    """A scripted training, its store and its ear."""

    def __init__(self, path: Path, **script: object) -> None:
        there = (path / "run.db").exists()
        self.folder = RunFolder.open(path) if there else RunFolder.create(path)
        self.fake = FakeTraining(path, **script)  # type: ignore[arg-type]
        self.store = StoreSubscriber(self.fake.feed.subscribe(), RunWriter(self.folder), print)
        self.obeying = Obeying(
            self.folder, self.fake.control, lambda line: self.fake.feed.emit(ev.LogLine("info", line))
        )
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        self.obeying.start()
        self.fake.run()
        self.obeying.close()
        self.store.close()

    def __enter__(self) -> StoredTraining:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.fake.control.stop()
        self.thread.join(30)


if __name__ == "__main__":
    StoredTraining(Path(sys.argv[1]), **json.loads(sys.argv[2])).run()
