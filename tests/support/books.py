"""Redis' books, read at one moment and by other means than the workers'."""

from __future__ import annotations

from dataclasses import dataclass

import redis

from otpreport.wire import queue_keys
from tests.support.admin import admin

# All in one script, so that nothing moves between two counts.
_READ = """
local prefix, reply = ARGV[1], {}
local function key(kind, account) return prefix .. 'otpreport:' .. kind .. ':' .. account end
local function number(value) return tonumber(value or 0) end
local held = {}
for _, name in ipairs(redis.call('KEYS', prefix .. 'otpreport:held:*')) do
  for _, tag in ipairs(redis.call('SMEMBERS', name)) do
    local account = string.match(tag, '^[^:]+')
    held[account] = (held[account] or 0) + 1
  end
end
for i = 2, #ARGV, 5 do
  local account, row = ARGV[i], {}
  row[1] = 0
  for step = i + 1, i + 4 do row[1] = row[1] + redis.call('LLEN', ARGV[step]) end
  for _, place in ipairs({ 'taken', 'delivered', 'duplicate', 'skipped', 'shed', 'purged', 'tracked' }) do
    row[#row + 1] = number(redis.call('HGET', prefix .. 'otpreport:books', account .. ':' .. place))
  end
  row[#row + 1] = redis.call('HLEN', key('dead', account))
  row[#row + 1] = redis.call('HLEN', key('taken', account))
  row[#row + 1] = held[account] or 0
  row[#row + 1] = redis.call('ZCARD', key('scheduled', account))
  row[#row + 1] = redis.call('ZCARD', key('suspects', account))
  reply[#reply + 1] = row
end
return reply
"""


@dataclass(frozen=True, slots=True)
class Books:
    """Where the events of one account are: `open` is the number of records of events that have not ended."""

    ready: int
    taken: int
    delivered: int
    duplicate: int
    skipped: int
    shed: int
    purged: int
    tracked: int
    dead: int
    open: int
    held: int
    scheduled: int
    suspects: int

    @property
    def ended(self) -> int:
        """How many events have ended."""
        done = self.delivered + self.duplicate + self.skipped + self.shed + self.tracked
        return done + self.purged + self.dead

    @property
    def settled(self) -> bool:
        """Whether nothing is on its way."""
        return not (self.ready or self.open)

    def faults(self) -> list[str]:
        """Return what does not add up: every event taken stands in one place."""
        indexed = self.held + self.scheduled + self.suspects
        unequal = {
            "taken is not what ended and what is open": (self.taken, self.ended + self.open),
            "open records and their places differ": (self.open, indexed),
        }
        return [f"{text}: {left} and {right}" for text, (left, right) in unequal.items() if left != right]


def read_books(client: redis.Redis, accounts: list[str], prefix: str = "") -> dict[str, Books]:
    """Return the books of these accounts, all of one moment."""
    arguments = [prefix]
    for account in accounts:
        arguments += [account, *queue_keys(prefix, account)]
    rows: list[list[int]] = admin(client).eval(_READ, 0, *arguments)
    return {account: Books(*row) for account, row in zip(accounts, rows, strict=True)}
