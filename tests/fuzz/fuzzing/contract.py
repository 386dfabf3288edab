"""Schemathesis on the platform's own OpenAPI document: every operation, with data that fits and data that does not."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import hypothesis
import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from fuzzing.platform import Platform, Tenant

# Parameters that may be given several times.
_LISTS_OF_TEXTS = ("event_type", "signal_type", "code")


def negative_data_rejection(ctx, response, case) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """As schemathesis has it, but for what is refused by 413, and for what a URL turns into the text that it may be."""
    lists = [case.query[name] for name in _LISTS_OF_TEXTS if name in (case.query or {})]
    if response.status_code == 413 or any(not isinstance(given, list | dict) for given in lists):
        return
    checks.negative_data_rejection(ctx, response, case)


# A rule of the domain that a schema cannot tell: 422 is declared for it.
_CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    negative_data_rejection,
    checks.missing_required_header,
]


@dataclass
class Contract:
    """The operations of a running platform, to be tried one by one."""

    platform: Platform
    tenant: Tenant
    tried: Counter[str] = field(default_factory=Counter)

    def operations(self) -> Iterator[schemathesis.APIOperation]:
        """Every operation of the document."""
        for found in schemathesis.openapi.from_url(f"{self.platform.url}/openapi.json").get_all_operations():
            yield found.ok()

    def try_operation(self, operation: schemathesis.APIOperation, *, examples: int, seed: int) -> None:
        """Call `operation` with up to `examples` inputs that fit its schema and as many that do not.

        Raises:
            schemathesis.errors.FailureGroup: an answer is not what the document says.
        """
        modes = [schemathesis.GenerationMode.POSITIVE]
        if "parameters" in operation.definition.raw or "requestBody" in operation.definition.raw:
            modes.append(schemathesis.GenerationMode.NEGATIVE)  # else nothing can be wrong
        for mode in modes:
            strategy = operation.as_strategy(generation_mode=mode)
            with requests.Session() as session:
                session.trust_env = False
                self._try(operation.label, strategy, session, examples=examples, seed=seed)

    def _try(self, label, strategy, session, *, examples: int, seed: int) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(case=strategy)
        def call(case: schemathesis.Case) -> None:
            self.tried[label] += 1
            headers = {"Authorization": f"Bearer {self.tenant.key}"}
            case.call_and_validate(
                session=session, headers=headers, checks=[not_a_server_error_but_503, *_CHECKS]
            )

        call()


@dataclass(frozen=True)
class ContractReport:
    """Calls by operation, and what went wrong."""

    tried: Counter[str]
    failures: list[str]


def try_all(contract: Contract, *, examples: int, seed: int) -> ContractReport:
    """Try every operation, and go on after failures."""
    failures = []
    for operation in contract.operations():
        try:
            contract.try_operation(operation, examples=examples, seed=seed)
        except (AssertionError, BaseExceptionGroup) as error:
            failures.append(f"{operation.label}: {error}")
    return ContractReport(contract.tried, failures)


def not_a_server_error_but_503(ctx, response, case) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """A 503 is declared where it may occur, and is no crash."""
    if response.status_code != 503:
        not_a_server_error(ctx, response, case)
