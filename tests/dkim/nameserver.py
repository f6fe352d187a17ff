"""A name server on loopback, by UDP and TCP, that says what a test tells it to say, and counts what it is asked."""

import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

SILENT = "silent"
Table = Mapping[str, list[str] | str]
"""By name: the TXT records (none of them: the name exists), the word of an rcode, or SILENT."""


class NameServer:
    """table may be replaced while it runs. asked: how often each name was asked for. port: for UDP and TCP alike."""

    def __init__(self, table: Table, ttl: int = 600) -> None:
        self.table, self.ttl = table, ttl
        self.asked: Counter[str] = Counter()
        self.port = 0

    def respond(self, query: bytes) -> dns.message.Message | None:
        message = dns.message.from_wire(query)
        name = message.question[0].name.to_text().removesuffix(".") or "."
        self.asked[name] += 1
        said = self.table.get(name, "NXDOMAIN")
        if said == SILENT:
            return None
        response = dns.message.make_response(message)
        if isinstance(said, str):
            response.set_rcode(dns.rcode.from_text(said))
        elif said:
            records = dns.rrset.from_text_list(message.question[0].name, self.ttl, "IN", "TXT", [_strings(text) for text in said])
            response.answer.append(records)
        if not response.answer:
            soa = f"ns.example. host.example. 1 2 3 4 {self.ttl}"
            response.authority.append(dns.rrset.from_text("example.", self.ttl, "IN", "SOA", soa))
        return response


def _strings(text: str) -> str:
    """As one record of several strings, as long keys need."""
    return " ".join('"' + text[start : start + 200].replace('"', '\\"').replace(";", "\\;") + '"' for start in range(0, len(text), 200))


@contextmanager
def running(server: NameServer) -> Iterator[NameServer]:
    """Serves until the block ends."""

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, socket = self.request
            response = server.respond(query)
            if response is not None:
                size = max(512, dns.message.from_wire(query).payload)
                wire = response.to_wire(max_size=65535)
                if len(wire) > size:
                    response.flags |= dns.flags.TC
                    response.answer.clear()
                    wire = response.to_wire()
                socket.sendto(wire, self.client_address)

    class Tcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (length,) = struct.unpack("!H", self.rfile.read(2))
            response = server.respond(self.rfile.read(length))
            if response is not None:
                wire = response.to_wire(max_size=65535)
                self.wfile.write(struct.pack("!H", len(wire)) + wire)

    udp, tcp = _bound(Udp, Tcp)
    server.port = udp.server_address[1]
    with udp, tcp:
        threads = [threading.Thread(target=one.serve_forever, args=(0.05,)) for one in (udp, tcp)]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            udp.shutdown()
            tcp.shutdown()
            for thread in threads:
                thread.join()


def _bound(
    udp_handler: type[socketserver.BaseRequestHandler], tcp_handler: type[socketserver.BaseRequestHandler]
) -> tuple[socketserver.ThreadingUDPServer, socketserver.ThreadingTCPServer]:
    """Both servers on one port. A port that is free for UDP may be taken for TCP; then another is tried."""
    for _ in range(50):
        udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), udp_handler)
        try:
            return udp, socketserver.ThreadingTCPServer(udp.server_address[:2], tcp_handler)
        except OSError:
            udp.server_close()
    raise OSError("no port on 127.0.0.1 is free for UDP and TCP alike")
