"""A decision is a frozen dataclass with slots in every respect, however it is built."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest

from fastroute import Decision

VALUES = {"model": "strong", "score": 0.75, "threshold": 0.5, "router": "mf", "artifact": "a1b2"}


@dataclasses.dataclass(frozen=True, slots=True)
class Generated:
    """The same fields, and what the decorator makes of them."""

    model: str
    score: float
    threshold: float
    router: str
    artifact: str


@pytest.fixture
def decision() -> Decision:
    return Decision(**VALUES)


def test_has_what_it_was_given(decision: Decision) -> None:
    assert dataclasses.asdict(decision) == VALUES
    assert Decision(*VALUES.values()) == decision
    assert repr(decision) == repr(Generated(**VALUES)).replace("Generated", "Decision")


def test_is_built_and_matched_as_a_generated_one() -> None:
    parameters = [inspect.signature(kind).parameters for kind in (Decision, Generated)]
    assert parameters[0] == parameters[1]
    assert Decision.__match_args__ == Generated.__match_args__
    kept = [
        [
            (field.name, field.type, field.init, field.repr, field.compare, field.hash)
            for field in dataclasses.fields(kind)
        ]
        for kind in (Decision, Generated)
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("arguments", [(), ("strong", 0.75, 0.5, "mf"), (*VALUES.values(), "more")])
def test_takes_every_field_and_no_more(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="argument"):
        Decision(*arguments)


@pytest.mark.parametrize("name", [*VALUES, "other"])
def test_never_changes(decision: Decision, name: str) -> None:
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        setattr(decision, name, "changed")
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        delattr(decision, name)
    assert decision == Decision(**VALUES)
    assert not hasattr(decision, "__dict__")


@pytest.mark.parametrize("name", VALUES)
def test_equals_by_every_field(decision: Decision, name: str) -> None:
    other = dataclasses.replace(decision, **{name: 0.25})
    assert getattr(other, name) == 0.25
    assert other != decision
    assert len({decision, other, Decision(**VALUES)}) == 2
    assert hash(decision) == hash(Decision(**VALUES)) == hash(Generated(**VALUES))
    assert decision != Generated(**VALUES)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_survives_pickling(decision: Decision, protocol: int) -> None:
    assert pickle.loads(pickle.dumps(decision, protocol)) == decision
    assert copy.deepcopy(decision) == copy.copy(decision) == decision


def test_can_be_extended() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Priced(Decision):
        dollars: float

    made = Priced(**VALUES, dollars=0.01)
    assert dataclasses.asdict(made) == VALUES | {"dollars": 0.01}
    assert dataclasses.replace(made, score=0.5).score == 0.5
