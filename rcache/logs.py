"""What the loggers `rcache` and `rcache.jobs` say: every message, its level and what to do about it, in one place.

In the standard library's way: nothing is printed where the application has not set up logging, a record's message is a template
that groups records, and its fields stand in `record.rcache`, a dict of texts and numbers whose `event` names the message.
"""

from __future__ import annotations

import logging
from logging import DEBUG, ERROR, INFO, WARNING
from typing import Any, Final

logging.getLogger("rcache").addHandler(logging.NullHandler())


class Message:
    """One message. `template` is filled from the fields that `tell` is given by name."""

    __slots__ = ("event", "level", "logger", "remedy", "template")

    def __init__(self, event: str, level: int, template: str, remedy: str) -> None:
        self.event = event
        self.logger = logging.getLogger("rcache.jobs" if event.startswith(("job.", "queue.")) else "rcache")
        self.level = level
        self.template = template
        self.remedy = remedy

    def tell(self, *, exc_info: Any = None, **fields: str | float | None) -> None:
        """Logs it, as a call of whoever calls this. `exc_info` is as the standard library has it."""
        if self.logger.isEnabledFor(self.level):
            extra = {"rcache": {"event": self.event, **fields}}
            values = (fields,) if fields else ()
            self.logger.log(self.level, self.template, *values, exc_info=exc_info, extra=extra, stacklevel=2)


# Answers

NOT_CACHED: Final = Message(
    "route.not_cached",
    WARNING,
    "%(route)s is not cached (%(reason)s): %(remedy)s",
    "what it says; once for each route and reason, which also stands in Cache-Status of each answer",
)
KEY_RAISED: Final = Message(
    "key_by.raised",
    ERROR,
    "key_by of %(route)s raised; the request bypasses the cache",
    "correct the callable: its traceback is attached",
)
KEY_UNCLEAR: Final = Message(
    "key_by.unclear",
    ERROR,
    "key_by of %(route)s returned a %(type)s, not a string or None; the request bypasses the cache",
    "return a string, or None where the request is nobody's",
)
GUARD_UNCLEAR: Final = Message(
    "guard.unclear",
    ERROR,
    "guard of %(route)s returned a %(type)s, which does not tell two requests apart for certain: return a str, a number, a UUID "
    "or None; the request bypasses the cache",
    "return what identifies the user, not the user",
)
COVERED: Final = Message(
    "answer.covered",
    ERROR,
    "%(route)s failed, and a stale answer covered for it",
    "the application raised: its traceback is attached, and no client has seen it",
)
TOO_LATE: Final = Message(
    "answer.cancelled",
    WARNING,
    "%(route)s took longer than its hard timeout of %(seconds)g seconds and is cancelled",
    "find out what it waits for, or raise hard_timeout",
)
REFRESH_FAILED: Final = Message(
    "refresh.failed",
    ERROR,
    "a refresh failed; the stale answer stays",
    "the application raised in the background: its traceback is attached",
)
UNSAFE_NOT_PURGED: Final = Message(
    "request.not_purged",
    WARNING,
    "what %(method)s %(path)s changed: %(error)s",
    "nothing, if the store comes back: the purge is sent until it lands",
)
GROUPS_REFUSED: Final = Message(
    "groups.refused",
    WARNING,
    "%(method)s %(path)s purges no group: %(error)s",
    "correct the Cache-Group-Invalidation that the application sends",
)
STALE_SERVED: Final = Message(
    "audit.stale",
    WARNING,
    "%(finding)s",
    "what it says: nothing had purged what was served, though the application would have answered otherwise",
)
AUDIT_UNSTEADY: Final = Message(
    "audit.unsteady",
    WARNING,
    "%(route)s, asked twice, answers twice differently (%(places)s), so that audits of it tell nothing",
    "name what may differ in audit=Audit(ignore=[...]), or give compare=; once for each route",
)
AUDIT_WRITES: Final = Message(
    "audit.writes",
    WARNING,
    "%(route)s writes when it is asked by GET, and is audited no more",
    "write elsewhere, or give the rule audit=0",
)
AUDIT_FAILED: Final = Message(
    "audit.failed",
    DEBUG,
    "an audit failed",
    "nothing: its traceback and the URL are attached, and it is counted",
)
NOT_CLOSED: Final = Message(
    "cache.not_closed",
    ERROR,
    "the cache could not be closed in order",
    "report it, with the traceback that is attached",
)

# Purges

