"""The Docker Engine through its SDK: is it there, and what images and containers does it hold."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from imagefactory.errors import BuildFailed, DiskFull, EngineError, FactoryError, disk_error
from imagefactory.system.processes import run
from imagefactory.system.versions import numbers
from imagefactory.targets.common.layouts import layer_bytes, manifest_of, packed

MINIMUM_ENGINE = (26, 0)
MINIMUM_BUILDX = (0, 13)
CANDIDATES = "imagefactory/candidate"
FAILED = "imagefactory/failed"
OWNER_LABEL = "io.imagefactory.workspace"
ID_LABEL = "io.imagefactory.test-of"

_SET_UP = "run ci/setup, which installs and starts what is missing"


class Engine:
    """One Docker Engine, reached as the docker command line reaches it. Connects when first used."""

    def __init__(self, owner: str) -> None:
        self.owner = owner  # tells this checkout's containers and candidates from another's

    @functools.cached_property
    def client(self) -> docker.DockerClient:
        """The SDK's client. Raises EngineError when nothing answers."""
        try:
            return docker.from_env(timeout=600)
        except (DockerException, requests.RequestException) as error:
            raise explain(error) from None

    @functools.cached_property
    def local(self) -> bool:
        """Whether the engine sees this machine's folders."""
        return str(self.client.api.base_url).startswith(("http+docker://local", "http+unix"))

    @functools.cached_property
    def folder(self) -> str:
        """The folder of this machine in which it keeps everything."""
        with explained():
            return str(self.client.info()["DockerRootDir"])

    def versions(self) -> dict[str, str]:
        """Versions of the engine and of buildx. Raises EngineError where they cannot serve."""
        if not self.local:
            raise EngineError(
                "the Docker Engine is on another machine, which cannot see the files here",
                hint="use one on this machine: unset DOCKER_HOST, or choose another docker context",
            )
        with explained():
            server = self.client.version()["Version"]
            driver = dict(self.client.info().get("DriverStatus") or ()).get("driver-type", "")
        buildx = run(["docker", "buildx", "version"])
        if buildx.status:
            raise EngineError("the docker command has no buildx plugin", hint=_SET_UP)
        words = buildx.stdout.split()
        plugin = words[1].lstrip("v") if len(words) > 1 else "0"
        if numbers(server) < MINIMUM_ENGINE:
            raise EngineError(f"Docker Engine {server} is too old: 26 or newer is needed", hint=_SET_UP)
        if numbers(plugin) < MINIMUM_BUILDX:
            raise EngineError(f"buildx {plugin} is too old: 0.13 or newer is needed", hint=_SET_UP)
        if driver != "io.containerd.snapshotter.v1":
            raise EngineError(
                "the Docker Engine does not use the containerd image store",
                hint='put {"features": {"containerd-snapshotter": true}} into /etc/docker/daemon.json '
                "and restart the Docker Engine",
            )
        return {"docker": server, "buildx": plugin}

    def image(self, reference: str) -> Any | None:
        """What the engine knows of an image, or None where it has none of that name."""
        with explained():
            try:
                api: Any = self.client.api  # its stubs leave out half of the types
                return api.inspect_image(reference)
            except ImageNotFound:
                return None

    def load(self, layout: Path, name: str, shared: Collection[str] = ()) -> Any:
        """Take an OCI layout into the image store, under the ``name`` that stands in it, and return what the
        engine then knows of it. ``shared`` names layers that the engine has of the base image, in most cases.
        """
        least = layer_bytes(manifest_of(layout)[1])
        sdk: Any = self.client
        with explained():
            sdk.images.load(packed(layout, shared))
            # Where it misses a layer it takes the rest, and says so in words alone. Lists of images give the
            # bytes that it has of each; what it tells of one image are those that it should have.
            if shared and any(each["Size"] < least for each in sdk.api.images(name=name)):
                sdk.images.load(packed(layout))
        return self.image(name)

    def save(self, reference: str, file: Path) -> None:
        """Write an image to an OCI archive."""
        with explained():
            api: Any = self.client.api
            pieces = iter(api.get_image(reference, chunk_size=1 << 20))
        try:
            out = file.open("wb")
        except OSError as error:
            raise disk_error(error, file) from None
        with out:
            while True:
                with explained():
                    piece = next(pieces, None)
                if piece is None:
                    return
                try:
                    out.write(piece)
                except OSError as error:
                    raise disk_error(error, file) from None

    def tag(self, reference: str, repository: str, tag: str) -> None:
        """Give an image one more name; the image that loses its last one to it goes."""
        before = self.image(f"{repository}:{tag}")
        with explained():
            self.client.api.tag(reference, repository, tag)
        after = self.image(before["Id"]) if before else None
        if after and not after["RepoTags"]:
            # A container may still run it: then it stays until somebody removes both.
            with contextlib.suppress(APIError):
                self.client.api.remove_image(after["Id"])

    def untag(self, reference: str) -> None:
        """Take a name away; the image goes with its last one."""
        with explained(), contextlib.suppress(ImageNotFound):
            self.client.images.remove(reference, force=True)

    def candidate(self, id: str, input_digest: str) -> str:
        """The name that an image has until it has passed its tests."""
        return f"{CANDIDATES}:{self.owner}.{id}.{input_digest[:12]}"

    def failed(self, id: str) -> tuple[str, str]:
        """The repository and the tag of the last candidate that failed its tests."""
        return FAILED, f"{self.owner}.{id}"

    def frees(self, reference: str) -> int:
        """The bytes of an image that no other one shares; 0 where there is none of that name."""
        facts = self.image(reference)
        if facts is None:
            return 0
        try:
            api: Any = self.client.api
            images = api.df()["Images"] or ()
        except (DockerException, requests.RequestException):
            # It looks at all images, and fails where another one is just being made or removed.
            return int(facts["Size"])
        sizes = (image for image in images if reference in (image["RepoTags"] or ()))
        return next((int(each["Size"]) - max(int(each["SharedSize"]), 0) for each in sizes), 0)

    def give_up(self, references: Sequence[str]) -> None:
        """Take names of one image away; it goes with its last one. Raises BuildFailed where a container uses
        it; then none of them is gone.
        """
        api: Any = self.client.api
        for reference in references:
            with explained(), contextlib.suppress(ImageNotFound):
                for container in api.containers(all=True, filters={"ancestor": reference}):
                    name = container["Names"][0].strip("/")
                    raise BuildFailed(
                        f"{reference} is used by the container {name}", hint=f"docker rm --force {name}"
                    )
        for reference in references:
            with explained(), contextlib.suppress(ImageNotFound):
                api.remove_image(reference)

    def left_behind(self) -> dict[str, list[str]]:
        """Test containers and candidate images of this checkout, by the image they belong to."""
        left: dict[str, list[str]] = {}
        with explained():
            ours = {"label": f"{OWNER_LABEL}={self.owner}"}
            for container in self.client.api.containers(all=True, filters=ours):
                left.setdefault(container["Labels"].get(ID_LABEL, ""), []).append(container["Id"])
            for image in self.client.api.images(name=CANDIDATES):
                for reference in image.get("RepoTags") or ():
                    owner, _, rest = reference.rpartition(":")[2].partition(".")
                    if owner == self.owner:
                        left.setdefault(rest.partition(".")[0], []).append(reference)
        return left

    def remove(self, leftovers: Iterable[str]) -> None:
        """Remove containers and candidates that ``left_behind`` named."""
        for name in leftovers:
            if name.startswith(f"{CANDIDATES}:"):
                self.untag(name)
            else:
                with explained(), contextlib.suppress(NotFound):
                    self.client.api.remove_container(name, force=True, v=True)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the SDK's exceptions into failures that people understand."""
    try:
        yield
    except (DockerException, requests.RequestException, OSError) as error:
        raise explain(error) from None


def explain(error: Exception) -> FactoryError:
    """What an exception of the SDK means to a person."""
    text = str(getattr(error, "explanation", None) or error)
    if isinstance(error, OSError) and not isinstance(error, (requests.RequestException, ConnectionError)):
        return disk_error(error, Path(error.filename or "a temporary file"))
    if "no space left on device" in text.lower():
        return DiskFull(
            "the Docker Engine's disk is full",
            hint="free some space: docker system df shows what holds it",
        )
    if isinstance(error, APIError):
        return BuildFailed(f"the Docker Engine refused: {text}")
    if "permission denied" in text.lower():
        return EngineError(
            "you may not talk to the Docker Engine",
            hint="join the group docker (sudo usermod -aG docker $USER), then log in again",
        )
    gone = isinstance(error, (requests.RequestException, ConnectionError))
    if gone or "Error while fetching server API version" in text:
        return EngineError("the Docker Engine does not answer", hint=_SET_UP)
    return BuildFailed(f"the Docker Engine failed: {text}")
