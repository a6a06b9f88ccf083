-- The breaker of each account, fed by settle.lua with every request that ended; one for all workers.
--
-- KEYS elsewhere: account:<account>, and breaker:<account>, a HASH of ten counters of a second each ("second calls
-- failed") and of the run of failures that goes on (`run`, `run_fresh`, `run_ms`: how many, of how many events, since when).
local WINDOW = 10

-- reached:<account>, a ZSET of workers to the ms of their last answer that no call followed which never left.
-- For so long (ms) an answer proves that the provider can be reached.
local REACHED = 60000

-- Note how a worker's calls went. Returns how long ago (ms) another worker had an answer; nil when none had, or when nobody
-- needs to know, for all of its own left.
local function elsewhere(reached, unsent_probes, worker, now, unsent, answered)
  if answered > 0 then
    local new = redis.pcall('ZADD', reached, now, worker)
    if failed(reached, new) then return end
    if new == 1 then
      for _, silent in ipairs(redis.call('ZRANGEBYSCORE', reached, '-inf', now - REACHED)) do redis.call('ZREM', reached, silent) end
      redis.call('EXPIRE', reached, 3600)
      failed(unsent_probes, redis.pcall('ZREM', unsent_probes, worker))
    end
  elseif unsent > 0 and failed(reached, redis.pcall('ZREM', reached, worker)) then
    return
  end
  if unsent == 0 then return end
  local latest = redis.call('ZRANGE', reached, 0, 1, 'REV', 'WITHSCORES')
  local at = latest[1] == worker and latest[4] or latest[1] ~= worker and latest[2]
  local ago = at and now - tonumber(at)
  return ago and ago >= 0 and ago < REACHED and ago or nil
end

local function window_sums(window, second)
  local calls, failed = 0, 0
  local slots = {}
  for i = 0, WINDOW - 1 do slots[#slots + 1] = i end
  for _, value in ipairs(redis.call('HMGET', window, unpack(slots))) do
    local at, some, bad = string.match(value or '', '^(%d+) (%d+) (%d+)$')
    if at and second - tonumber(at) < WINDOW then
      calls, failed = calls + some, failed + bad
    end
  end
  return calls, failed
end

-- Returns whether a run of failures goes on.
local function count(window, second, calls, failed)
  local slot = second % WINDOW
  local stored = redis.call('HMGET', window, slot, 'run')
  local at, some, bad = string.match(stored[1] or '', '^(%d+) (%d+) (%d+)$')
  local is_new = tonumber(at) ~= second
  if not is_new then calls, failed = calls + some, failed + bad end
  redis.call('HSET', window, slot, string.format('%d %d %d', second, calls, failed))
  if is_new then redis.call('EXPIRE', window, 3600) end
  return stored[2]
end

-- Returns how many calls failed one after another, how many events were tried for the first time, and for how long (ms).
local function failure_run(window, now, calls, failed, fresh, goes_on)
  if failed < calls then
    if goes_on then redis.call('HDEL', window, 'run', 'run_fresh', 'run_ms') end
    return 0, 0, 0
  end
  local run = redis.call('HINCRBY', window, 'run', calls)
  if run == calls then redis.call('HSET', window, 'run_ms', now) end
  local events = redis.call('HINCRBY', window, 'run_fresh', fresh)
  return run, events, now - tonumber(redis.call('HGET', window, 'run_ms') or now)
end

-- Note calls of one account that ended, `failed` of them badly, `fresh` of those of an event that had not failed before;
-- `began` and `ended`: how long ago, at most (ms); `code` is the last failure's.
-- `limits`: share and least number of failed calls, how long a shorter run must last (ms), probe interval (ms).
local function feed_breaker(account, window, now, calls, failed, fresh, began, ended, code, limits)
  if limits.least == 0 then return end
  local state = redis.call('HMGET', account, 'state', 'resumed_ms')
  if (state[1] or 'running') ~= 'running' then return end
  local resumed = tonumber(state[2] or 0)
  if now - began < resumed and resumed <= now then return end -- it tells of the outage before the account ran again
  if ended >= WINDOW * 1000 then return end -- Redis was away meanwhile
  local second = math.floor(now / 1000)
  local goes_on = count(window, math.floor((now - ended) / 1000), calls, failed)
  local run, events, lasted = failure_run(window, now, calls, failed, fresh, goes_on)
  if failed == 0 then return end
  local all, bad = window_sums(window, second)
  local mostly = all >= limits.least and bad >= all * limits.share
  local only = run >= limits.run and events >= 2 and lasted >= limits.run_ms
  if not mostly and not only then return end
  local why = only and run .. ' calls in a row failed' or bad .. ' of the last ' .. all .. ' calls failed or were slow'
  redis.call('HDEL', account, 'resumed_ms', 'ramp_rate', 'ramp_next_ms')
  redis.call('DEL', window)
  redis.call('HSET', account, 'state', 'open', 'since_ms', now, 'code', code, 'message', why,
    'probe_at_ms', now + limits.probe_ms)
end
