"""Make .venv from the committed lock, with nothing but a Python interpreter."""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
ACCEPTED = ((3, 11), (3, 12))
UV = "uv>=0.13,<0.14"


def interpreter() -> str:
    """This Python if it will do, else one on the PATH that does."""
    if sys.version_info[:2] in ACCEPTED:
        return sys.executable
    for major, minor in reversed(ACCEPTED):
        found = shutil.which(f"python{major}.{minor}")
        # Version managers put names on the PATH behind which there may be nothing.
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return found
    here = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"error: Python 3.11 or 3.12 is needed, found {here}; try `make PYTHON=/path/to/it`.")


def main() -> None:
    """Make the environment from nothing."""
    chosen = interpreter()
    # Always from nothing: going back from mujoco 4 to 3.17 inside a venv leaves it broken.
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([chosen, "-m", "venv", str(VENV)], check=True)
    python = str(VENV / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, UV], check=True)
    install = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "-r", str(ROOT / "requirements.lock")], check=True)
    subprocess.run([*install, "--no-deps", "--editable", str(ROOT)], check=True)


if __name__ == "__main__":
    main()
