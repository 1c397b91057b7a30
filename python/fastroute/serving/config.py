"""What ``fastroute.yaml`` says, checked."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fastroute.endpoints.address import check_address
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.serving.reading import Node, read_yaml
from fastroute.serving.secret import ClientKeys, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Config", "Limits", "Price", "RouterSettings", "UpstreamSettings", "is_loopback", "read_config"]

_NAME = r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}"
_NAME_IN_WORDS = "letters, digits and . _ : / @ + -, at most 128"
_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
_MOST_KEY_BYTES = 1 << 16
_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """A model behind an API.

    Attributes
    ----------
    name
        What clients and routers call it.
    base_url
        Base of its API, without a slash at the end.
    model
        What the API calls it.
    key
        Sent to that API alone; None sends none.
    price
        None where the file has none.
    """

    name: str
    base_url: str
    model: str
    key: Secret | None
    price: Price | None


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """A router and its pair of upstreams.

    Attributes
    ----------
    label
        Clients ask for ``router-LABEL``.
    artifact
        Name of a built-in router, or path of an artifact.
    threshold
        None takes the router's own.
    strong, weak
        Names of upstreams.
    """

    label: str
    artifact: str
    threshold: float | None
    strong: str
    weak: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one client, or all of them, can ask for; seconds and bytes."""

    body_bytes: int = 16 << 20
    all_body_bytes: int = 256 << 20
    header_bytes: int = 32 << 10
    json_depth: int = 64
    messages: int = 2048
    concurrency: int = 512
    answer_bytes: int = 64 << 20
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    routing_seconds: float = 2.0
    connect_seconds: float = 5.0
    read_seconds: float = 120.0
    write_seconds: float = 60.0
    drain_seconds: float = 30.0


_RANGES: Mapping[str, tuple[float, float]] = {
    "body_bytes": (1, 1 << 30),
    "all_body_bytes": (1, 1 << 40),
    "header_bytes": (256, 1 << 20),
    "json_depth": (2, 500),
    "messages": (1, 1_000_000),
    "concurrency": (1, 1_000_000),
    "answer_bytes": (1, 1 << 30),
}


