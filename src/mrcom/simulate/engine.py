"""MuJoCo, without what we do not use."""

import ctypes
import glob
import os

# Importing mujoco imports a window library unless told otherwise. Nothing here draws; who wants
# to draw in the same process imports mujoco first or sets MUJOCO_GL.
_asked = "MUJOCO_GL" in os.environ
if not _asked:
    os.environ["MUJOCO_GL"] = "off"
try:
    import mujoco
    from mujoco.batch import Batch
finally:
    if not _asked:
        del os.environ["MUJOCO_GL"]

__all__ = ["Batch", "mujoco", "remove_timer"]


def remove_timer() -> None:
    """Take away the profiling clock that MuJoCo's Python bindings install.

    It costs 4-10 % of every step. `mujoco.set_mjcb_time(None)` does not remove it.
    """
    for path in glob.glob(os.path.join(os.path.dirname(mujoco.__file__), "libmujoco.so*")):
        ctypes.c_void_p.in_dll(ctypes.CDLL(path), "mjcb_time").value = None


remove_timer()
