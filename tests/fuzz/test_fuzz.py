"""A short run of what ``make fuzz`` does at length: bad input by the thousand against real processes."""

import json

import pytest
from fuzzing.campaign import Campaign
from fuzzing.contract import Contract
from fuzzing.platform import OPEN_TYPE, Platform
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

SEED = 20261121

_any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
_fields = st.fixed_dictionaries(
    {
        "event_type": st.just(OPEN_TYPE) | _any_json,
        "customer_id": st.text(max_size=5) | _any_json,
        "data": _any_json,
    },
    optional={
        "event_id": _any_json,
        "occurred_at": st.datetimes().map(str) | _any_json,
        "trace_id": _any_json,
    },
)
_texts = st.binary(max_size=100) | (_any_json | _fields).map(lambda value: json.dumps(value).encode())


def try_what_hypothesis_makes_up(campaign: Campaign) -> None:
    @seed(SEED)
    @settings(
        max_examples=100,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(_texts, min_size=1, max_size=20))
    def send(texts: list[bytes]) -> None:
        known = campaign.ledger.violation_count
        campaign.try_texts("hypothesis", texts)
        assert campaign.ledger.violation_count == known, campaign.ledger.violations[-1]

    send()


# One test, as each test process would start a platform of its own.
@pytest.mark.timeout(600)
def test_no_input_crashes_loses_or_doubles_anything_or_gets_an_undocumented_answer(
    fuzzed_platform: Platform,
) -> None:
    contract = Contract(fuzzed_platform, fuzzed_platform.new_tenant("contract"))
    for operation in contract.operations():
        contract.try_operation(operation, examples=5, seed=SEED)
    campaign = Campaign(fuzzed_platform, fuzzed_platform.new_tenant("fuzz"), inputs=3000, seed=SEED)
    try_what_hypothesis_makes_up(campaign)
    report = campaign.run()

    assert not report["violations"], json.dumps(report, indent=1, ensure_ascii=False)
    assert contract.tried.total() > 100
    assert report["inputs"] > 3000
    assert report["became"]["stored"] > 1000
