-- How fast a rate group may go: in front of the scripts that need it (tasks/script.py), and in Python as tasks/limiter/rate.py.
--
-- A group that its provider throttled climbs back as CUBIC does (RFC 9438): fast at first, slowly around the rate at
-- which it was throttled, and ever faster where that rate holds again.
local RATE_FIELDS = { 'rate', 'top', 'lowered_us', 'override', 'next_us', 'pause_us' }

-- Returns `us`, a moment to wait for, and 0 for one more than a minute ahead: nobody is asked to wait so long, so it was put
-- down before Redis' clock was set back.
local function moment(us, now)
  us = tonumber(us or 0)
  return us <= now + LONGEST_PAUSE_MS * 1000 + 1000000 and us or 0
end

-- Until when (us) the group sends nothing, as its provider asked.
local function pause_end(stored, now)
  return moment(stored[6], now)
end

-- Returns the rate at `now` (us).
local function effective_rate(configured, stored, now)
  local most = math.min(configured, tonumber(stored[4] or configured))
  local fell = tonumber(stored[3] or 0)
  -- Redis' clock was set back since: what happened in the future is long ago
  if not stored[1] or fell > now then return most end
  local rate, top = tonumber(stored[1]), tonumber(stored[2] or stored[1])
  local climb = CLIMB * most
  local flat = (math.max(0, top - rate) / climb) ^ (1 / 3)
  return math.min(most, top + climb * ((now - fell) / 1000000 - flat) ^ 3)
end
