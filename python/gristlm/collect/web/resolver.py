"""The resolver that Scrapy connects through: names whose every address may be connected to, and no others.

Twisted connects to the addresses that this resolver passes on and never looks a name up again, so what was judged is
what is connected to, on each connection: of a page, of a robots.txt, and of every redirect.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from zope.interface import implementer

from gristlm.collect.web.addresses import is_private, is_public


class Guard:
    """Which addresses may be connected to, and why the last ones of a host were refused."""

    def __init__(self, private_hosts: Collection[str] = ()) -> None:
        """Allows public addresses; for `private_hosts`, also those of this machine and of private networks."""
        self._private_hosts = frozenset(private_hosts)
        self.refused: dict[str, str] = {}

    def allows(self, host: str, addresses: Sequence[str]) -> bool:
        """Returns whether all of a host's addresses may be connected to; one that may not spoils all."""
        private = host in self._private_hosts
        bad = [each for each in addresses if not (is_public(each) or (private and is_private(each)))]
        if bad:
            self.refused[host] = f"{host} is at {', '.join(bad[:3])}"
        else:
            self.refused.pop(host, None)
        return not bad


@implementer(IHostnameResolver)
class GuardedResolver:
    """Wraps a resolver, such as Twisted's own around getaddrinfo."""

    def __init__(self, inner: Any, guard: Guard) -> None:  # zope's interfaces have no types
        """Looks names up with `inner` and lets `guard` judge the answers."""
        self._inner, self._guard = inner, guard

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[Any]] | None = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """Resolves a name, once; see `IHostnameResolver`."""
        receiver = _Receiver(resolutionReceiver, lambda found: self._guard.allows(hostName, found))
        return self._inner.resolveHostName(receiver, hostName, portNumber, addressTypes, transportSemantics)


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self, outer: Any, allows: Callable[[Sequence[str]], bool]) -> None:
        self._outer, self._allows = outer, allows
        self._found: list[IAddress] = []

    def resolutionBegan(self, resolution: IHostResolution) -> None:  # noqa: N802
        self._outer.resolutionBegan(resolution)

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        self._found.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        if self._allows([str(getattr(address, "host", "")) for address in self._found]):
            for address in self._found:
                self._outer.addressResolved(address)
        self._outer.resolutionComplete()
