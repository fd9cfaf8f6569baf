"""One file from the first of several addresses that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from imagefactory.errors import BuildFailed, Gone, NetworkFault
from imagefactory.inputs.protocol import Means
from imagefactory.model.expected import Expected
from imagefactory.system import retry
from imagefactory.system.site import Address

T = TypeVar("T")


def fetch_checked(
    url: str,
    expected: Expected,
    means: Means,
    headers: Callable[[Address], Mapping[str, str]] = lambda address: {},
    *,
    named_by: str = "",
) -> None:
    """Have the store hold the file with that original address. Raises BuildFailed, or a kind of it.

    ``headers`` says what a request to one of its addresses needs; ``named_by`` is the address of the index
    that named it, if one did: see ``Web.opened``.
    """
    fetch_any((url,), expected, means, headers, named_by=named_by)


def fetch_any(
    urls: Iterable[str],
    expected: Expected,
    means: Means,
    headers: Callable[[Address], Mapping[str, str]] = lambda address: {},
    *,
    named_by: str = "",
) -> None:
    """The same of a file with several addresses, each as the site reaches it."""
    urls = tuple(urls)

    def get(address: Address) -> None:
        with means.store.draft(expected.sha256) as draft:
            if means.store.has(expected.sha256):  # another process was faster
                return
            # What the site has instead was named by nobody else.
            by = named_by if address.url in urls else ""
            means.web.download(address.url, draft, expected, means.on_bytes, headers(address), named_by=by)
            means.store.take(draft, expected.sha256)

    from_mirrors([place for url in urls for place in means.site.addresses(url)], get, means)


def from_mirrors(addresses: list[Address], get: Callable[[Address], T], means: Means) -> T:
    """What ``get`` makes of the first address that serves; each is tried again on a network fault."""
    failure: BuildFailed | None = None
    for address in addresses:
        try:
            return retry.on_network_fault(
                lambda here=address: get(here),  # type: ignore[misc]
                before_retry=means.log.line,
                wait=means.stop.wait,
                pause=means.site.settings.retry_pause,
            )
        except (NetworkFault, Gone) as error:
            failure = error
            means.stop.check()
    assert failure is not None
    raise failure
