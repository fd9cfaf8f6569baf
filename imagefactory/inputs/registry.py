"""Images of registries: what one consists of, by its digest, and its parts into the store.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagefactory.errors import BuildFailed, Gone
from imagefactory.inputs.mirrors import fetch_checked
from imagefactory.inputs.protocol import Means
from imagefactory.model.expected import Expected
from imagefactory.model.lock import BlobFile
from imagefactory.system.redact import redact
from imagefactory.system.site import Address

_API = "/v2/"
INDEX, MANIFEST, CONFIG, LAYER = "index", "manifest", "config", "layer"
_OCI, _DOCKER = "application/vnd.oci.image", "application/vnd.docker.distribution.manifest"
_INDEXES = (f"{_OCI}.index.v1+json", f"{_DOCKER}.list.v2+json")
MANIFESTS = (f"{_OCI}.manifest.v1+json", f"{_DOCKER}.v2+json")
_ACCEPT = ", ".join((*MANIFESTS, *_INDEXES))
# The hub's images are under one name and served under another, and those without an owner are its own.
_HUB, _HUB_SERVER, _HUB_OWNER = "docker.io", "registry-1.docker.io", "library"
_MAX_DOCUMENT = 16 << 20
_MAX_TOKEN = 1 << 20
_MAX_LAYERS = 1000
_MAX_WORDS = 200  # letters of what a registry says, in a message
_NO_IMAGE = "the registry's answer is no description of an image"
_MORE = 'find its digest with "docker buildx imagetools inspect NAME:TAG"'


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by its digest, and the address below which its registry has it."""

    text: str
    address: str
    name: str
    digest: str


def parse_reference(text: str) -> Reference:
    """Of an image as a base image's file names it, such as ``ghcr.io/lab/base:1@sha256:…``."""
    named, _, digest = text.partition("@")
    host, _, name = named.partition("/")
    name = re.sub(r":[^:/]+$", "", name)
    if host == _HUB:
        host, name = _HUB_SERVER, name if "/" in name else f"{_HUB_OWNER}/{name}"
    bare = host.partition(":")[0]
    scheme = "http" if bare == "localhost" or bare.startswith("127.") else "https"
    return Reference(text, f"{scheme}://{host}{_API}{name}", name, digest)


def fetch_blob(reference: Reference, path: str, expected: Expected, means: Means) -> None:
    """Have the store hold a part of an image, checked. Raises BuildFailed, or a kind of it."""

    def headers(address: Address) -> Mapping[str, str]:
        # A mirror may have it under another name.
        server, below, rest = address.url.partition(_API)
        token = (
            _token(f"{server}{below}", rest.removesuffix(f"/{path}"), expected.what, means) if below else ""
        )
        return {"Accept": _ACCEPT, **({"Authorization": f"Bearer {token}"} if token else {})}

    try:
        fetch_checked(f"{reference.address}/{path}", expected, means, headers)
    except Gone as error:
        error.hint = error.hint or (
            f"the registry no longer has it under that digest: {_MORE}, "
            "or name a mirror that keeps old images in site.yaml"
        )
        raise


def resolve_image(text: str, base: str, platform: str, means: Means) -> tuple[BlobFile, ...]:
    """All that an image consists of on a platform, fetched. Raises BuildFailed, or a kind of it."""
    reference, what = parse_reference(text), f"base_images/{base}: {text}"
    files: list[BlobFile] = []

    def take(name: str, place: str, digest: str, size: int | None) -> bytes:
        algorithm, _, sha256 = digest.partition(":")
        if algorithm != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise BuildFailed(f"{what}: its {name} has the digest {digest[:_MAX_WORDS]}, which is no sha256")
        if size is not None and (type(size) is not int or size < 0):
            raise BuildFailed(f"{what}: {_NO_IMAGE}")
        most = None if name.startswith(LAYER) else _MAX_DOCUMENT
        if most and size and size > most:
            raise BuildFailed(f"{what}: its {name} would have {size} bytes, and {most} are the most")
        path = f"{place}/{digest}"
        if not means.store.has(sha256):
            fetch_blob(reference, path, Expected(f"{what}: {name}", sha256, size, most), means)
        stored = f"{what}: the store's {name}"
        files.append(
            BlobFile(
                name=name,
                version=digest[: len("sha256:") + 12],
                file=path,
                bytes=means.store.checked_size(sha256, stored),
                sha256=sha256,
            )
        )
        if name.startswith(LAYER):
            return b""
        return means.store.read(sha256, _MAX_DOCUMENT, stored)

    def follow(name: str, place: str, part: Mapping[str, Any]) -> bytes:
        return take(name, place, str(part.get("digest")), part.get("size"))

    try:
        # Whether it is an index shows when it is here.
        document = _read(take(MANIFEST, "manifests", reference.digest, None), what)
        if "manifests" in document:
            files[-1] = files[-1].model_copy(update={"name": INDEX})
            document = _read(follow(MANIFEST, "manifests", _choose(document, platform, what)), what)
        _check(document, what)
        _check_config(_read(follow(CONFIG, "blobs", document["config"]), what), platform, what)
        for number, layer in enumerate(document["layers"], 1):
            follow(f"{LAYER} {number:02}", "blobs", layer)
    except (
        AttributeError,
        KeyError,
        TypeError,
    ):  # where a mapping, a list or a number should be, something else is
        raise BuildFailed(f"{what}: {_NO_IMAGE}") from None
    unique = {file.sha256: file for file in reversed(files)}  # a layer may be there twice
    return tuple(file for file in files if unique[file.sha256] is file)