@dataclass(frozen=True, slots=True)
class Config:
    """All of the file.

    Attributes
    ----------
    path
        Of the file.
    files
        Other files that were read for it, which are watched too.
    default_router
        Label of the router that ``auto`` means.
    default_model
        Answers where routing fails; None is the router's strong model.
    client_keys
        None where any client of this machine may ask.
    playground
        Whether the page at ``/`` is served, and what it shows is counted.
    """

    path: Path
    files: tuple[Path, ...]
    host: str
    port: int
    upstreams: Mapping[str, UpstreamSettings]
    routers: Mapping[str, RouterSettings]
    default_router: str | None
    default_model: str | None
    client_keys: ClientKeys | None
    limits: Limits = field(default_factory=Limits)
    session_seconds: float = 600.0
    most_sessions: int = 100_000
    watch_seconds: float = 2.0
    log_level: str = "info"
    log_prompts: bool = False
    playground: bool = False


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read and check a configuration, and the keys that it names.

    Raises
    ------
    DataError
        Something in it is not allowed; the message has the file, the path of the value, what was found and what is
        allowed, and never a key.
    MissingDependencyError
        PyYAML is not installed.
    """
    return _Reader(Path(path)).config()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address to listen at."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[Path] = []

    def config(self) -> Config:
        root = read_yaml(self._path)
        known = ("listen", "models", "routers", "default_router", "default_model", "client_keys", "limits")
        members = root.members((*known, "sessions", "reload", "log", "playground"), ("models",))
        upstreams = self._upstreams(members["models"])
        routers = self._routers(members["routers"], upstreams) if "routers" in members else {}
        keys = self._client_keys(members["client_keys"]) if "client_keys" in members else None
        host, port = self._listen(members.get("listen"), has_keys=keys is not None)
        default_router = next(iter(routers), None)
        if "default_router" in members:
            default_router = _among(members["default_router"], routers, "a label of routers")
        default_model = None
        if "default_model" in members:
            default_model = _among(members["default_model"], upstreams, "a name of models")
        sessions = members["sessions"].members(("seconds", "most")) if "sessions" in members else {}
        reload = members["reload"].members(("seconds",)) if "reload" in members else {}
        log = members["log"].members(("level", "prompts")) if "log" in members else {}
        level = log["level"].text("|".join(_LEVELS), ", ".join(_LEVELS)) if "level" in log else "info"
        return Config(
            path=self._path,
            files=tuple(self._files),
            host=host,
            port=port,
            upstreams=upstreams,
            routers=routers,
            default_router=default_router,
            default_model=default_model,
            client_keys=keys,
            limits=_limits(members.get("limits")),
            session_seconds=sessions["seconds"].number(0, 86_400) if "seconds" in sessions else 600.0,
            most_sessions=sessions["most"].whole(1, 10_000_000) if "most" in sessions else 100_000,
            watch_seconds=reload["seconds"].number(0, 3600) if "seconds" in reload else 2.0,
            log_level=level,
            log_prompts=log["prompts"].flag() if "prompts" in log else False,
            playground=members["playground"].flag() if "playground" in members else False,
        )

    def _listen(self, node: Node | None, *, has_keys: bool) -> tuple[str, int]:
        host, port = "127.0.0.1", 8080
        if node is None:
            return host, port
        members = node.members(("host", "port"))
        if "port" in members:
            port = members["port"].whole(0, 65_535)
        if "host" in members:
            host = members["host"].text(r"[A-Za-z0-9.:-]{1,255}", "an IP address or the name of a host")
            if not is_loopback(host) and not has_keys:
                members["host"].refuse(
                    f"{host!r}, which other machines reach, and no client_keys", "127.0.0.1, ::1, or client_keys"
                )
        return host, port

    def _upstreams(self, node: Node) -> dict[str, UpstreamSettings]:
        found: dict[str, UpstreamSettings] = {}
        for item in node.items("models"):
            members = item.members(("name", "base_url", "model", "key_env", "key_file", "price"), ("name", "base_url"))
            name = members["name"].text(_NAME, _NAME_IN_WORDS)
            if name == "auto" or name.startswith("router-"):
                members["name"].refuse(repr(name), "a name that is not 'auto' and does not begin with 'router-'")
            if name in found:
                members["name"].refuse(f"{name!r} a second time", "each name once")
            if "key_env" in members and "key_file" in members:
                members["key_file"].refuse("key_env beside it", "one of the two")
            key = None
            if "key_env" in members:
                key = Secret(_one_key(members["key_env"], self._variable(members["key_env"])))
            elif "key_file" in members:
                key = Secret(_one_key(members["key_file"], self._file(members["key_file"])))
            found[name] = UpstreamSettings(
                name=name,
                base_url=_base_url(members["base_url"], has_key=key is not None),
                model=members["model"].text(r".{1,256}", "text") if "model" in members else name,
                key=key,
                price=_price(members["price"]) if "price" in members else None,
            )
        return found

    def _routers(self, node: Node, upstreams: Mapping[str, UpstreamSettings]) -> dict[str, RouterSettings]:
        found: dict[str, RouterSettings] = {}
        for item in node.items("routers"):
            members = item.members(("label", "artifact", "threshold", "strong", "weak"), ("strong", "weak"))
            if "label" not in members and "artifact" not in members:
                item.refuse("neither label nor artifact", "a label, an artifact, or both")
            label_node = members.get("label", members.get("artifact", item))
            label = label_node.text(_LABEL, "a label of letters, digits and . _ -, at most 64")
            if _is_number(label.rpartition("-")[2]) and "-" in label:
                label_node.refuse(repr(label), "a label that does not end like a threshold")
            if label in found:
                label_node.refuse(f"{label!r} a second time", "each label once")
            strong = _among(members["strong"], upstreams, "a name of models")
            weak = _among(members["weak"], upstreams, "a name of models")
            if strong == weak:
                members["weak"].refuse(f"{weak!r}, which is the strong one too", "another model")
            artifact = members["artifact"].text(r".{1,4096}", "a name or a path") if "artifact" in members else label
            found[label] = RouterSettings(
                label=label,
                artifact=self._artifact(artifact),
                threshold=members["threshold"].number(0, 1) if "threshold" in members else None,
                strong=strong,
                weak=weak,
            )
        return found

    def _artifact(self, text: str) -> str:
        """Take a path from the folder of the configuration, unless it is a built-in name."""
        beside = self._path.parent / text
        return str(beside) if os.sep in text or beside.is_dir() else text

    def _client_keys(self, node: Node) -> ClientKeys:
        members = node.members(("env", "file"))
        if len(members) != 1:
            node.refuse("both env and file" if members else "neither env nor file", "one of the two")
        ((kind, member),) = members.items()
        text = self._variable(member) if kind == "env" else self._file(member)
        keys = [key for line in text.splitlines() for key in line.replace(",", " ").split()]
        if not keys:
            member.refuse("no key in it", "keys, one a line or with commas between them")
        for key in keys:
            if not key.isascii() or not key.isprintable() or len(key) < 8:
                member.refuse("a key that is short or no ASCII (not shown)", "keys of 8 and more ASCII characters")
        return ClientKeys(keys)

    def _variable(self, node: Node) -> str:
        name = node.text(_VARIABLE, "the name of an environment variable")
        value = os.environ.get(name, "")
        if not value:
            # A name that is not in capitals may be the key itself, given in place of a name.
            shown = name if name.isupper() and len(name) <= 40 else "(not shown: it may be a key)"
            node.refuse(f"the name {shown} of a variable that is not set", "a variable that holds a key")
        return value

    def _file(self, node: Node) -> str:
        path = self._path.parent / node.text(r".{1,4096}", "the path of a file")
        try:
            with path.open("rb") as file:
                content = file.read(_MOST_KEY_BYTES + 1)
            text = content.decode("ascii")
        except OSError as error:
            node.refuse(f"a file that can't be read ({error.strerror})", "a file with keys")
        except UnicodeDecodeError:
            node.refuse("a file that is no ASCII", "a file with keys")
        if len(content) > _MOST_KEY_BYTES:
            node.refuse(f"a file of more than {_MOST_KEY_BYTES} bytes", "a file with keys")
        self._files.append(path)
        return text


def _limits(node: Node | None) -> Limits:
    if node is None:
        return Limits()
    names = tuple(Limits.__dataclass_fields__)
    found: dict[str, float] = {}
    for name, member in node.members(names).items():
        if name in _RANGES:
            least, most = _RANGES[name]
            found[name] = member.whole(int(least), int(most))
        else:
            found[name] = member.number(0.001, 86_400)
    return Limits(**found)  # type: ignore[arg-type]


def _base_url(node: Node, *, has_key: bool) -> str:
    allowed = "the base of an API, such as https://host/v1"
    if not isinstance(node.value, str):
        node.refuse(node.shown(), allowed)
    try:
        check_address(node.value, "KEY" if has_key else None, argument=f"{node.file}: {node.path}")
    except InvalidArgumentError as error:
        raise DataError(str(error).replace("; allowed:", ", allowed:")) from None
    return node.value.rstrip("/")


def _price(node: Node) -> Price:
    members = node.members(("input", "output"), ("input", "output"))
    return Price(members["input"].number(0, 1e6), members["output"].number(0, 1e6))


def _one_key(node: Node, text: str) -> str:
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        node.refuse("a key with a space, a line end or no ASCII in it, or none (not shown)", "one key")
    return key


def _among(node: Node, known: Mapping[str, object], allowed: str) -> str:
    if not isinstance(node.value, str) or node.value not in known:
        node.refuse(node.shown(), f"{allowed}: {', '.join(known) or 'there is none'}")
    return node.value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
