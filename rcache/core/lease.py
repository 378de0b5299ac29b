"""What the node that makes an answer says to those that wait for it."""

from __future__ import annotations

from enum import Enum


class Word(Enum):
    """How a run ended that other nodes waited for. Nothing is shared by it: whoever looks up is judged by the one rule."""

    STORED = "stored"  # look it up
    AGAIN = "again"  # look it up anew: the store was refused, or the node that ran gave up or is gone
    ALONE = "alone"  # run by yourself: what the application answers here is not for sharing
