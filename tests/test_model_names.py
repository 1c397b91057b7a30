"""Names of models that ask for a router: which are read, as what, and which are refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.errors import InvalidArgumentError, InvalidTypeError
from fastroute.model_names import RoutedName, parse_model


def routellm_0_2_0(model: str) -> tuple[str, float]:
    """What RouteLLM's Controller makes of a name (its _parse_model_name and _validate_router_threshold)."""
    _, router, threshold_text = model.split("-", 2)
    threshold = float(threshold_text)
    if not model.startswith("router") or not 0 <= threshold <= 1:
        raise ValueError(model)
    return router, threshold


@pytest.mark.parametrize(
    ("name", "router", "threshold"),
    [
        ("router-mf-0.5", "mf", 0.5),
        ("router-mf-0.11593", "mf", 0.11593),
        ("router-sw_ranking-0", "sw_ranking", 0.0),
        ("router-bert-1", "bert", 1.0),
        ("router-mf-1e-1", "mf", 0.1),
        ("router-mf-.5", "mf", 0.5),
        ("router-mf", "mf", None),
        ("router-my-router-0.11593", "my-router", 0.11593),
        ("router-my-router", "my-router", None),
        ("router-knn-5-0.5", "knn-5", 0.5),
        ("router-v1e-1e-1", "v1e", 0.1),
        ("router-nan-0.5", "nan", 0.5),
        ("router-auto-0.5", "auto", 0.5),
        ("auto", None, None),
    ],
)
def test_names_of_routers(name, router, threshold):
    assert parse_model(name) == RoutedName(router, threshold)


@pytest.mark.parametrize(
    "name",
    ["gpt-4-1106-preview", "router", "", "Router-mf-0.5", "AUTO", "auto-0.5", "openrouter/auto", "my-router-mf-0.5"],
)
def test_plain_names_of_models(name):
    assert parse_model(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "router-",
        "router--",
        "router-mf-",
        "router--0.5",
        "router-0.5",
        "router--mf-0.5",
        "router-mf-1.0001",
        "router-mf-3",
        "router-mf--0.5",
        "router-mf-nan",
        "router-mf-inf",
        "router-mf--inf",
        "router-mf-1e5",
    ],
)
def test_refused_with_what_is_allowed(name):
    with pytest.raises(InvalidArgumentError, match="allowed: 'router-LABEL-THRESHOLD' with a threshold from 0 to 1"):
        parse_model(name)


def test_a_name_of_many_dashes_is_not_looked_at_for_long():
    with pytest.raises(InvalidArgumentError, match="found 1000006 characters"):
        parse_model("router" + "-" * 1_000_000)


@pytest.mark.parametrize("name", [None, 4, b"router-mf-0.5", ["auto"]])
def test_only_text(name):
    with pytest.raises(InvalidTypeError, match="model: found"):
        parse_model(name)


def test_zero_has_no_sign():
    parsed = parse_model("router-mf--0.0")
    assert math.copysign(1, parsed.threshold) == 1


@given(st.text(st.sampled_from("-0123456789.eEmf_naif +"), max_size=12))
def test_what_routellm_routes_means_the_same(rest):
    name = f"router-{rest}"
    try:
        router, threshold = routellm_0_2_0(name)
    except ValueError:
        return
    if router:  # to RouteLLM an empty label is one that it doesn't have
        assert parse_model(name) == RoutedName(router, threshold)


@given(st.floats(0, 1), st.from_regex(r"[a-z_]+(-[a-z_]+){0,2}", fullmatch=True))
def test_written_and_read(threshold, label):
    assert parse_model(f"router-{label}-{threshold}") == RoutedName(label, threshold)
