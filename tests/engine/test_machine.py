from __future__ import annotations

import subprocess
import sys

from engine.machine import Machine

LAUNCHER = """
import subprocess, sys
child = "held = bytearray(50_000_000); print('up', flush=True); input()"
pipe = subprocess.PIPE
started = [subprocess.Popen([sys.executable, "-c", child], stdin=pipe, stdout=pipe) for _ in range(2)]
for each in started:
    each.stdout.readline()
print(*(each.pid for each in started), flush=True)
input()
for each in started:
    each.communicate(b"")
"""


def test_processes_of_one_launcher_count_together_where_asked() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LAUNCHER], stdin=pipe, stdout=pipe, text=True) as launcher:
        assert launcher.stdout is not None
        first, second = map(int, launcher.stdout.readline().split())
        alone = [Machine(pid).sample().own_memory for pid in (first, second)]
        together = Machine(first, siblings=True).sample().own_memory
        launcher.communicate("\n")
    assert min(alone) > 50_000_000
    assert abs(together - sum(alone)) < 5_000_000
