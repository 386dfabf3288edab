"""The form of an API key."""

import pytest

from common.tenancy.secrets import digest, new_key, parse_prefix


def test_a_new_key_leads_to_its_prefix_and_digest() -> None:
    for _ in range(200):
        secret, prefix, key_hash = new_key()
        assert parse_prefix(secret) == prefix
        assert digest(secret) == key_hash
        assert len(key_hash) == 32


def test_keys_do_not_repeat() -> None:
    keys = [new_key() for _ in range(200)]

    assert len({secret for secret, _, _ in keys}) == len({prefix for _, prefix, _ in keys}) == 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sspp_",
        "sspp_abcdefgh",
        "sspp_abcdefgh_short",
        "other_abcdefgh_" + "x" * 43,
        "sspp_ABCDEFGH_" + "x" * 43,
        "sspp_abcdefgh_" + "x" * 43 + "\n",
        "sspp_abcdefgh_" + "ж" * 43,
    ],
)
def test_what_has_not_the_form_of_a_key_has_no_prefix(text: str) -> None:
    assert parse_prefix(text) is None
