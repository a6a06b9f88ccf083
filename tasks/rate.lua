-- How fast a rate group may go: in front of the scripts that need it (tasks/script.py), and in Python as tasks/rate.py.
--
-- A group that its provider throttled climbs back as CUBIC does (RFC 9438): fast at first, slowly around the rate at
-- which it was throttled, and ever faster where that rate holds again.
local RATE_FIELDS = { 'rate', 'top', 'lowered_us', 'override', 'next_us', 'pause_us' }

-- Until when (us) the group sends nothing, as its provider asked. Nobody is asked for more than a minute: a pause that ends
-- later was put down before Redis' clock was set back.
local function pause_end(stored, now)
  local pause = tonumber(stored[6] or 0)
  return pause <= now + 61000000 and pause or 0
end

-- Returns the rate at `now` (us), and the most that it may climb to: the configured rate, or a lower one set by hand.
local function effective_rate(configured, stored, now)
  local most = math.min(configured, tonumber(stored[4] or configured))
  local fell = tonumber(stored[3] or 0)
  -- Redis' clock was set back since: what happened in the future is long ago
  if not stored[1] or fell > now then return most, most end
  local rate, top = tonumber(stored[1]), tonumber(stored[2] or stored[1])
  local climb = 0.00006 * most
  local flat = (math.max(0, top - rate) / climb) ^ (1 / 3)
  return math.min(most, top + climb * ((now - fell) / 1000000 - flat) ^ 3), most
end
