"""With a small model that knows no code, the operations for code end within their calls and as documented."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lollms_client import LollmsClient
from lollms_core.types import GenerationCall, Reply
from lollms_runtime.observe import Observer

pytestmark = pytest.mark.group("engine")


class Counted(Observer):
    """Counts calls."""

    def __init__(self) -> None:
        self.calls = 0

    def finished(self, call: GenerationCall, reply: Reply) -> None:
        self.calls += 1


@pytest.fixture(scope="module")
def client() -> Iterator[LollmsClient]:
    with LollmsClient("pythonllamacpp", model_name="lollms-nano", temperature=0, n_predict=40) as made:
        made.generate_text("Hello!", n_predict=1)  # it runs before the first test, so that its threads belong to none
        yield made


def test_it_ends_within_its_calls(client: LollmsClient) -> None:
    client.observer = counted = Counted()
    code = client.generate_code("Write a Python function to reverse a string.")
    assert code is None or isinstance(code, str)
    assert 1 <= counted.calls <= 5
    client.observer = counted = Counted()
    codes = client.generate_codes("Write two functions.")
    assert all(set(each) == {"index", "file_name", "content", "type", "is_complete"} for each in codes)
    assert 1 <= counted.calls <= 5
    client.observer = counted = Counted()
    changed = client.update_code("x = 1\n", "Make it two.", max_retries=2)
    assert set(changed) == {"success", "updated_code", "patch", "error"}
    assert changed["success"] is (changed["updated_code"] is not None)
    assert 1 <= counted.calls <= 2
