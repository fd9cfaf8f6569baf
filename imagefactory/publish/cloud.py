"""An OpenStack cloud of a person's ``clouds.yaml``: the login, and requests to its image service.

openstacksdk finds the settings, logs in, finds Glance in the cloud's catalog and speaks HTTP.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from imagefactory.errors import BadInput, NetworkFault
from imagefactory.publish.answers import check_answer, explained
from imagefactory.system.processes import Stop
from imagefactory.system.redact import keep_secret, keep_variables, redact

ANSWER_SECONDS = 60.0
"""For a connection, and for an answer, where clouds.yaml says nothing (``api_timeout``)."""
PATIENCE_SECONDS = 900.0
"""For a piece of a transfer, and for the answer after its last one."""
REMOVAL_SECONDS = 20.0
"""For the answer to a removal, for which somebody may wait who has interrupted us."""
PATCH = "application/openstack-images-v2.1-json-patch"
_SECRET = re.compile(r"(?i)passw|passcode|secret|token|assertion")

T = TypeVar("T")


class Cloud:
    """``name`` is one of clouds.yaml; empty, it is the one that ``OS_CLOUD`` names, or the only one.

    What takes long ends on a ``stop``: then Interrupted is raised.
    """

    def __init__(self, name: str = "", stop: Stop | None = None) -> None:
        self.name = name or os.environ.get("OS_CLOUD", "")
        self.stop = Stop() if stop is None else stop

    @property
    def shown(self) -> str:
        """What people call it."""
        return f"cloud {self.name}" if self.name else "the cloud"

    @functools.cached_property
    def project(self) -> str:
        """The identifier of the project whose images we make."""
        project = self._asked(lambda: self._connection.current_project_id)
        if not project:
            raise BadInput(f"{self.shown}: no project is named", hint="name 'project_name' in clouds.yaml")
        return str(project)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """What Glance says of ``path``, such as ``/images``, read from JSON."""
        return self._answered("GET", path, params=dict(query or {})).json()

    def post(self, path: str, body: Any) -> Any:
        """What it says to a new thing; None where it says nothing."""
        answer = self._answered("POST", path, json=body)
        return answer.json() if answer.content else None

    def patch(self, path: str, changes: list[dict[str, Any]]) -> Any:
        """Change an image: ``changes`` as JSON Patch (RFC 6902) has them."""
        return self._answered("PATCH", path, json=changes, headers={"Content-Type": PATCH}).json()

    def put(self, path: str, pieces: Any, size: int) -> None:
        """Send a file: ``pieces`` gives its bytes, and has its length.

        Nothing is sent twice: where a login has just ended, or the cloud sends us elsewhere, it fails.
        """
        self._answered(
            "PUT",
            path,
            data=pieces,
            headers={"Content-Type": "application/octet-stream", "X-OpenStack-Image-Size": str(size)},
            allow_reauth=False,
            redirect=False,
            connect_retries=0,
            status_code_retries=0,
            timeout=(PATIENCE_SECONDS, PATIENCE_SECONDS),
        )

    def pieces(self, path: str, size: int) -> Iterator[bytes]:
        """What a file of Glance holds, as it comes, in pieces of ``size`` bytes at most."""
        answer = self._answered("GET", path, stream=True, headers={"Accept-Encoding": "identity"})
        try:
            content = answer.iter_content(size)
            while piece := self._asked(lambda: next(content, b"")):
                yield piece
        finally:
            answer.close()

    def delete(self, path: str) -> None:
        """Remove something. Also on a stop: what is half done must go."""
        with explained(self.shown):
            answer = self._glance.request(path, "DELETE", status_code_retries=0, timeout=REMOVAL_SECONDS)
            check_answer(self.shown, answer)

    def _answered(self, method: str, path: str, **more: Any) -> Any:
        more.setdefault("headers", {}).setdefault("Accept", "*/*")
        answer = self._asked(lambda: self._glance.request(path, method, **more))
        check_answer(self.shown, answer)
        return answer

    def _asked(self, ask: Callable[[], T]) -> T:
        with explained(self.shown):
            return stoppable(ask, self.stop)

    @functools.cached_property
    def _glance(self) -> Any:
        from openstack import exceptions as sdk

        connection = self._connection
        place = connection.config.get_endpoint("image")
        place = place or connection.config.get_endpoint_from_catalog("image")
        try:
            glance = connection.image
            glance.get_endpoint_data()
        except sdk.SDKException:
            if not place:
                raise
            raise NetworkFault(
                f"{self.shown}: its image service at {redact(place)} does not answer, or is none",
                hint="check the network, and region_name and image_endpoint_override in clouds.yaml",
            ) from None
        return glance

    @functools.cached_property
    def _connection(self) -> Any:
        from openstack.connection import Connection

        for library in ("keystoneauth", "openstack", "stevedore", "urllib3"):  # we say what went wrong
            logging.getLogger(library).addHandler(logging.NullHandler())
            warnings.filterwarnings("ignore", module=library)
        region = self._settings()
        if region.config.get("api_timeout") is None:
            region.config["api_timeout"] = ANSWER_SECONDS
        connection = Connection(config=region)
        keep_secret(str(connection.auth_token), "token")
        return connection

    def _settings(self) -> Any:
        """The cloud's settings. No secret in any of the files is ever shown after this."""
        from openstack import exceptions as sdk
        from openstack.config.loader import CONFIG_FILES, OpenStackConfig

        file = os.environ.get("OS_CLIENT_CONFIG_FILE", "")
        if file and not Path(file).is_file():
            raise BadInput(f"OS_CLIENT_CONFIG_FILE names {file}, and there is no such file")
        there = next((place for place in (file, *CONFIG_FILES) if place and Path(place).exists()), "")
        try:
            found = OpenStackConfig(app_name="imagefactory")
            _keep_secrets(found.cloud_config)
            if there and found.config_filename != there:
                raise BadInput(f"{there} can't be read, or is not YAML", hint="put that right")
            clouds = found.cloud_config["clouds"]
            if not found.config_filename and "auth_url" not in clouds.get(found.envvar_key, {}):
                raise BadInput(
                    f"{self.shown} is not known: there is no clouds.yaml",
                    hint="put the one that your cloud gives you into ~/.config/openstack/clouds.yaml,"
                    " or name it in OS_CLIENT_CONFIG_FILE",
                )
            self.name = self.name or str(found.default_cloud or "")
            if self.name not in clouds:
                missing = f"no cloud {self.name}" if self.name else "several clouds, and none is named"
                raise BadInput(f"{there} has {missing}", hint=f"it has {_names(clouds)}")
            return found.get_one(cloud=self.name)
        except sdk.ConfigException as error:
            raise BadInput(f"{there or 'OS_…'}: {error}", hint="put that right") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # the library takes what is there
            raise BadInput(
                f"{there} is not a clouds.yaml: {type(error).__name__} where cloud {self.name} is read",
                hint="compare it with openstacksdk's documentation of clouds.yaml",
            ) from None


def _names(clouds: Mapping[str, Any]) -> str:
    return ", ".join(str(name) for name in clouds if name != "defaults") or "none"


def stoppable(work: Callable[[], T], stop: Stop) -> T:
    """What ``work`` returns. On a stop, or an interrupt, it is left alone, and ends when it will."""
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def do() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=do, name="openstack", daemon=True).start()
    with stop.ends(done.set):
        done.wait()
    if errors:
        raise errors[0]
    if not results:
        stop.check()
    return results[0]


def _keep_secrets(value: Any, name: str = "") -> None:
    """Never show what stands under names of secrets, however deep, nor passwords in addresses."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            _keep_secrets(each, str(key))
    elif isinstance(value, list | tuple):
        for each in value:
            _keep_secrets(each, name)
    elif isinstance(value, str):
        if _SECRET.search(name):
            keep_secret(value)
        keep_variables({name: value})
    elif value is not None and _SECRET.search(name):
        keep_secret(str(value))  # a password of digits alone
