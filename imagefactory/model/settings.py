"""What is special to one machine or institute: ``site.yaml``, exactly as the file holds it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from imagefactory.model.fields import AbsolutePath, GitCommit, Identifier, Line, Matching, Sha256, Strict

# Other than a recipe, this file is nobody else's: an address in it may hold a user name and a password.
SiteUrl = Annotated[
    Line,
    Matching(
        r"^(https?://[^\s'\"\\$`<>]+|file:///[^\s'\"\\$`<>]*)$",
        "an address that begins with http://, https:// or file:///",
    ),
]


def _always_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


SiteUrls = Annotated[
    tuple[SiteUrl, ...],
    BeforeValidator(_always_list),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _whole_prefix(value: str) -> str:
    return value.rstrip("/")


Prefix = Annotated[SiteUrl, AfterValidator(_whole_prefix)]


class Proxies(Strict):
    """Proxies, as the environment variables http_proxy, https_proxy and no_proxy hold them."""

    http: SiteUrl | None = None
    https: SiteUrl | None = None
    no: Line | None = None


class StandIn(Strict):
    """Other content under a real address, for rehearsals: what is made of it is marked, and never passes
    for the true software. ``sha256`` or ``commit`` take the place of the recipe's.
    """

    url: SiteUrl
    sha256: Sha256 | None = None
    commit: GitCommit | None = None


_DAY = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"


class CloudImages(Strict):
    """What this site says of the VM images that it uploads, in the words of SCS-0102, a standard of the
    Sovereign Cloud Stack, and who may see them.
    """

    visibility: Literal["private", "shared", "community", "public"] = "private"
    replace_frequency: Literal[
        "yearly", "quarterly", "monthly", "weekly", "daily", "critical_bug", "never"
    ] = "never"
    uuid_validity: Annotated[
        str,
        Matching(
            rf"^(none|notice|forever|last-[1-9][0-9]{{0,3}}|{_DAY})$",
            "none, notice, forever, last-N or a date such as 2027-06-30",
        ),
    ] = "none"
    provided_until: Annotated[
        str, Matching(rf"^(none|notice|{_DAY})$", "none, notice or a date such as 2027-06-30")
    ] = "none"


class SiteFile(Strict):
    """``site.yaml``. ``mirrors`` and ``stand_ins`` go by the beginning of an address; the longest counts.
    ``keep_replaced``: what a newer build that passed takes the place of stays.
    ``publish_non_free``: images may be published that hold packages which not everybody may pass on, such as
    NVIDIA's driver.
    ``retry_pause`` is in seconds, after which what the network did not bring is tried again; the next one is
    longer.
    """

    proxies: Proxies = Proxies.model_construct()
    ca_bundle: AbsolutePath | None = None
    mirrors: dict[Prefix, SiteUrls] = {}
    stand_ins: dict[Prefix, StandIn] = {}
    python_index: SiteUrl | None = None
    accept_licences: tuple[Identifier, ...] = ()
    store: AbsolutePath | None = None
    keep_replaced: bool = False
    publish_non_free: bool = False
    cloud_images: CloudImages = CloudImages.model_construct()
    retry_pause: Annotated[float, Field(ge=0, le=60)] = 2.0