def _read(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BuildFailed(f"{what}: {_NO_IMAGE}")
    return document


def _choose(index: Mapping[str, Any], platform: str, what: str) -> Mapping[str, Any]:
    """The image of a platform among those of an index."""
    of: dict[str, Mapping[str, Any]] = {}
    for entry in index["manifests"]:
        on = entry.get("platform") or {}
        of.setdefault(f"{on.get('os')}/{on.get('architecture')}", entry)
    if platform not in of:
        there = ", ".join(sorted(name for name in of if "unknown" not in name and "None" not in name))
        raise BuildFailed(
            f"{what}: it is not there for {platform}, only for {there[:_MAX_WORDS] or 'none that it names'}",
            hint=f"choose another image: {_MORE}",
        )
    return of[platform]


def _check(manifest: Mapping[str, Any], what: str) -> None:
    if not isinstance(manifest.get("config"), dict) or not manifest.get("layers"):
        raise BuildFailed(
            f"{what}: that is no image that can be run: its manifest names no config, or no layers",
            hint="perhaps it is of Docker's first kind, or no container image: pull it, and push it anew",
        )
    if len(manifest["layers"]) > _MAX_LAYERS:
        raise BuildFailed(f"{what}: it has {len(manifest['layers'])} layers, and {_MAX_LAYERS} are the most")
    for layer in manifest["layers"]:
        kind = str(layer.get("mediaType"))
        if "foreign" in kind or "nondistributable" in kind or "tar" not in kind:
            raise BuildFailed(f"{what}: it has a layer that cannot be used: {kind[:_MAX_WORDS]}")


def _check_config(config: Mapping[str, Any], platform: str, what: str) -> None:
    here = f"{config.get('os')}/{config.get('architecture')}"
    if here != platform:
        raise BuildFailed(
            f"{what}: it is for {here[:_MAX_WORDS]}, and this machine is {platform}",
            hint=f"choose another image: {_MORE}",
        )
    if triggers := (config.get("config") or {}).get("OnBuild"):
        first = str(triggers[0])[:_MAX_WORDS]
        raise BuildFailed(
            f"{what}: it has steps of its own for whatever is built on it (ONBUILD {first})",
            hint="choose an image without them, such as the one that it is itself built on",
        )


def _token(api: str, name: str, what: str, means: Means) -> str:
    """What lets anybody read an image, where a registry wants it; empty where it does not.

    https://distribution.github.io/distribution/spec/auth/token/
    """
    if api.startswith("file:"):
        return ""
    asked = means.web.challenge(api, what)
    scheme, _, rest = asked.partition(" ")
    if scheme.lower() != "bearer":
        return ""  # nothing, or a password, which ~/.netrc may hold
    said = dict(re.findall(r'\b(\w{1,40})="([^"]*)"', rest))
    realm = said.get("realm", "")
    if not realm:
        raise BuildFailed(f"{what}: the registry does not say where it gives tokens: {asked[:_MAX_WORDS]}")
    _check_realm(realm, api, what)
    query = {"service": said.get("service", ""), "scope": f"repository:{name}:pull"}
    words = urllib.parse.urlencode({key: value for key, value in query.items() if value})
    url = f"{realm}{'&' if '?' in realm else '?'}{words}"
    try:
        answer = means.web.read(url, what, most=_MAX_TOKEN, named_by=api).json()
        token = answer.get("token") or answer["access_token"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
        raise BuildFailed(f"{what}: {redact(realm[:_MAX_WORDS])} gives no token")
    return token


def _check_realm(realm: str, api: str, what: str) -> None:
    """A token is asked for as safely as the registry itself is."""
    try:
        parts = urllib.parse.urlsplit(realm)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.scheme not in ("https", urllib.parse.urlsplit(api).scheme):
        raise BuildFailed(
            f"{what}: the registry has its tokens from {redact(realm[:_MAX_WORDS])}, "
            "which is no safe address to ask",
            hint="name a mirror of the registry in site.yaml",
        )
