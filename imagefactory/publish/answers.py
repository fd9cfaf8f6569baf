"""What a cloud answers, and what its client's exceptions are, in words that people understand."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from imagefactory.errors import BadInput, BuildFailed, Gone, NetworkFault
from imagefactory.system.redact import harmless, redact

MAX_WORDS = 240  # letters of what a cloud says
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_MARKUP = re.compile(
    r"<(?:title|style|script).*?</(?:title|style|script)>|<[^>]*>", re.DOTALL | re.IGNORECASE
)

_CAUSED = re.compile(r"Caused by \w+\((.*)\)")
_NUMBERED = re.compile(r".*\[(?:Errno|SSL)[^\]]*\] (.*?)(?: \(_ssl|$)")
_ABORTED = re.compile(r"\('Connection aborted\.', \w+\((?:\d+, )?'(.*)'\)\)")


class Refused(BuildFailed):
    """The cloud knows who we are, and does not let us do that."""


class NoRoom(BuildFailed):
    """The cloud has a limit that the image goes beyond."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Exceptions of the client as failures of ``what``, such as ``cloud lab``."""
    # Starts slowly, and most runs publish nothing.
    from keystoneauth1 import exceptions as auth
    from openstack import exceptions as sdk

    try:
        yield
    except auth.Unauthorized as error:
        raise BuildFailed(
            f"{what} refuses the login: {said(error)}",
            hint="check the user, the password and the project in clouds.yaml, or in the variables OS_…",
        ) from None
    except (auth.MissingRequiredOptions, auth.NoMatchingPlugin) as error:
        raise BadInput(f"{what}: {said(error)}", hint="complete 'auth' in clouds.yaml") from None
    except (sdk.ServiceDisabledException, auth.EndpointNotFound) as error:
        raise BuildFailed(
            f"{what} has no image service that we are told of: {said(error)}",
            hint="check region_name and interface in clouds.yaml",
        ) from None
    except auth.HttpError as error:
        _raise_for(what, int(error.http_status), said(error))
    except (auth.ConnectionError, auth.DiscoveryFailure, OSError) as error:
        raise _unreachable(what, error) from None
    except (auth.ClientException, sdk.SDKException) as error:
        raise BuildFailed(f"{what}: {said(error)}") from None
    except Exception as error:
        if type(error) is not Exception:
            raise
        # keystoneauth has no better one where a password is missing.
        raise BadInput(f"{what}: {said(error)}", hint="complete 'auth' in clouds.yaml") from None


def _unreachable(what: str, error: Exception) -> BuildFailed:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = re.search(r"certificate verify failed: ([^(]*)", text)
        return BuildFailed(
            f"{what}: its certificate is not trusted: {_shortened(reason[1].strip()) if reason else text}",
            hint="name the certificates of who signed it as 'cacert' in clouds.yaml",
        )
    if not any(word in text for word in ("establish", "connect", "Connect", "SSL", "timed out")):
        return BuildFailed(
            f"{what}: auth_url leads to no Keystone that we can use: {said(error)}",
            hint="check auth_url in clouds.yaml: it mostly ends with /v3",
        )
    return NetworkFault(
        f"{what} cannot be reached: {said(error)}",
        hint="check the network, and auth_url in clouds.yaml; proxies are taken from https_proxy",
    )


def check_answer(what: str, answer: Any) -> None:
    """Raise what an answer of Glance means, if it is no success: a kind of BuildFailed."""
    status = int(answer.status_code)
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise BuildFailed(
            f"{what} sends us elsewhere, which no image service does: it answers {status}",
            hint="check the address of the image service in the cloud's catalog",
        )
    # Glance answers with pages, whose heading is the status, and with lines that begin with it.
    plain = " ".join(_MARKUP.sub(" ", str(answer.text or "")[:10_000]).split())
    reason = html.unescape(plain.removeprefix(f"{status} {answer.reason}").strip())
    _raise_for(what, status, _shortened(reason or str(answer.reason)))


def said(error: BaseException) -> str:
    """The words of an exception that say most, in one line, without secrets."""
    text = " ".join(str(error).split())
    # requests and urllib3 show themselves around the reason.
    if caused := _CAUSED.search(text):
        reason = _NUMBERED.search(caused[1]) or re.search(r".*(?:, '|: )(.*)", caused[1])
        text = (reason[1] if reason else caused[1]).strip("')\" ")
    elif aborted := _ABORTED.search(text):
        text = aborted[1]
    return _shortened(re.sub(r" \(HTTP \d+\)( \(Request-ID: [^)]*\))?$", "", text))


def _shortened(text: str) -> str:
    return harmless(redact(text))[:MAX_WORDS]


def _raise_for(what: str, status: int, reason: str) -> None:
    if status in _PASSING:
        raise NetworkFault(f"{what} answers {status}: {reason}", hint="try again later")
    if status in (404, 410):
        raise Gone(f"{what} has no such thing: {reason}")
    if status in (401, 403, 405):
        raise Refused(f"{what} refuses: {reason}", hint="ask who runs it for the role that may do this")
    if status == 413:
        raise NoRoom(
            f"{what} has no room for it: {reason}",
            hint="remove images that nobody needs, or ask who runs it for a higher quota",
        )
    raise BuildFailed(f"{what} answers {status}: {reason}")
