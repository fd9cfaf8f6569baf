"""The one place that tries again: only on faults that may pass, with growing, jittered pauses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from imagefactory.errors import NetworkFault

if TYPE_CHECKING:
    from tenacity import RetryCallState

ATTEMPTS = 3

T = TypeVar("T")


def on_network_fault(
    action: Callable[[], T],
    *,
    before_retry: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
    pause: float,
) -> T:
    """Call ``action``, at most three times, while it raises NetworkFault.

    ``before_retry`` is told what failed and how long the pause is; ``wait`` lets that time pass;
    ``pause`` is the first in seconds.
    """
    # Starts slowly, and most runs try nothing twice.
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

    def announce(state: RetryCallState) -> None:
        seconds = state.next_action.sleep if state.next_action else 0
        error = state.outcome.exception() if state.outcome else None
        before_retry(f"{error}; trying again in {seconds:.0f} s")

    return Retrying(
        retry=retry_if_exception_type(NetworkFault),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(multiplier=pause, max=30, jitter=pause),
        before_sleep=announce,
        sleep=wait,
        reraise=True,
    )(action)
