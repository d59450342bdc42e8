"""Files that are whole or absent; `core.files` holds them, for what does not train as well."""

from mrcom.core.files import (
    cannot_write,
    draft_of,
    drop_leftovers,
    read_arrays,
    write_arrays,
    write_whole,
)

__all__ = [
    "cannot_write",
    "draft_of",
    "drop_leftovers",
    "read_arrays",
    "write_arrays",
    "write_whole",
]
