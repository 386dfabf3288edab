"""Compatibility, keyword by keyword: those that speak about a value itself, and not about what is in it."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from common.event_types.documents import pointer
from common.event_types.errors import Incompatibility
from common.event_types.parts import Parts, Spend, with_integers

_QUOTED_VALUES = 5
_QUOTED_CHARACTERS = 100


def narrowed(
    before: Parts, keyword: str, value: Any, path: tuple[str | int, ...], spend: Spend
) -> Iterator[Incompatibility]:
    """Why `keyword` with this `value`, at `path`, may refuse values that fit `before`; annotations never do.

    `spend` is told the effort.
    """
    match keyword:
        case "type":
            details = _types(before, value)
        case "enum" | "const":
            [listed] = Parts([{keyword: value}], spend).listed
            details = _listed(before, listed)
        case "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties":
            details = _bound(before, keyword, value, 1)
        case "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties":
            details = _bound(before, keyword, value, -1)
        case "multipleOf":
            details = _multiple(before, value)
        case "uniqueItems" if value:
            details = _unique(before)
        case "required":
            details = _required(before, value, "")
        case "dependentRequired":
            details = _dependent(before, value)
        case _:
            return
    for detail in details:
        yield Incompatibility(pointer(path), detail)


def _types(before: Parts, value: str | list[str]) -> Iterator[str]:
    lost = before.types - with_integers(value)
    if lost:
        yield f"does not accept every {', '.join(sorted(lost - {'integer'} if 'number' in lost else lost))} any more"


def _listed(before: Parts, now: set[str]) -> Iterator[str]:
    if not before.listed:
        yield "accepts only listed values, and accepted others before"
    elif not any(said <= now for said in before.listed):
        lost = sorted(min(before.listed, key=len) - now)
        quoted = ", ".join(each[:_QUOTED_CHARACTERS] for each in lost[:_QUOTED_VALUES])
        yield f"does not accept {quoted}{' and others' if len(lost) > _QUOTED_VALUES else ''} any more"


def _bound(before: Parts, keyword: str, value: float, sign: int) -> Iterator[str]:
    # Zero is what no length is below anyway.
    if sign < 0 and value <= 0 and keyword not in ("minimum", "exclusiveMinimum"):
        return
    earlier = before.values(keyword)
    if keyword in ("minimum", "maximum"):
        # What has to be beyond a bound is not below it either.
        earlier += before.values(f"exclusive{keyword.capitalize()}")
    if not earlier:
        yield "is new, and there was no such bound before"
    elif not any(sign * said <= sign * value for said in earlier):
        closest = min(earlier, key=lambda said: sign * said)
        yield f"is {value}, and was {closest} before"


def _multiple(before: Parts, value: float) -> Iterator[str]:
    unit = Fraction(str(value))
    if not any(Fraction(str(said)) % unit == 0 for said in before.values("multipleOf")):
        yield f"accepts only multiples of {value}, and accepted others before"


def _unique(before: Parts) -> Iterator[str]:
    if True not in before.values("uniqueItems"):
        yield "does not accept an element that occurs twice any more"


def _required(before: Parts, names: list[str], where: str) -> Iterator[str]:
    for name in names:
        if name not in before.required:
            yield f"{name} is required from now on{where}"


def _dependent(before: Parts, value: dict[str, list[str]]) -> Iterator[str]:
    for name, names in value.items():
        earlier = {each for said in before.values("dependentRequired") for each in said.get(name, ())}
        yield from _required(before, [each for each in names if each not in earlier], f" beside {name}")
