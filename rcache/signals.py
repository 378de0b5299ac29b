"""Signals (blinker) that tell what rcache did, and two by which anybody feeds it changes.

Receivers are called in the sender's thread, at once and in no certain order; they are plain functions (a coroutine function
is never awaited here, which is logged), and are held weakly unless connected with `weak=False`.

| signal | sender | keywords |
| --- | --- | --- |
| `entity_saved`, `entity_deleted` | the model class (or an instance) | `identity`: the primary key, None for "some row" |
| `tags_invalidated` | the `Cache` | `tags`, `entries` (an upper bound), `sequence`, `landed` |
| `response_stored` | the `Cache` | `path`, `status`, `tags`, `ttl` in seconds, `size` in bytes of body |
| `response_served` | the `Cache` | `path`, `status`, `age` in seconds, `tags` |
| `audited` | the `Cache` | `url`, `route`, `outcome` (same, stale, excused, unsteady, failed) |
| `audit_difference` | the `Cache` | `finding`: a `Finding`, what was served though it does not hold any more |

After a COMMIT that an integration has followed, the first two carry `model`, the `old` and `new` values by column (None where there
are none), and `purged=True`: then nothing is purged once more.

Sending `entity_saved` or `entity_deleted` from any code purges in every open cache before `send` returns:
`entity_saved.send(User, identity=42)` purges `user:42` and `user`. The name is the model's `__cache_tag__`, else its table's
name, else its class name in lower case. An identity of several parts is a tuple, and makes `line:1:2`.
"""

from __future__ import annotations

from inspect import iscoroutine
from typing import Any

from blinker import NamedSignal, Namespace

from rcache import logs

_signals = Namespace()

entity_saved = _signals.signal("entity-saved")
entity_deleted = _signals.signal("entity-deleted")
tags_invalidated = _signals.signal("tags-invalidated")
response_stored = _signals.signal("response-stored")
response_served = _signals.signal("response-served")
audited = _signals.signal("audited")
audit_difference = _signals.signal("audit-difference")


def notify(signal: NamedSignal, sender: object, **details: Any) -> None:
    """Calls every receiver; one that raises is logged, and neither stops the others nor breaks the caller."""
    for receiver in signal.receivers_for(sender):
        try:
            answer = receiver(sender, **details)
            if iscoroutine(answer):
                answer.close()
                logs.RECEIVER_ASYNCHRONOUS.tell(receiver=repr(receiver), signal=signal.name)
        except Exception:
            logs.RECEIVER_RAISED.tell(exc_info=True, signal=signal.name)
