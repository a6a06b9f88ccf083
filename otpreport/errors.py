"""All errors of this project, by what is done next.

    OtpreportError
    ├── in the web app
    │   ├── Unavailable          otpreport/push.py        Redis did not take it: the event goes to the spool
    │   ├── NotOurs              otpreport/database.py    a file that must not be used: renamed, or events are dropped
    │   └── UnknownOptionError   otpreport/address.py     the Redis URL is wrong: the caller gets it at once
    ├── at the start
    │   ├── SettingsError        config/faults.py         one line for each fault, exit status 2
    │   ├── UnusableFileError    config/route.py          a file for TLS: one line; later the old one is kept
    │   └── Unfit                tasks/queue/fitness.py   this Redis can't hold the queue: one line, exit status 2
    ├── on an event's way
    │   ├── MalformedMessage     tasks/message.py         a dead letter, `invalid`
    │   ├── UnreportableError    providers/base.py        a dead letter, `permanent`: no request can name it
    │   ├── TooLate              tasks/report.py          its slot is over: it waits for another
    │   ├── NotSent              tasks/report.py          nothing left: it waits, no attempt is used
    │   └── InDoubt              tasks/report.py          the answer is missing: an attempt, in doubt
    ├── UnreadableError          worker/cli/event_file.py   a file of events can't be read further: one line
    └── CommandError             worker/cli/errors.py       a command ends: lines for the operator, exit status

An event or an argument that is wrong raises Python's own ValueError or TypeError. UnreportableError is a ValueError,
too: providers know nothing of ours but the event. Errors of redis-py, httpx and the
sockets are translated where they are met, with `raise ... from`.
"""


class OtpreportError(Exception):
    """The base class of all of them; never raised itself."""
