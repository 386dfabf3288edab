"""Whose an event is, and by what a forgotten customer is known."""

import pytest

from common.customers import customer_hash, customer_of


def test_a_customer_is_known_by_tenant_and_id() -> None:
    hashes = {customer_hash(tenant, name) for tenant in (1, 2) for name in ("a", "b", "ä", "")}
    assert len(hashes) == 8
    assert {len(each) for each in hashes} == {16}
    assert customer_hash(1, "a") == customer_hash(1, "a")


@pytest.mark.parametrize(
    ("raw", "customer"),
    [
        (b'{"customer_id": "c\\u0031", "data": {"customer_id": "x"}}', "c1"),
        (b'{"customer_id": "a", "customer_id": "b"}', "b"),
        (b'{"customer_id": 7}', None),
        (b'{"data": {}}', None),
        (b"[]", None),
        (b'{"customer_id": "\xff"}', None),
        (b"{", None),
    ],
)
def test_a_raw_event_names_its_customer_or_nobody(raw: bytes, customer: str | None) -> None:
    assert customer_of(raw) == customer
