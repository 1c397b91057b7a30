"""What a configuration may say; every error names the file and the place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastroute.cli import main
from fastroute.errors import DataError
from fastroute.serving.config import read_config

pytest.importorskip("yaml", reason="needs the extra [serve]")

GOOD: dict[str, Any] = {
    "listen": {"host": "127.0.0.1", "port": 8000},
    "models": [
        {"name": "big", "base_url": "https://one.example/v1", "key_env": "BIG_KEY", "price": {"input": 1, "output": 2}},
        {"name": "small", "base_url": "http://localhost:9/v1"},
    ],
    "routers": [{"label": "mf", "strong": "big", "weak": "small", "threshold": 0.3}],
    "client_keys": {"env": "CLIENT_KEYS"},
    "limits": {"body_bytes": 1000},
    "sessions": {"seconds": 5, "most": 10},
    "log": {"level": "debug", "prompts": True},
    "playground": True,
}
CANARY = "canary-d81f-secret"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIG_KEY", f"{CANARY}-1")
    monkeypatch.setenv("CLIENT_KEYS", f"{CANARY}-2, {CANARY}-3")


def written(folder: Path, value: Any) -> Path:
    path = folder / "fastroute.yaml"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_a_good_one(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    assert config.upstreams["big"].key is not None
    assert config.upstreams["big"].key.reveal() == f"{CANARY}-1"
    assert config.client_keys is not None
    assert [config.client_keys.match(f"Bearer {CANARY}-{n}".encode()) for n in (1, 2, 3)] == [None, 0, 1]
    assert (config.port, config.limits.body_bytes, config.limits.messages) == (8000, 1000, 2048)
    assert (config.routers["mf"].threshold, config.default_router, config.session_seconds) == (0.3, "mf", 5)
    assert config.playground
    assert CANARY not in repr(config)


def test_the_least_one_listens_on_this_machine_and_logs_no_prompts(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, "models: [{name: a, base_url: 'http://127.0.0.1:1/v1'}]"))
    assert (config.host, config.log_prompts, config.client_keys) == ("127.0.0.1", False, None)
    assert not config.playground


def test_keys_from_files_are_taken_from_the_folder_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{CANARY}-4\n{CANARY}-5\n")
    (tmp_path / "one").write_text(f"{CANARY}-6\n")
    changed = copy.deepcopy(GOOD)
    changed["client_keys"] = {"file": "keys"}
    del changed["models"][0]["key_env"]
    changed["models"][0]["key_file"] = "one"
    config = read_config(written(tmp_path, changed))
    assert config.upstreams["big"].key is not None
    assert config.upstreams["big"].key.reveal() == f"{CANARY}-6"
    assert config.client_keys is not None
    assert len(config.client_keys) == 2
    assert [path.name for path in config.files] == ["one", "keys"]


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *way, last, value = path
        target: Any = config
        for key in way:
            target = target[key]
        target[last] = value

    return change


def drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        *way, last = path
        target: Any = config
        for key in way:
            target = target[key]
        del target[last]

    return change


BAD = [
    (put("model", []), "model: found an unknown key (did you mean 'models'?)"),
    (drop("models"), "models: found nothing"),
    (put("models", []), "models: found an empty list"),
    (put("models", {}), "models: found a mapping"),
    (put("models", 0, "text"), "models[0]: found 'text'"),
    (put("models", 1, "base_urls", "x"), "models[1].base_urls: found an unknown key (did you mean 'base_url'?)"),
    (drop("models", 1, "base_url"), "models[1].base_url: found nothing"),
    (put("models", 1, "base_url", 7), "models[1].base_url: found 7"),
    (put("models", 1, "base_url", "ftp://host/v1"), "models[1].base_url: found 'ftp://host/v1', "),
    (put("models", 1, "base_url", f"https://u:{CANARY}@host/v1"), "models[1].base_url: found a user"),
    (put("models", 1, "base_url", f"https://host/v1?key={CANARY}"), "models[1].base_url: found a user"),
    (put("models", 0, "base_url", "http://one.example/v1"), "models[0].base_url: http would send the key"),
    (put("models", 0, "key_env", CANARY), "models[0].key_env: found text (not shown"),
    (put("models", 0, "key_env", "NOT_SET"), "models[0].key_env: found the name NOT_SET of a variable"),
    (put("models", 0, "key_env", "sk_" + "canary" * 4), "models[0].key_env: found the name (not shown"),
    (put("models", 0, "key", CANARY), "models[0].key: found an unknown key"),
    (put("models", 0, "key_file", "nothing"), "models[0].key_file: found key_env beside it"),
    (put("models", 0, "name", "auto"), "models[0].name: found 'auto'"),
    (put("models", 0, "name", "router-x"), "models[0].name: found 'router-x'"),
    (put("models", 1, "name", "big"), "models[1].name: found 'big' a second time"),
    (put("models", 0, "name", "a b\r\n"), "models[0].name: found 'a b"),
    (put("models", 0, "price", {"input": 1}), "models[0].price.output: found nothing"),
    (put("models", 0, "price", {"input": -1, "output": 1}), "models[0].price.input: found -1"),
    (put("models", 0, "price", {"input": True, "output": 1}), "models[0].price.input: found True"),
    (put("routers", 0, "strong", "bigger"), "routers[0].strong: found 'bigger', allowed: a name of models: big, small"),
    (put("routers", 0, "weak", "big"), "routers[0].weak: found 'big', which is the strong one too"),
    (put("routers", 0, "threshold", 1.5), "routers[0].threshold: found 1.5, allowed: a number from 0 to 1"),
    (put("routers", 0, "threshold", float("nan")), "routers[0].threshold: found 'NaN'"),
    (put("routers", 0, "label", "a-0.5"), "routers[0].label: found 'a-0.5'"),
    (put("default_router", "none"), "default_router: found 'none'"),
    (put("default_model", "none"), "default_model: found 'none'"),
    (put("listen", "port", 70000), "listen.port: found 70000"),
    (put("listen", "port", "80"), "listen.port: found '80'"),
    (put("client_keys", {"env": "NOT_SET"}), "client_keys.env: found the name NOT_SET"),
    (put("client_keys", {}), "client_keys: found neither env nor file"),
    (put("client_keys", [CANARY]), "client_keys: found a list"),
    (put("client_keys", CANARY), "client_keys: found text (not shown"),
    (put("limits", "body_bytes", 0), "limits.body_bytes: found 0"),
    (put("limits", "body_byte", 1), "limits.body_byte: found an unknown key (did you mean 'body_bytes'?)"),
    (put("limits", "read_seconds", 0), "limits.read_seconds: found 0"),
    (put("log", "level", "loud"), "log.level: found 'loud'"),
    (put("playground", "on"), "playground: found 'on', allowed: true or false"),
    (put("playgrounds", True), "playgrounds: found an unknown key (did you mean 'playground'?)"),
    (put("log", "prompts", "no"), "log.prompts: found 'no', allowed: true or false"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_values_are_named_and_no_key_is_shown(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    changed = copy.deepcopy(GOOD)
    change(changed)
    path = written(tmp_path, changed)
    with pytest.raises(DataError) as caught:
        read_config(path)
    assert f"{path}: {message}" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "line 1, column 5: found broken YAML"),
        ("models: []\nmodels: []\n", "found line 2: the key 'models' for a second time"),
        ("- a\n", "the file: found a list"),
        ("", "the file: found nothing"),
        ("1: 2", "found line 1: a key that is no text"),
        ("!!python/object/apply:os.system ['true']", "found broken YAML"),
        (f"models: [{{name: a, key_env: {CANARY}, ", "found broken YAML"),
        ("a: &a [*a]", "found broken YAML"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", "10.0.0.1"])
def test_gate_24_a_public_address_needs_client_keys(tmp_path: Path, host: str) -> None:
    changed = copy.deepcopy(GOOD)
    changed["listen"]["host"] = host
    assert read_config(written(tmp_path, changed)).host == host
    del changed["client_keys"]
    with pytest.raises(DataError, match=r"listen\.host: found .* no client_keys"):
        read_config(written(tmp_path, changed))


def test_check_reads_the_file_and_loads_its_routers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra [serve]")
    path = written(tmp_path, GOOD)
    assert main(["serve", "--config", str(path), "--check"]) == 0
    assert "models: big, small; routers: mf" in capsys.readouterr().out
    path = written(tmp_path, GOOD | {"routers": [GOOD["routers"][0] | {"artifact": "mff"}]})
    assert main(["serve", "--config", str(path), "--check"]) == 1
    assert "routers[0].artifact: router: found 'mff'" in capsys.readouterr().err
    assert main(["serve", "--config", str(tmp_path / "none.yaml"), "--check"]) == 1
    assert main(["serve"]) == 2
