"""What tests of engines share: a stand-in for the trial's command, trial folders, and what they leave behind."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from counterpoise.engines import driver, node
from counterpoise.engines.engine import EngineRequest
from counterpoise.experiment.engine import EngineConfig
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder

# Called as engines call a trial: [-m counterpoise] trial FOLDER --device D --threads N. What it does stands in its
# folder's plan.json, a word per attempt.
STAND_IN = """#!{python} -S
import json, os, pathlib, signal, subprocess, sys, threading, time
folder = pathlib.Path(sys.argv[sys.argv.index("trial") + 1])
attempt = len(list(folder.glob("attempt-*"))) + 1
plan = json.loads((folder / "plan.json").read_text())
act = plan[min(attempt, len(plan)) - 1]
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
record = {{"arguments": sys.argv[sys.argv.index("trial"):], "slot": os.environ.get("SLOT"), "pid": os.getpid(),
          "worker": os.getppid(), "group": os.getpgrp(), "block": os.environ.get("PARSL_WORKER_BLOCK_ID"),
          "init": os.environ.get("INIT"), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "began": time.time()}}
(folder / "new-attempt").write_text(json.dumps(record))
os.replace(folder / "new-attempt", folder / f"attempt-{{attempt}}")

def end_with_runner():  # as real trials do
    while os.getppid() == runner:
        time.sleep(0.05)
    os._exit(130)

runner = int(os.environ.get("COUNTERPOISE_RUNNER", "0"))
if runner:
    threading.Thread(target=end_with_runner, daemon=True).start()

def say(state, reason="", epoch=0):
    (folder / "new.json").write_text(json.dumps({{"version": 1, "state": state, "reason": reason, "epoch": epoch}}))
    os.replace(folder / "new.json", folder / "status.json")

print("this is", folder.name, flush=True)
if act == "finish":
    say("running"); time.sleep(0.02); say("finished")
elif act == "fail":
    say("running"); say("failed", "loss is NaN"); print("last words", flush=True); sys.exit(2)
elif act == "crash":
    print("ImportError: no torch", flush=True); sys.exit(3)
elif act == "killed":
    say("running"); os.kill(os.getpid(), signal.SIGKILL)
elif act == "silent":
    say("running"); sys.exit(0)
elif act == "epoch":
    (folder / "metrics.jsonl").write_text("{{}}\\n")
    say("running"); say("failed", "loss is NaN"); sys.exit(2)
elif act == "held":
    sys.exit(75)
elif act == "until asked":  # to its next checkpoint
    say("running", epoch=attempt)
    while not asked:
        time.sleep(0.01)
    time.sleep(0.2)
    if len(asked) > 1:
        sys.exit(9)
    say("waiting", "stopped after epoch 3"); sys.exit(130)
elif act in ("hang", "stubborn"):
    if act == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    (folder / "child").write_text(str(child.pid))
    say("running"); time.sleep(60)
(folder / "ended").write_text(str(time.time()))
"""


class Kit:
    """A folder with trials and the stand-in, and readers of what its attempts have left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "bin" / "counterpoise"
        self.program.parent.mkdir()
        self.program.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
        self.program.chmod(0o755)

    def add(self, seed: int, *plan: str, arm: str = "arm") -> TrialFolder:
        """Make a trial; one word per attempt says what the stand-in does, the last one from then on."""
        trial = TrialFolder(self.folder / 'it\'s a "run" $HOME `ls`' / "trials" / arm / f"seed-{seed}")
        trial.path.mkdir(parents=True)
        (trial.path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        return trial

    def config(self, kind: str, **settings: object) -> EngineConfig:
        """Return a table whose jobs find the stand-in."""
        init = f'export PATH={shlex.quote(str(self.program.parent))}:"$PATH"\nexport INIT="two words"'
        table = {"kind": kind, "gpus": 0, "cores": 2, "worker_init": init, "walltime": "1:00:00"}
        return EngineConfig.model_validate(table | settings)

    def request(
        self, trials: Sequence[TrialFolder], engine: EngineConfig | str, *, places: int = 1, **more: Any
    ) -> EngineRequest:
        """Return a request to run trials, ``places`` at a time."""
        config = self.config(engine) if isinstance(engine, str) else engine
        slots = [Slot(f"slot-{k}", "cpu", 2, (("SLOT", "a b"),)) for k in range(places)]
        return EngineRequest(trials, slots, config, self.folder / "engine", **more)

    def attempts(self, trial: TrialFolder) -> list[dict[str, Any]]:
        """Return what each attempt at a trial has recorded."""
        return [json.loads(f.read_text(encoding="utf-8")) for f in sorted(trial.path.glob("attempt-*"))]

    def is_alive(self, pid: int) -> bool:
        """Return whether a process runs; a zombie waits for the init of a container."""
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def wait(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until something has become true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def ended(self, pid: int) -> bool:
        """Wait until a process has ended."""
        self.wait(lambda: not self.is_alive(pid))
        return True


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """Return trials and the stand-in for their command; engines look often."""
    monkeypatch.setattr(driver, "_POLL_S", 0.02)
    monkeypatch.setattr(node, "_LOOK_S", 0.05)
    return Kit(tmp_path)
