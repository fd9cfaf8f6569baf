"""Where programs run that read, or run, what comes from outside: they see what an errand names, and nothing
else.
"""

from imagefactory.sandbox.errand import Errand, Limits, run_errand
from imagefactory.sandbox.relay import ADDRESS, Relay
from imagefactory.sandbox.routes import Passing, Question, Reply, Route, route_to
from imagefactory.sandbox.view import MANY, host_python, sandbox_version

__all__ = [
    "ADDRESS",
    "MANY",
    "Errand",
    "Limits",
    "Passing",
    "Question",
    "Relay",
    "Reply",
    "Route",
    "host_python",
    "route_to",
    "run_errand",
    "sandbox_version",
]