PURGE_PENDING: Final = Message(
    "purge.pending",
    WARNING,
    "the purge of %(tags)s has not landed yet: the store cannot be reached; it is sent until it lands",
    "nothing, if the store comes back; other nodes that can reach it may serve the old answers meanwhile",
)
PURGE_FAILED: Final = Message(
    "purge.failed",
    WARNING,
    "%(error)s",
    'the same, with on_outage="abort" after a write that could not be told otherwise',
)
PURGE_JOURNALLED: Final = Message(
    "purge.journalled",
    DEBUG,
    "the purge of %(tags)s goes to the journal: %(error)s",
    "nothing: it is sent until it lands",
)
PURGES_OVERFLOW: Final = Message(
    "purge.overflow",
    ERROR,
    "purges of more than %(bound)d tags wait for the store: nothing is served until everything has been purged",
    "bring the store back; raise max_pending where so much is written in a usual outage",
)
PURGES_LOST: Final = Message(
    "purge.lost",
    ERROR,
    "closed with %(count)d purges that never landed: %(tags)s",
    "purge these tags by hand: rcache purge",
)
PURGE_UNFORESEEN: Final = Message(
    "purge.unforeseen",
    ERROR,
    "a purge failed in a way nobody foresaw; it is sent again",
    "report it, with the traceback that is attached",
)
RECEIVER_RAISED: Final = Message(
    "signal.receiver_raised",
    ERROR,
    "a receiver of %(signal)s raised",
    "correct the receiver: its traceback is attached, and nobody else was kept from anything",
)
RECEIVER_ASYNCHRONOUS: Final = Message(
    "signal.receiver_asynchronous",
    ERROR,
    "%(receiver)s is asynchronous, and receivers of %(signal)s are called without an event loop",
    "connect a plain function",
)

# Writes

NOT_HELD: Final = Message(
    "hold.failed",
    WARNING,
    "%(tags)s cannot be held: until they are purged, others may serve what this write changes",
    'nothing, if the store comes back; on_outage="abort" refuses such writes',
)
HOLD_NOT_RENEWED: Final = Message(
    "hold.not_renewed",
    DEBUG,
    "a hold was not renewed, and is tried again: %(error)s",
    "nothing",
)
WHOLE_TABLE: Final = Message(
    "table.flushed",
    WARNING,
    "everything about %(table)r is flushed, not single rows (%(reason)s): %(statement)s",
    "nothing where that is rare; else write so that the rows are known, or name `__cache_values__`; once for each statement",
)
OUTBOX_NOT_FOLLOWED: Final = Message(
    "outbox.not_followed",
    WARNING,
    "the outbox is not followed; it is tried again in %(pause).1f s: %(error)s",
    "see that the database can be reached and holds the outbox: rcache pg install",
)
OUTBOX_NOT_HEARD: Final = Message(
    "outbox.not_heard",
    WARNING,
    "nobody can listen here, so the outbox is looked into now and then: %(error)s",
    "follow it by a connection of its own, not through a pooler, or give a short poll",
)

# Reads

BY_WORDS: Final = Message(
    "statement.by_words",
    WARNING,
    "what this statement reads is told by its words alone (%(error)s): %(statement)s",
    "report the statement; what it reads is flushed by whole tables meanwhile",
)
VIEWS_UNKNOWN: Final = Message(
    "views.unknown",
    WARNING,
    "what is read is not cached: the database does not tell its views",
    "let the application's user read the catalogue: the error is attached",
)
UNFAMILIAR: Final = Message(
    "sqlalchemy.unfamiliar",
    ERROR,
    "this SQLAlchemy is not as rcache knows it (%(error)s): what queries depend on is told by the tables that they name alone",
    "use a version of SQLAlchemy that this rcache names, or a newer rcache",
)

# Warming

RENDER_FAILED: Final = Message(
    "render.failed",
    WARNING,
    "%(url)s could not be rendered: %(error)s",
    "correct the application: a client would have got the same failure",
)
RENDER_UNFORESEEN: Final = Message(
    "render.unforeseen",
    ERROR,
    "a render has failed",
    "report it, with the traceback that is attached",
)
REWARM_FAILED: Final = Message(
    "rewarm.failed",
    ERROR,
    "what was purged could not be made again",
    "see the traceback that is attached; a request makes it",
)
SWEPT_UNTOLD: Final = Message(
    "rewarm.untold",
    ERROR,
    "what was purged could not be told",
    "see the traceback that is attached; a request makes it",
)
NOT_WARMED: Final = Message(
    "warm.failed",
    ERROR,
    "what was to be made is not",
    "see the traceback that is attached; a request makes it",
)
WARM_LATE: Final = Message(
    "warm.late",
    DEBUG,
    "%(what)s: %(error)s",
    "nothing: as store.down, and a request makes what is not made",
)
LIST_LEAVES_OUT: Final = Message(
    "warm.left_out",
    WARNING,
    "the warm list %(list)s leaves out: %(reason)s",
    "correct the list",
)
LIST_WARMED: Final = Message(
    "warm.done",
    INFO,
    "the warm list %(list)s: %(counts)s",
    "nothing: it says how many were made, and how many were there",
)

# The dashboard

DASHBOARD_CLOSED: Final = Message(
    "dashboard.closed",
    WARNING,
    "the dashboard is closed to everybody: dashboard(cache, access=...) says who may look",
    "what it says",
)
DASHBOARD_UNCLEAR: Final = Message(
    "dashboard.unclear",
    ERROR,
    "a check of the dashboard returned a %(type)s, not a bool: it stays closed",
    "return True or False, not the user",
)

# Nodes and their store

