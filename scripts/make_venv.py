"""Make .venv from the committed lock, with nothing but a Python interpreter."""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
ACCEPTED = ((3, 11), (3, 12))
UV = "uv>=0.13,<0.14"


def main() -> None:
    if sys.version_info[:2] not in ACCEPTED:
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"error: Python 3.11 or 3.12 is needed, found {found}; try `make PYTHON=python3.12`.")
    # Always from nothing: going back from mujoco 4 to 3.17 inside a venv leaves it broken.
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    python = str(VENV / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, UV], check=True)
    install = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "-r", str(ROOT / "requirements.lock")], check=True)
    subprocess.run([*install, "--no-deps", "--editable", str(ROOT)], check=True)


if __name__ == "__main__":
    main()
