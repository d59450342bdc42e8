"""What several files of tests about runs start from."""

import pytest
from toy import toy_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    toy_run(path)
    return path
