"""Make the virtual environment of the tools that the benchmarks compare with: cellmap-data and MONAI.

cellmap-data requires torchvision and zarr 2, and an ordinary ``pip install`` of it replaces a CPU build of torch.
So it gets an environment of its own, torch first by its exact version, cellmap-data and MONAI without their
requirements, what they import beside them, and ``torchvision_stub`` in torchvision's place.

    python bench/peers/make_environment.py [FOLDER]

FOLDER is ``$COUNTERPOISE_PEERS`` or ``~/.cache/counterpoise/peers`` if left out. Prints its Python.
"""

import subprocess
import sys
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from measuring import peers_folder

TORCH = "torch==2.13.0"
PEERS = ("cellmap-data==2026.3.20.1935", "monai==1.6.1")
IMPORTED = (
    "zarr>=2.18,<3", "numcodecs<0.16", "numpy<2.5", "scipy", "tqdm", "universal-pathlib", "fsspec", "matplotlib",
)  # fmt: skip


def make_environment(folder: Path) -> Path:
    """Make the environment, or find it made; return its Python."""
    python = folder / "bin" / "python"
    done = folder / ".made"
    recipe = "\n".join((TORCH, *PEERS, *IMPORTED))
    if done.exists() and done.read_text(encoding="utf-8") == recipe:
        return python
    venv.create(folder, clear=True, with_pip=True)
    for packages in ([TORCH], list(IMPORTED), ["--no-deps", *PEERS]):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    stub = Path(__file__).resolve().parent / "torchvision_stub"
    asking = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", asking], check=True, text=True, capture_output=True)
    (Path(found.stdout.strip()) / "torchvision_stub.pth").write_text(f"{stub}\n", encoding="utf-8")
    subprocess.run([python, "-c", "import cellmap_data, monai, torch; print(torch.__version__)"], check=True)
    done.write_text(recipe, encoding="utf-8")
    return python


if __name__ == "__main__":
    print(make_environment(Path(sys.argv[1]) if len(sys.argv) > 1 else peers_folder()))
