"""uvicorn's protocol with bounds on headers, refusals that cost little, and errors in OpenAI's form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastroute.serving.leaving import CONNECTION, Connection
from fastroute.serving.refusals import error_body, too_many

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from fastroute.serving.config import Limits
    from fastroute.serving.pressure import Pressure

__all__ = ["bounded_protocol"]

_LINES: Final = {400: b"400 Bad Request", 408: b"408 Request Timeout", 431: b"431 Request Header Fields Too Large"}
_IN_LINE: Final = 4  # requests behind the one that is answered, beyond which a connection is not read
_OVERLOADED: Final = too_many()
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
    % (
        b"".join(b"%b: %b\r\n" % header for header in _OVERLOADED.headers),
        len(_OVERLOADED.body()),
        _OVERLOADED.body(),
    )
)


def bounded_protocol(
    limits: Callable[[], Limits], turns_away: Callable[[], bool], pressure: Pressure
) -> type[asyncio.Protocol]:
    """Return a class of protocols for ``uvicorn.Config(http=...)``.

    Parameters
    ----------
    limits
        Returns those of now: ``header_bytes``, of the path, names and values together, and ``header_seconds``, from
        a request's first byte, or the connection's start, to the end of its headers; ``write_seconds``, for a client
        to take anything of what waits for it.
    turns_away
        Whether a POST is refused as soon as its headers are there, without a look at the rest: what is refused must
        cost little, or refusing takes the time of answering.
    pressure
        Keeps a refused connection unread for a while.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class BoundedProtocol(HttpToolsProtocol):
        _size = 0
        _gathered = 0
        _most = 0
        _status = 400
        _timer: asyncio.TimerHandle | None = None
        _refusing = False
        _passed = 0  # bytes of a refused body
        _idle: asyncio.TimerHandle | None = None  # uvicorn's, which ends a connection over which nothing begins
        _taking: asyncio.TimerHandle | None = None
        _untaken = 0
        _deaf = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._most = limits().header_bytes
            self._connection = Connection(transport.abort)
            self._earlier: list[Any] = []
            self._start_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)
            self._stop_taking()
            for cycle in self._earlier:
                cycle.disconnected = True  # uvicorn says so to the latest alone
            self._connection.lose()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._see_taken()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_taking()
            if self._deaf:
                self._deaf = False
                self.flow.resume_reading()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._see_taken()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            self.scope[CONNECTION] = self._connection  # type: ignore[typeddict-unknown-key]
            self._size = 0
            if self._timer is None:
                self._start_timer()

        def on_url(self, url: bytes) -> None:
            self._grow(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._grow(len(name) + len(value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._stop_timer()
            self._gathered = 0
            answered = self.cycle is None or self.cycle.response_complete
            if answered and self._can_refuse() and turns_away():
                self._refusing, self._passed = True, 0
                self._refuse()
                return
            self._unset_keepalive_if_required()  # set by a refusal just before, in the same packet
            before = self.cycle
            super().on_headers_complete()
            if not answered:
                self._earlier = [*(cycle for cycle in self._earlier if not cycle.response_complete), before]
                self._read_on()
            if self.parser.should_upgrade():
                self.cycle.keep_alive = False  # to nothing; what follows is not read as HTTP

        def on_body(self, body: bytes) -> None:
            self._gathered = 0
            if not self._refusing:
                super().on_body(body)
                return
            self._passed += len(body)
            if self._passed > limits().body_bytes:
                self.transport.close()

        def on_message_complete(self) -> None:
            if self._refusing:
                self._refusing = False  # good for another request
            else:
                super().on_message_complete()
                self._read_on()

        def data_received(self, data: bytes) -> None:
            # A header, a trailer or a chunk's size that never ends is none yet: what the parser gathers is bounded too.
            if self._gathered > self._most:
                self._status = 431
                self.send_400_response("")
                return
            self._gathered += len(data)
            # Blank lines, or the rest of a body that was answered before its end, begin nothing.
            self._idle, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
            super().data_received(data)
            if self._idle is not None:
                self.timeout_keep_alive_task, self._idle = self._idle, None

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's name
            self._stop_timer()
            status, self._status = self._status, 400
            if self.transport.is_closing():
                return
            if self._refusing:
                self.transport.close()  # it has had its answer
                return
            if self.cycle is not None and not self.cycle.response_complete:
                if self.cycle.response_started or self.pipeline:
                    self.transport.abort()  # in the middle of another answer
                    return
                # The request's body is at fault: it is answered here, and by nobody else.
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            messages = {400: "found no valid HTTP request", 408: "the request took too long"}
            message = messages.get(status, f"headers: allowed: {self._most} bytes")
            codes = {400: "invalid_http", 408: "timeout"}
            body = error_body(status, message, codes.get(status, "headers_too_large"))
            head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(head % (_LINES[status], len(body)) + body)
            self.transport.close()
            self._see_taken()

        def _can_refuse(self) -> bool:
            """Whether the connection is good for another request after this one."""
            parser = self.parser
            return (
                parser.get_method() == b"POST"
                and parser.get_http_version() == "1.1"
                and parser.should_keep_alive()
                and not parser.should_upgrade()
                and not self.expect_100_continue
            )

        def _refuse(self) -> None:
            """Answer at once; a body that is yet to come is passed over, for as long as a connection may be idle."""
            if self.transport.is_closing():
                return
            self.transport.write(_REFUSAL)
            self.on_response_complete()  # uvicorn's, which waits for the next request
            if self.flow.write_paused:
                self._deaf = True  # to a client that asks and takes no answer
                self.flow.pause_reading()
            else:
                pressure.hold(self.flow.pause_reading, self._read_again)

        def _read_again(self) -> None:
            if not self.transport.is_closing() and not self._deaf:
                self.flow.resume_reading()

        def _grow(self, count: int) -> None:
            self._size += count
            if self._size > self._most:
                self._status = 431
                raise ValueError  # the parser ends with an error, which send_400_response answers

        def _start_timer(self) -> None:
            self._gathered = 0
            self._timer = self.loop.call_later(limits().header_seconds, self._expire)

        def _stop_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _read_on(self) -> None:
            """Read what uvicorn leaves unread for now; else nobody sees that the client leaves."""
            if len(self.pipeline) <= _IN_LINE:
                self.flow.resume_reading()

        def _see_taken(self) -> None:
            """End the connection where nothing of what waits for the client is taken for too long."""
            self._stop_taking()
            self._untaken = self.transport.get_write_buffer_size()
            if self._untaken:
                self._taking = self.loop.call_later(limits().write_seconds, self._see_whether_taken)

        def _see_whether_taken(self) -> None:
            self._taking = None
            if self.transport.get_write_buffer_size() >= self._untaken:
                self.transport.abort()
            else:
                self._see_taken()

        def _stop_taking(self) -> None:
            if self._taking is not None:
                self._taking.cancel()
                self._taking = None

        def _expire(self) -> None:
            self._timer = None
            self._status = 408
            self.send_400_response("")

    return BoundedProtocol
