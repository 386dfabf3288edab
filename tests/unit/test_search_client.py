from collections.abc import Callable

import pytest

from common.errors import SettingsError
from common.search.client import open_async_client, open_client


@pytest.mark.parametrize("opened", [open_client, open_async_client])
def test_a_wrong_url_is_a_settings_error_that_does_not_show_it(opened: Callable[[str], object]) -> None:
    with pytest.raises(SettingsError) as raised:
        opened("user:hunter2@nowhere")
    assert "hunter2" not in str(raised.value)


def test_numbers_beyond_doubles_in_an_answer_do_no_harm() -> None:
    with open_client("http://search.test:9200") as client:
        answer = client.transport.serializers.loads(b'{"x": %b}' % (b"9" * 400), "application/json")

    assert answer == {"x": int("9" * 400)}
