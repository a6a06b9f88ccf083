"""A server that speaks just enough of Redis' protocol to say something wrong."""

import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager


class _Handler(socketserver.StreamRequestHandler):
    """Answer INFO with the server's text, PING, and an error to everything else."""

    def handle(self) -> None:
        """Read commands until the client leaves."""
        while (line := self.rfile.readline()).startswith(b"*"):
            words = [self._word() for _ in range(int(line[1:]))]
            self.wfile.write(self._answer(words[0].upper()))

    def _word(self) -> bytes:
        length = int(self.rfile.readline()[1:])
        return self.rfile.read(length + 2)[:-2]

    def _answer(self, command: bytes) -> bytes:
        if command == b"PING":
            return b"+PONG\r\n"
        if command == b"INFO":
            info: bytes = getattr(self.server, "info", b"")
            return b"$%d\r\n%b\r\n" % (len(info), info)
        return b"-ERR unknown command\r\n"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    info = b""


@contextmanager
def fake_redis(**info: str) -> Generator[int]:
    """Serve on a free port of 127.0.0.1 what INFO shall say; yield the port."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.info = "".join(f"{name}:{value}\r\n" for name, value in info.items()).encode()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
