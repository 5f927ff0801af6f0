"""Run every benchmark, one after the other, and make the table of results.

    python bench/all.py OUT [--only patches start] [--readme] [--repeats 7]
    python bench/all.py OUT --simulations

OUT gets ``<script>.json`` and ``<script>.log`` of each, and ``results.md``. ``--readme`` puts the table into
``bench/README.md``. A script that fails is named, and the others go on. Takes about an hour on two cores; use a machine
on which nothing else runs. ``--simulations`` runs those of the verdict instead: their tables, ``<script>.md``, do not
depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measuring import BENCH, Row, markdown

SCRIPTS: dict[str, list[str]] = {
    "patches": [],
    "sampler": [],
    "start": ["--peers"],
    "memory": [],
    "frequencies": ["--peers"],
    "store_build": [],
    "loss": [],
    "train_step": [],
    "wait": [],
}
"""What is run, in this order, and with which options beside ``--out``."""
SIMULATIONS = ("sceptics", "race", "verdict_simulation", "plan_precision", "hypothesis_simulation")
"""Whether verdicts keep their error rates, and what races cost: about half an hour on one core."""
BEGIN, END = "<!-- results begin -->\n", "<!-- results end -->\n"


def run(name: str, out: Path, options: list[str], kind: str = "json") -> bool:
    """Run one script; return whether it ended well."""
    file, log = out / f"{name}.{kind}", out / f"{name}.log"
    file.unlink(missing_ok=True)
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as stream:
        command = [sys.executable, BENCH / f"{name}.py", "--out", file, *options]
        code = subprocess.run(command, check=False, stdout=stream, stderr=subprocess.STDOUT).returncode
    print(f"{name}: {'done' if code == 0 else f'failed with code {code}, see {log}'}, "
          f"{time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip
    return code == 0


def table(out: Path) -> str:
    """Lay out the results that are there, with the machines they come from."""
    rows: list[Row] = []
    machines: dict[str, list[str]] = {}
    for name in SCRIPTS:
        file = out / f"{name}.json"
        if file.exists():
            content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            rows += [Row(**row) for row in content["rows"]]
            machines.setdefault(describe(content["machine"]), []).append(f"{name} ({content['machine']['load']})")
    about = "".join(f"{text} Load when each ended: {', '.join(names)}.\n" for text, names in machines.items())
    missed = sum(row.met is False for row in rows)
    aimed = sum(row.met is not None for row in rows)
    return f"{about}\n{aimed - missed} of {aimed} aims met.\n\n{markdown(rows)}"


def describe(machine: dict[str, Any]) -> str:
    """Describe a machine in a sentence or two."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"Python {machine['python']}, {versions}, commit {machine['commit']}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(SCRIPTS), help="run these; the table keeps what OUT holds")
    parser.add_argument("--repeats", type=int, help="for every script; each one's own if left out")
    parser.add_argument("--readme", action="store_true", help="replace the table in bench/README.md")
    parser.add_argument("--simulations", action="store_true", help="run these, and nothing else")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.simulations:
        passed = [run(name, given.out, [], kind="md") for name in SIMULATIONS]
        sys.exit(0 if all(passed) else 1)
    repeats = ["--repeats", str(given.repeats)] if given.repeats else []
    chosen = list(SCRIPTS) if given.only is None else given.only
    well = [run(name, given.out, SCRIPTS[name] + repeats) for name in chosen]
    text = table(given.out)
    (given.out / "results.md").write_text(text, encoding="utf-8")
    if given.readme:
        readme = BENCH / "README.md"
        before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    print(text)
    sys.exit(0 if all(well) else 1)


if __name__ == "__main__":
    main()