STORE_DOWN: Final = Message(
    "store.down",
    WARNING,
    "the cache is bypassed until Redis answers again: %(error)s",
    "bring Redis back; rcache doctor says what it misses",
)
STORE_UP: Final = Message(
    "store.up",
    WARNING,
    "Redis answers again, the cache is used again",
    "nothing: it ends what store.down began, and so has its level",
)
NEAR_PAUSED: Final = Message(
    "near.paused",
    WARNING,
    "nothing is kept near until the log can be followed: %(error)s",
    "as store.down; where Redis answers otherwise, see that its user may read the log",
)
NEAR_ANEW: Final = Message(
    "near.anew",
    INFO,
    "the near cache begins anew: %(error)s",
    "nothing where that is rare: a process that stood still, or a link that was slow",
)
NODE_SILENT: Final = Message(
    "node.silent",
    DEBUG,
    "a node left without a word: %(error)s",
    "nothing: it is struck out when somebody waits for it",
)
COUNTS_UNTOLD: Final = Message(
    "counts.untold",
    INFO,
    "what is counted here cannot be told to others: %(error)s",
    "as store.down; where Redis answers otherwise, see that its user may write the keys of nodes: rcache doctor",
)
LEASE_UNHEARD: Final = Message(
    "lease.unheard",
    DEBUG,
    "nothing is heard of the node that makes an answer: %(error)s",
    "nothing: this node makes one of its own",
)
SENTINELS_SILENT: Final = Message(
    "sentinel.silent",
    INFO,
    "the sentinels are of no help, Redis is used as it was: %(error)s",
    "bring the sentinels back before the primary fails",
)
PRIMARY_NAMED: Final = Message(
    "sentinel.primary",
    INFO,
    "the sentinels name %(host)s:%(port)d as the primary of %(service)s",
    "nothing: that is how a process begins, and how it follows a failover",
)

# Jobs: what follows is said by `rcache.jobs`

JOB_FAILED: Final = Message(
    "job.failed",
    ERROR,
    "job %(job)s has failed",
    "the job raised: its traceback is attached, and it is not run again",
)
JOB_FAILED_ONCE: Final = Message(
    "job.again",
    WARNING,
    "job %(job)s has failed (run %(run)d of %(runs)d), and is run again in %(pause).1f s",
    "nothing, if a later run succeeds; the traceback is attached",
)
JOB_TOO_LATE: Final = Message(
    "job.late",
    WARNING,
    "job %(job)s is dropped: it was to begin %(late).1f s ago, and is of no use after %(ttl)s s",
    "more workers, or a longer ttl",
)
JOB_LEFT: Final = Message(
    "job.left",
    WARNING,
    "job %(job)s is left for a process that knows it: %(error)s",
    "nothing while a new version is rolled out; else import the module that registers it in every worker",
)
JOB_UNKNOWN: Final = Message(
    "job.unknown",
    ERROR,
    "job %(job)s is dropped: %(error)s",
    "import the module that registers it in every worker",
)
JOB_END_UNTOLD: Final = Message(
    "job.end_untold",
    WARNING,
    "the end of a job could not be told, and it will run again: %(error)s",
    "nothing: jobs are written so that they may run twice",
)
JOB_END_LATE: Final = Message(
    "job.end_late",
    DEBUG,
    "the end of a job could not be told yet",
    "nothing: it is tried again",
)
JOB_UNFOLLOWED: Final = Message(
    "job.unfollowed",
    WARNING,
    "what follows job %(job)s was not added: %(error)s",
    "as store.down; run it by hand where it matters",
)
JOB_NOT_FIRED: Final = Message(
    "job.not_fired",
    ERROR,
    "%(job)s has not fired for the tick at %(tick).0f: the queue could not be reached",
    "as store.down; run it by hand where the tick matters",
)
QUEUE_STRANGE: Final = Message(
    "queue.strange",
    ERROR,
    "what lies in the queue is no job, and is dropped: %(error)s",
    "find out who else writes into this namespace",
)
QUEUE_LOST: Final = Message(
    "queue.lost",
    WARNING,
    "the %(lane)s lane cannot reach its queue, and tries again: %(error)s",
    "as store.down",
)
QUEUE_DISORDER: Final = Message(
    "queue.disorder",
    WARNING,
    "the %(lane)s lane has ended in disorder",
    "nothing: what was under way runs again elsewhere; the error is attached",
)
QUEUE_UNSERVED: Final = Message(
    "queue.unserved",
    ERROR,
    "jobs cannot be run, and are tried again",
    "see the error that is attached",
)
QUEUE_UNORDERLY: Final = Message(
    "queue.not_closed",
    ERROR,
    "jobs could not be run in order",
    "report it, with the traceback that is attached",
)
QUEUE_ABSENT: Final = Message(
    "queue.absent",
    INFO,
    "jobs of the cache's own do not run: %(error)s",
    "nothing where the application has no jobs; else install what it names",
)
QUEUE_NOT_ASKED: Final = Message(
    "queue.not_asked",
    DEBUG,
    "the queue cannot be asked yet: %(what)s",
    "nothing: it is tried again",
)

MESSAGES: Final = tuple(each for each in list(vars().values()) if isinstance(each, Message))
"""All of them, in this order."""
