"""The arrays of a pytree by name: what a checkpoint stores and compares."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from mrcom.core.rng import GENERATOR

_KINDS_OF_KEY = {
    "key<rbge>": ("rbg", GENERATOR),
    "key<rbg>": ("rbg", "rbg"),
    "key<urbg>": ("unsafe_rbg", "unsafe_rbg"),
    "key<fry>": ("threefry2x32", "threefry2x32"),
}
"""What a file calls them, and how they are made."""


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | np.ndarray | np.generic)


def leaves(tree: Any) -> dict[str, Any]:
    """The arrays of a pytree by their path in it."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in flat if _is_array(leaf)}


def _is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _on_host(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def describe(named: Mapping[str, Any], *, sums: bool = False) -> dict[str, dict[str, Any]]:
    """Type, shape and, for a random key, kind of each array; its checksum if asked.

    Without checksums, shapes (`jax.ShapeDtypeStruct`) do as well as arrays.
    """
    found = {}
    for name, leaf in named.items():
        data = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        found[name] = {
            "dtype": str(data.dtype),
            "shape": list(data.shape),
            "key": _KINDS_OF_KEY[str(leaf.dtype)][0] if _is_key(leaf) else None,
            **({"checksum": checksum(leaf)} if sums else {}),
        }
    return found


def spoken(of: Mapping[str, Any] | None) -> str:
    """A description in the words of an error message."""
    if of is None:
        return "absent"
    return f"{of['key'] or of['dtype']}[{', '.join(map(str, of['shape']))}]"


def checksum(array: Any) -> int:
    """CRC-32 of the bytes."""
    return zlib.crc32(_bytes(array).data)


def _bytes(leaf: Any) -> np.ndarray:
    return np.ascontiguousarray(_on_host(leaf)).reshape(-1).view(np.uint8)


def packed(arrays: Iterable[Any]) -> np.ndarray:
    """The bytes of all arrays, one after the other: `uint8[bytes + 1]`.

    One array costs the storage about as much as any other, however small, and it refuses one
    without entries, hence the last byte.
    """
    return np.concatenate([*map(_bytes, arrays), np.zeros(1, np.uint8)])


def unpacked(
    data: np.ndarray, parts: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, dict[str, np.ndarray]]:
    """The arrays that were packed, by part and name, in the order of their descriptions.

    Raises:
        ValueError: `data` is longer or shorter than they are.
    """
    empty = {
        part: {name: np.empty(of["shape"], np.dtype(of["dtype"])) for name, of in named.items()}
        for part, named in parts.items()
    }
    begin = 0
    for array in (array for named in empty.values() for array in named.values()):
        array.reshape(-1).view(np.uint8)[:] = data[begin : begin + array.nbytes]
        begin += array.nbytes
    if begin + 1 != data.size:
        raise ValueError(f"{data.size - 1} bytes are stored where {begin} are described")
    return empty


def filled(template: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The template with these arrays, by path, in place of its own arrays or shapes."""

    def fill(path: Any, leaf: Any) -> Any:
        if not _is_array(leaf):
            return leaf
        array = arrays[jax.tree_util.keystr(path)]
        if _is_key(leaf):
            _, impl = _KINDS_OF_KEY[str(leaf.dtype)]
            return jax.random.wrap_key_data(jax.numpy.asarray(array), impl=impl)
        if isinstance(leaf, jax.Array):
            return jax.device_put(array, leaf.sharding, may_alias=False)
        return jax.numpy.array(array) if isinstance(leaf, jax.ShapeDtypeStruct) else array

    return jax.tree_util.tree_map_with_path(fill, template)
