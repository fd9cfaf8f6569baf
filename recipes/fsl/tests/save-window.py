# ruff: noqa: ANN201
"""Run by FSLeyes once its window is open: saves the window's view, and ends FSLeyes."""

import os
import traceback

import wx
from fsleyes.actions.screenshot import screenshot


def save():
    status = 1
    try:
        screenshot(frame.viewPanels[0], "window.png")  # noqa: F821  FSLeyes gives its scripts this name
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        # Not by closing the window, which may ask questions.
        os._exit(status)


# By then, everything has been drawn.
wx.CallLater(5000, save)
