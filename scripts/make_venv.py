"""Make .venv from the committed lock, with nothing but a Python interpreter."""

import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
OLDEST = (3, 11)
KNOWN = ("3.14", "3.13", "3.12", "3.11")
"""Those that every dependency has wheels for, tried in this order where `python3` is older."""
UV = "uv>=0.13,<0.14"


def interpreter() -> str:
    """This Python if it will do, else one on the PATH that does."""
    if sys.version_info[:2] >= OLDEST:
        return sys.executable
    for version in KNOWN:
        found = shutil.which(f"python{version}")
        # Version managers put names on the PATH behind which there may be nothing.
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return found
    here = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"error: Python 3.11 or newer is needed, found {here}; try `make PYTHON=/path/to/it`.")


def main() -> None:
    """Make the environment from nothing."""
    chosen = interpreter()
    # Always from nothing: going back from mujoco 4 to 3.17 inside a venv leaves it broken.
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([chosen, "-m", "venv", str(VENV)], check=True)
    python = str(VENV / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, UV], check=True)
    # Not quiet: what takes long is downloading, and uv shows how far it is.
    install = [str(VENV / "bin" / "uv"), "pip", "install", "--python", python]
    # Compiled once, here: where Python is told to keep no bytecode, as it often is in containers,
    # each of its processes would read the libraries' sources again.
    compiled = ["--compile-bytecode", "-r", str(ROOT / "requirements.lock")]
    subprocess.run([*install, *compiled], check=True)
    subprocess.run([*install, "--no-deps", "--editable", str(ROOT)], check=True)
    subprocess.run([python, "-m", "compileall", "-q", str(ROOT / "src")], check=True)


if __name__ == "__main__":
    main()
