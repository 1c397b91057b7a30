"""Losses against plain formulas, and runs that were stopped."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="fine-tuning needs torch")
pytest.importorskip("transformers", reason="fine-tuning needs transformers")

from tests.training.bert.conftest import outcome_rows  # noqa: E402

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError  # noqa: E402
from fastroute.onnx.tokenizer import TextTokenizer  # noqa: E402
from fastroute.training.bert.descent import Settings, descend, mean_loss  # noqa: E402
from fastroute.training.bert.network import loss_of, new_network, outputs_of  # noqa: E402
from fastroute.training.bert.samples import samples_from_scores, scores_of_tables  # noqa: E402
from fastroute.training.bert.saved_state import SavedState  # noqa: E402

pytestmark = pytest.mark.torch
SETTINGS = Settings(prompts=120, batch=8, max_tokens=32, encoder_rate=1e-3, head_rate=1e-2, rank=4)


@pytest.fixture(scope="module")
def samples() -> Any:
    table = outcome_rows() | {}
    table["guess"] = [0.25 if benchmark == "odd" else 0.0 for benchmark in table["benchmark"]]
    return samples_from_scores(*scores_of_tables(table, None), judged_factor=3)


@pytest.fixture(scope="module")
def tokens(samples: Any, checkpoint_folder: Path) -> list[list[int]]:
    raw = (checkpoint_folder / "tokenizer.json").read_bytes()
    return TextTokenizer(raw, source="tokenizer.json", max_tokens=32).ids(samples.prompts)


def network_of(folder: Path, objective: str = "scores", columns: int = 3) -> Any:
    return new_network(folder, columns, objective=objective, rank=4, seed=0)


def run(folder: Path, samples: Any, tokens: Any, settings: Settings = SETTINGS, **options: Any) -> tuple[Any, Any]:
    network = network_of(folder)
    done = descend(network, samples, tokens, np.arange(len(samples)), settings, objective="scores", pad=0, **options)
    return network, done


def weights(network: Any) -> dict[str, Any]:
    return {name: values.clone() for name, values in network.state_dict().items()}


def test_the_loss_of_scores_is_the_cross_entropy_with_the_guess_rate(samples: Any) -> None:
    generator = np.random.default_rng(0)
    outputs = torch.from_numpy(generator.normal(size=(5, 3)))
    batch = np.array([3, 0, 17, 200, 9])
    found, weight = loss_of(outputs, samples, batch, objective="scores")
    wanted = 0.0
    for row, sample in enumerate(batch.tolist()):
        for at in range(samples.begin[sample], samples.begin[sample + 1]):
            h, s = samples.guess[at], samples.target[at]
            p = h + (1 - h) / (1 + math.exp(-float(outputs[row, samples.column[at]])))
            wanted -= samples.weight[at] * (s * math.log(p) + (1 - s) * math.log(1 - p))
    assert float(found) == pytest.approx(wanted, rel=1e-9)
    assert weight == 5


def test_extreme_outputs_have_a_finite_loss_and_gradient(samples: Any) -> None:
    outputs = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss, _ = loss_of(outputs, samples, np.array([0]), objective="scores")
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert bool(torch.isfinite(outputs.grad).all())


def test_the_loss_of_classes_is_the_cross_entropy_of_the_softmax(samples: Any) -> None:
    three = replace(samples, target=np.tile([0.5, 0.5, 0.0], len(samples)), weight=np.ones(len(samples.target)))
    outputs = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    found, _ = loss_of(outputs, three, np.array([0, 1]), objective="classes")
    wanted = 0.0
    for row in outputs.tolist():
        total = math.log(sum(math.exp(x) for x in row))
        wanted -= 0.5 * (row[0] - total) + 0.5 * (row[1] - total)
    assert float(found) == pytest.approx(wanted, rel=1e-12)


def test_padding_changes_no_output(checkpoint_folder: Path, tokens: list[list[int]]) -> None:
    network = network_of(checkpoint_folder).eval()
    short = torch.tensor([tokens[0]])
    padded = torch.nn.functional.pad(short, (0, 9))
    mask = torch.nn.functional.pad(torch.ones_like(short), (0, 9))
    alone, beside = outputs_of(network, short, torch.ones_like(short)), outputs_of(network, padded, mask)
    assert torch.allclose(alone, beside, atol=1e-5)


def test_what_a_prompt_says_is_learned(checkpoint_folder: Path, samples: Any, tokens: list[list[int]]) -> None:
    settings = replace(SETTINGS, prompts=240, passes=6)
    network, done = run(checkpoint_folder, samples, tokens, settings)
    everything = np.arange(len(samples))
    loss = mean_loss(network, samples, tokens, everything, settings, objective="scores", pad=0)
    assert done.steps == 180
    assert done.drawn == 1440
    assert loss < 0.35 < done.losses[0]  # knowing the models alone: .46


def test_the_same_seed_gives_the_same_bits(checkpoint_folder: Path, samples: Any, tokens: list[list[int]]) -> None:
    first, second = (weights(run(checkpoint_folder, samples, tokens)[0]) for _ in range(2))
    other = weights(run(checkpoint_folder, samples, tokens, replace(SETTINGS, seed=1))[0])
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


class Stop(Exception):
    pass


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    checkpoint_folder: Path, samples: Any, tokens: list[list[int]], tmp_path: Path
) -> None:
    whole, _ = run(checkpoint_folder, samples, tokens)
    checkpoint = SavedState(tmp_path / "state", "x")

    def stop(done: int, total: int) -> None:
        assert total == 15
        if done == 10:
            raise Stop

    with pytest.raises(Stop):
        run(checkpoint_folder, samples, tokens, checkpoint=checkpoint, every=4, progress=stop)
    resumed, done = run(checkpoint_folder, samples, tokens, checkpoint=checkpoint, every=4, resume=True)
    assert done.resumed_at == 8
    assert all(torch.equal(values, weights(resumed)[name]) for name, values in weights(whole).items())
    again, done = run(checkpoint_folder, samples, tokens, checkpoint=checkpoint, every=4, resume=True)
    assert done.resumed_at == 15  # the end is kept too
    assert all(torch.equal(values, weights(again)[name]) for name, values in weights(whole).items())


def test_a_checkpoint_of_another_run_or_cut_short_is_refused(
    checkpoint_folder: Path, samples: Any, tokens: list[list[int]], tmp_path: Path
) -> None:
    path = tmp_path / "state"
    run(checkpoint_folder, samples, tokens, checkpoint=SavedState(path, "x"))
    with pytest.raises(DataError, match="is of another run"):
        run(checkpoint_folder, samples, tokens, checkpoint=SavedState(path, "y"), resume=True)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Exception, match="state") as caught:
        run(checkpoint_folder, samples, tokens, checkpoint=SavedState(path, "x"), resume=True)
    assert type(caught.value).__module__ == "fastroute.errors"
    with pytest.raises(DataError, match="no checkpoint to go on from"):
        run(checkpoint_folder, samples, tokens, checkpoint=SavedState(tmp_path / "none", "x"), resume=True)


def test_a_loss_that_is_not_finite_ends_the_run(checkpoint_folder: Path, samples: Any, tokens: list[list[int]]) -> None:
    with pytest.raises(DataError, match="the loss is nan at step"):
        run(checkpoint_folder, samples, tokens, replace(SETTINGS, encoder_rate=1e30, head_rate=1e30))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"prompts": 0}, InvalidArgumentError, "prompts: found 0, allowed: 1 or more"),
        ({"passes": -1}, InvalidArgumentError, "passes: found -1"),
        ({"batch": 2.5}, InvalidTypeError, "batch: found float"),
        ({"seed": 2**32}, InvalidArgumentError, "seed: found 4294967296"),
        ({"encoder_rate": 0.0}, InvalidArgumentError, "encoder_rate: found 0.0"),
        ({"head_rate": float("nan")}, InvalidArgumentError, "head_rate: found nan"),
        ({"judged_factor": "3"}, InvalidTypeError, "judged_factor: found str"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Settings(**changes)
