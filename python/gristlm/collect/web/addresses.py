"""Which network addresses a crawler may connect to: those of the public Internet, whatever notation hides them.

A page can name, redirect to, or resolve to an address inside the network that the crawler runs in (server-side request
forgery). So the addresses themselves are judged, after resolution, and the connection is made to what was judged.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv6 prefixes whose last or middle 32 bits are an IPv4 address that a gateway will connect to.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291, 2.5.5.1, deprecated
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")  # RFC 2765
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: the interface identifier's first half
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.88.99.0/24",  # relays of 6to4, RFC 7526
        "fec0::/10",  # site-local, RFC 3879
        "100::/64",  # discard, RFC 6666
        "5f00::/16",  # segment routing, RFC 9602
    )
)


def is_public(text: str) -> bool:
    """Returns whether an address (text, as the resolver gives it) is of the public Internet.

    False for what is private, loopback, link-local, shared (CGNAT), multicast, reserved or documentation, for an IPv6
    address with such an IPv4 address inside (mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP), and for what
    is no address.
    """
    address = _parsed(text)
    return address is not None and all(_global(each) for each in _with_embedded(address))


def is_private(text: str) -> bool:
    """Returns whether an address is loopback or of a private network, and nothing else is hidden in it.

    That is what `allow_private` opens. Link-local addresses, where clouds serve their credentials, stay closed.
    """
    address = _parsed(text)
    if address is None:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_link_local or address.is_unspecified or address.is_multicast or address.is_reserved:
        return address == ipaddress.IPv6Address("::1")  # Python counts it as reserved
    return address.is_loopback or address.is_private


def _parsed(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _global(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in _NEVER if network.version == address.version)
    )


def _with_embedded(address: Address) -> Iterator[Address]:
    """Yields the address, or in its place the IPv4 addresses that it carries."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    bits = int(address)
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    elif address in _NAT64 or address in _TRANSLATED:
        yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    elif address.sixtofour:
        yield address.sixtofour
    elif address.teredo:
        yield from address.teredo
        yield address  # Python calls all of 2001::/23 not global, and so do we
    elif address in _NAT64_LOCAL or address in _COMPATIBLE:
        yield ipaddress.IPv4Address("0.0.0.0")  # noqa: S104  # where it leads is up to the network: never public
    else:
        yield address
        if bits >> 32 & 0xFFFFFFFF in _ISATAP:
            yield ipaddress.IPv4Address(bits & 0xFFFFFFFF)
