"""World models that work across many worlds."""

import importlib
from typing import Any

__version__ = "0.1.0"

# Public names and their homes, imported when first asked for: `import mrcom` stays instant.
_HOMES = {"load": "mrcom.train.load"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mrcom' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
