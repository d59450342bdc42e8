"""Pictures of scenarios, drawn off screen. Only who asks for pictures imports this."""

import atexit
import concurrent.futures
import ctypes
import functools
import importlib
import os
import weakref
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from mrcom.core.errors import ConfigError, unknown
from mrcom.scenarios.embodiment import Camera
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.compile import spec_of
from mrcom.simulate.engine import mujoco

LIBRARIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"egl": ("libEGL.so.1", "libegl1"), "osmesa": ("libOSMesa.so.8", "libosmesa6")}
)
"""What can draw off screen: its shared library, and the Debian package that has it."""
MENDING: Mapping[str, str] = MappingProxyType(
    {
        "egl": "install a driver (apt install libegl-mesa0 libgl1-mesa-dri)",
        "osmesa": "install it anew (apt install --reinstall libosmesa6)",
    }
)
"""What to do about one that is installed, but cannot draw."""

LARGEST = 640
"""Largest side of a picture [pixels]."""
SHAPES = 100
"""Most shapes in a picture."""
SHADOW, SAMPLES = 256, 0
"""Side of the shadow's map and samples of a pixel: more cannot be seen in 64 pixels."""
EXTENT = 2.0
"""Size of what is looked at [m]: hundredths of it before the camera are cut off. The size of the
floor would cut off the body."""
LIGHT = (0.0, 0.0, 2.0)
"""Where the light hangs over the body [m]."""
FLOOR, SKY, BODY = ("0.1 0.2 0.3", "0.2 0.3 0.4"), ("0.4 0.6 0.8", "0 0 0"), (0.7, 0.5, 0.3, 1.0)
"""The suite's colours."""


class Renderer:
    """Pictures of N scenarios of one body, through the body's own camera, which follows it.

    Textures are loaded once for all of them; each geometry has a model of its own.

    Args:
        scenarios: of one body.
        side: height and width of a picture [pixels].

    Raises:
        ConfigError: nothing here can draw, the body has no camera, or pictures would be too large.
    """

    def __init__(self, scenarios: Sequence[Scenario], side: int):
        if not 1 <= side <= LARGEST:
            raise ConfigError(f"Pictures of side={side} pixels must lie in [1, {LARGEST}].")
        self._models = [_visible(scenario) for scenario in scenarios]
        first = self._models[0]
        self._data, self._side = mujoco.MjData(first), side
        self._context = _drawing().submit(_textures, first).result()
        weakref.finalize(self, _forget, self._context).atexit = False
        self._scene = mujoco.MjvScene(first, SHAPES)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._camera, self._options = mujoco.MjvCamera(), mujoco.MjvOption()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        self._options.sitegroup[:] = 0

    def draw(self, qpos: Float[np.ndarray, "N Q"]) -> UInt8[np.ndarray, "N S S 3"]:
        """The scenarios with their joints at these positions; any thread may ask."""
        return _drawing().submit(self._draw, qpos).result()

    def _draw(self, qpos: np.ndarray) -> np.ndarray:
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        pictures = np.zeros((len(self._models), self._side, self._side, 3), np.uint8)
        view = mujoco.MjrRect(0, 0, self._side, self._side)
        for model, joints, picture in zip(self._models, qpos, pictures, strict=True):
            self._data.qpos[:] = joints
            mujoco.mj_kinematics(model, self._data)
            mujoco.mj_comPos(model, self._data)
            mujoco.mj_camlight(model, self._data)
            mujoco.mjv_updateScene(
                model,
                self._data,
                self._options,
                None,
                self._camera,
                mujoco.mjtCatBit.mjCAT_ALL,
                self._scene,
            )
            mujoco.mjr_render(view, self._scene, self._context)
            mujoco.mjr_readPixels(picture, None, view, self._context)
        return pictures[:, ::-1]  # OpenGL counts rows from below


def backend() -> str:
    """What draws: `MUJOCO_GL` if that is set, else the first of `LIBRARIES` that is installed.

    Raises:
        ConfigError: it is neither, or none is installed.
    """
    asked = os.environ.get("MUJOCO_GL", "")
    if asked not in ("", "off"):
        if asked not in LIBRARIES:
            raise unknown("MUJOCO_GL for drawing off screen", asked, LIBRARIES)
        return asked
    for name in LIBRARIES:
        if is_installed(name):
            return name
    packages = " or ".join(package for _, package in LIBRARIES.values())
    raise ConfigError(
        f"Nothing here can draw pictures: neither EGL nor OSMesa is installed. Install one "
        f"(apt install {packages}), or observe vectors."
    )


