"""Habits of every test: shapes and types are checked, nothing broadcasts by accident."""

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Nothing a test writes by a relative path lands in the repository."""
    monkeypatch.chdir(tmp_path)
