"""The names of everything the workers keep in Redis."""

from dataclasses import dataclass

from otpreport.wire import queue_keys


@dataclass(frozen=True, slots=True)
class Keys:
    """Redis key names under one prefix; the Lua scripts build the same names from `prefix`."""

    prefix: str = ""

    @property
    def workers(self) -> str:
        """ZSET: worker id to the end of its lease, ms of Redis' clock."""
        return f"{self.prefix}otpreport:workers"

    @property
    def books(self) -> str:
        """HASH: `<account>:<taken, delivered, duplicate, ...>` to a count that never falls."""
        return f"{self.prefix}otpreport:books"

    @property
    def maintenance(self) -> str:
        """HASH: Redis' own heartbeat, its format and epoch, and what recovery has to remember."""
        return f"{self.prefix}otpreport:maintenance"

    @property
    def claims(self) -> str:
        """HASH: digest of (account, message id) to the tag of the taken event that owns it."""
        return f"{self.prefix}otpreport:claims"

    @property
    def dead_reasons(self) -> str:
        """HASH: `<account>:<reason>` to the number of dead letters kept."""
        return f"{self.prefix}otpreport:dead-reasons"

    @property
    def audit(self) -> str:
        """STREAM: every change by an operator, who made it and when."""
        return f"{self.prefix}otpreport:audit"

    @property
    def remembered(self) -> str:
        """ZSET: `<generation width (s)>:<since when (s)>` of the delivered sets to when one last asked for it."""
        return f"{self.prefix}otpreport:remembered"

    def done(self, generation: int, bucket: int) -> str:
        """SET of integers: the events of one bucket that were delivered in one generation."""
        return f"{self.prefix}otpreport:done:{generation}:{bucket}"

    def worker(self, worker: str) -> str:
        """HASH: what a worker says of itself, and when it last did; it expires."""
        return f"{self.prefix}otpreport:worker:{worker}"

    @property
    def deployments(self) -> str:
        """ZSET: digest of the accounts in workers' settings to the ms when a worker last announced it."""
        return f"{self.prefix}otpreport:deployments"

    def deployment(self, digest: str) -> str:
        """HASH: account to what the settings with that digest say of it; it expires."""
        return f"{self.prefix}otpreport:deployment:{digest}"

    @property
    def groups(self) -> str:
        """HASH: a rate group that follows from a key id to the one in force, and `@<account>` to the account's."""
        return f"{self.prefix}otpreport:groups"

    def held(self, worker: str) -> str:
        """SET: tags leased to a worker."""
        return f"{self.prefix}otpreport:held:{worker}"

    def settled(self, worker: str) -> str:
        """HASH: number and reply of the worker's last settle call."""
        return f"{self.prefix}otpreport:settled:{worker}"

    def ready(self, account: str) -> tuple[str, ...]:
        """LIST of waiting messages, one for each of kombu's priority steps."""
        return queue_keys(self.prefix, account)

    def taken(self, account: str) -> str:
        """HASH: tag to record, for every message that was leased once and has not ended."""
        return f"{self.prefix}otpreport:taken:{account}"

    def scheduled(self, account: str) -> str:
        """ZSET: tag to the ms when it is due; half a ms more where it waits for a time that was named, as an eta is.

        The tracker's own reports stand 2**43 ms later, behind all others.
        """
        return f"{self.prefix}otpreport:scheduled:{account}"

    def suspects(self, account: str) -> str:
        """ZSET: tags that two dead workers held, to be leased alone."""
        return f"{self.prefix}otpreport:suspects:{account}"

    def aged(self, account: str) -> str:
        """ZSET: tag to `occurred_at` in ms, for events that wait for another attempt."""
        return f"{self.prefix}otpreport:aged:{account}"

    def dead(self, account: str) -> str:
        """HASH: id to the dead letter."""
        return f"{self.prefix}otpreport:dead:{account}"

    def dead_index(self, account: str) -> str:
        """ZSET: id of a dead letter to the ms when it died."""
        return f"{self.prefix}otpreport:dead-index:{account}"

    def dead_keep(self, account: str) -> str:
        """HASH: how much the account's dead letters take, about, and how much they may; it expires."""
        return f"{self.prefix}otpreport:dead-keep:{account}"

    def replays(self, account: str) -> str:
        """ZSET: id of a dead letter that is to be sent again to the ms when it died."""
        return f"{self.prefix}otpreport:replays:{account}"

    def replay(self, account: str) -> str:
        """HASH: at which share of which rate the account's dead letters are sent again."""
        return f"{self.prefix}otpreport:replay:{account}"

    def account(self, account: str) -> str:
        """HASH: the account's state, shared by all workers."""
        return f"{self.prefix}otpreport:account:{account}"

    def last_error(self, account: str) -> str:
        """HASH: the last failed attempt: when, its class, code and message; it expires."""
        return f"{self.prefix}otpreport:last-error:{account}"

    def breaker(self, account: str) -> str:
        """HASH: how the account's last calls ended."""
        return f"{self.prefix}otpreport:breaker:{account}"

    def reached(self, account: str) -> str:
        """ZSET: worker to the ms of its last answer of the account's provider; it expires."""
        return f"{self.prefix}otpreport:reached:{account}"

    def unsent(self, account: str) -> str:
        """ZSET: worker whose probe of the account could not leave its machine to the ms when it failed; it expires."""
        return f"{self.prefix}otpreport:unsent:{account}"

    def permits(self, group: str) -> str:
        """HASH: worker to the requests it may have open in a rate group with MAX_IN_FLIGHT, and until when."""
        return f"{self.prefix}otpreport:permits:{group}"

    def rate(self, group: str) -> str:
        """HASH: the next free slot of a rate group, and what makes its effective rate."""
        return f"{self.prefix}otpreport:rate:{group}"

    def notices(self, account: str) -> str:
        """LIST: what apps told of the account's OTPs and is not noted yet, `sent ...` and `verified ...`."""
        return f"{self.prefix}otpreport.{account}.otps"

    def otps(self, account: str) -> str:
        """HASH: counts of the account's OTPs, `<country>:<sent, verified, yes, no>` and others.

        It is there once an OTP was noted: then the account is tracked. Its other counts: `le:<seconds>` and `latency`
        (ms) of the time from sent to verified, `unmatched`, `late`, `queued`, `withheld`, `unsaid`, `refused`. Its
        times in ms: `noted`, until when everything that was told is noted, `looked`, when a worker last looked,
        `watched`, from when on OTPs may close, `back`, when somebody looked again after a time in which nobody did.
        """
        return f"{self.prefix}otpreport:otps:{account}"

    def otps_of_hour(self, account: str, hour: int) -> str:
        """HASH: `<country>:<yes, no>`, the OTPs closed in one hour (since 1970); it expires after 50 hours."""
        return f"{self.prefix}otpreport:otps:{account}:{hour}"

    def open_otps(self, account: str) -> str:
        """ZSET: message id of an OTP whose time is not over, to when that ends and what is known of it (track.lua)."""
        return f"{self.prefix}otpreport:open:{account}"

    def closed_otps(self, generation: int, bucket: str) -> str:
        """SET of integers: the OTPs of one bucket that were closed in one generation, of all accounts."""
        return f"{self.prefix}otpreport:closed:{generation}:{bucket}"

    def refused_otps(self, account: str) -> str:
        """ZSET: id of a dead letter of the tracker's own reports to when it died (ms); only so many are kept."""
        return f"{self.prefix}otpreport:refused-index:{account}"

    def early_otps(self, account: str) -> str:
        """ZSET: message id of an OTP verified before anybody said that it was sent, to when that is given up (s)."""
        return f"{self.prefix}otpreport:early:{account}"