def is_installed(name: str) -> bool:
    """Whether the library of a backend can be loaded."""
    try:
        ctypes.CDLL(LIBRARIES[name][0])
    except OSError:
        return False
    return True


@functools.cache
def _drawing() -> concurrent.futures.ThreadPoolExecutor:
    """The one thread that draws: a driver draws for the thread that began alone."""
    return concurrent.futures.ThreadPoolExecutor(1, "drawing")


def _textures(model: mujoco.MjModel) -> mujoco.MjrContext:
    """What the driver keeps of a model."""
    _gl().make_current()
    return mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)


def _forget(context: mujoco.MjrContext) -> None:
    """Give a driver's memory back."""
    _drawing().submit(context.free)


@functools.cache
def _gl() -> Any:
    """The one place of this process to draw in: the first of several would stop others.

    Raises:
        ConfigError: the library is there, but cannot draw.
    """
    name = backend()
    try:
        context = importlib.import_module(f"mujoco.{name}").GLContext(LARGEST, LARGEST)
    except Exception as error:  # whatever drivers, PyOpenGL and MuJoCo raise
        other = next(known for known in LIBRARIES if known != name)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        package = LIBRARIES[other][1]
        get = "" if is_installed(other) else f"install the other way (apt install {package}) and "
        raise ConfigError(
            f"{name} is installed, but cannot draw pictures here ({reason}): {get}set "
            f"MUJOCO_GL={other}, or {MENDING[name]}, or observe vectors."
        ) from error
    # Python takes its modules apart before objects: at exit it would be too late.
    atexit.register(context.free)
    return context


def _visible(scenario: Scenario) -> mujoco.MjModel:
    """The scenario's geometry with colours, a light and a camera; never stepped."""
    return _compiled(
        Scenario(
            scenario.body,
            torso_length=scenario.torso_length,
            torso_size=scenario.torso_size,
            limbs=scenario.limbs,
        )
    )


@functools.lru_cache(maxsize=256)
def _compiled(scenario: Scenario) -> mujoco.MjModel:
    camera = scenario.embodiment.camera
    if camera is None:
        raise ConfigError(
            f"Body {scenario.body!r} has no camera, so it cannot be drawn; give it a Camera, or "
            f"observe vectors."
        )
    spec = spec_of(scenario)
    _paint(spec)
    _look(spec, camera)
    return spec.compile()


def _paint(spec: mujoco.MjSpec) -> None:
    """Colours. Small textures: those of the suite take 80 ms and 12 MB a model."""
    colours = lambda pair: dict(
        zip(("rgb1", "rgb2"), (list(map(float, c.split())) for c in pair), strict=True)
    )
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        width=32,
        height=192,
        **colours(SKY),
    )
    spec.add_texture(
        name="floor",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        width=64,
        height=64,
        **colours(FLOOR),
    )
    floor = spec.add_material(name="floor", texuniform=True, texrepeat=[1, 1])
    floor.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor"
    for geom in spec.geoms:
        if geom.type == mujoco.mjtGeom.mjGEOM_PLANE:
            geom.material = "floor"
        else:
            geom.rgba = BODY
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = SHADOW, SAMPLES
    spec.stat.extent = EXTENT
    spec.visual.global_.offwidth = spec.visual.global_.offheight = LARGEST
    spec.visual.headlight.ambient = [0.4] * 3
    spec.visual.headlight.diffuse = [0.8] * 3
    spec.visual.headlight.specular = [0.1] * 3


def _look(spec: mujoco.MjSpec, camera: Camera) -> None:
    """The camera, and a light over the body; both follow its centre of mass."""
    follow = mujoco.mjtCamLight.mjCAMLIGHT_TRACKCOM
    x, y = np.array(camera.xyaxes[:3], float), np.array(camera.xyaxes[3:], float)
    x /= np.linalg.norm(x)
    z = np.cross(x, y)
    z /= np.linalg.norm(z)
    turn = np.zeros(4)
    mujoco.mju_mat2Quat(turn, np.stack([x, np.cross(z, x), z], axis=1).ravel())
    held = spec.worldbody if camera.body is None else spec.body(camera.body)
    held.add_camera(name="follow", pos=list(camera.pos), quat=turn, mode=follow)
    spec.bodies[1].add_light(name="light", pos=list(LIGHT), mode=follow, dir=[0, 0, -1])
