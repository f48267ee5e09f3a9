"""Who a request comes from, and how often an address may do something."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.requests import HTTPConnection

_FORWARDED = ("forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip")
_MOST_CLIENTS = 10_000


def client_of(request: HTTPConnection) -> str:
    """Return the address that a request comes from; for IPv6 the network of 64 bits, which one person has."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False).network_address)
    return host


def is_local(request: HTTPConnection) -> bool:
    """Return whether a request was made on this machine: from a loopback address, and through no proxy.

    A proxy on this machine also connects from a loopback address, but adds headers that name the client.
    """
    return is_loopback(request.client.host if request.client else "") and not _is_forwarded(request.headers)


def is_loopback(host: str) -> bool:
    """Return whether an address or host name is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_forwarded(names: Iterable[str]) -> bool:
    return any(name.lower() in _FORWARDED or name.lower().startswith("x-forwarded-") for name in names)


@dataclass(frozen=True)
class RateLimit:
    """How much of something one client may have: so much at once, and so much more each second."""

    burst: float
    per_second: float

    def counter(self) -> Rates:
        """Return a counter that starts empty."""
        return Rates(self)


class Rates:
    """Counts what clients take (a token bucket each). The number of clients that it remembers is bounded."""

    def __init__(self, limit: RateLimit):
        self._limit = limit
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and when

    def take(self, client: str, amount: float = 1) -> float:
        """Take an amount if it is there; return 0, or the seconds until it will be.

        More than the burst is there when all of the burst is.
        """
        missing = min(amount, self._limit.burst) - self._left_of(client)
        self.pay(client, 0 if missing > 0 else amount)
        return max(0.0, missing / self._limit.per_second)

    def pay(self, client: str, amount: float) -> None:
        """Take an amount, even if it is not there; a negative amount gives back."""
        self._left[client] = (self._left_of(client) - amount, time.monotonic())
        self._left.move_to_end(client)
        while len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)

    def debt(self, client: str) -> float:
        """Return the seconds until what a client took beyond its limit is there."""
        return max(0.0, -self._left_of(client) / self._limit.per_second)

    def _left_of(self, client: str) -> float:
        now = time.monotonic()
        left, at = self._left.get(client, (self._limit.burst, now))
        return min(self._limit.burst, left + (now - at) * self._limit.per_second)
