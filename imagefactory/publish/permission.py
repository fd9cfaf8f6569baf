"""What others may have: whoever publishes asks here first."""

from __future__ import annotations

from imagefactory.errors import BadInput
from imagefactory.model.report import Report
from imagefactory.model.settings import SiteFile

_SHOWN = 3


def require_permission(report: Report, settings: SiteFile) -> None:
    """Raises BadInput where an image must not be published from this site: it holds stand-ins, or packages
    that not everybody may pass on.
    """
    if report.stand_ins:
        raise BadInput(
            f"{report.id} holds stand-ins: nobody should take it for the software",
            hint="take the stand-ins out of site.yaml, and build it again",
        )
    if report.non_free and not settings.publish_non_free:
        more = f" and {len(report.non_free) - _SHOWN} more" if len(report.non_free) > _SHOWN else ""
        raise BadInput(
            f"{report.id} holds what not everybody may pass on: {', '.join(report.non_free[:_SHOWN])}{more}",
            hint="read their licences; if you may, write publish_non_free: true in site.yaml",
        )
