#!lua flags=no-writes
-- Read what people look at besides the counts: the workers, and of each account what failed last and what died of late.
--
-- No KEYS, as in snapshot.lua.
-- ARGV  1 key prefix  2 how many workers at most  then the accounts
-- reply { { worker, end of its lease (ms), events it holds, seen (ms) or '', its note (JSON) or '' } ... },
--       { { dead in the last minute, in the last hour, probe due (ms) or '',
--           { at (ms), class, code, message of the last error, '' for what is not set } } for each account },
--       { format, epoch, count, lost (ms), left (ms), by hand }, as epoch.lua keeps them
--       { { account, what the settings say of it, ... } of each deployment }, where living workers have more than one,
--       keys that can't be used
-- cost  O(workers + accounts), and the accounts of ten deployments where there are several
local longest = 4096  -- of a text: nobody reads more, and Redis lets it be as long as you like
local most = tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function fields(name, ...)
  local values, words = got(name, redis.pcall('HMGET', name, ...), {}), {}
  for i = 1, select('#', ...) do words[i] = string.sub(values[i] or '', 1, longest) end
  return words
end

local workers = {}
local present = prefix .. 'otpreport:workers'
local alive = got(present, redis.pcall('ZRANGE', present, 0, most - 1, 'REV', 'WITHSCORES'), {})
for i = 1, #alive, 2 do
  local said = fields(key('worker', alive[i]), 'seen_ms', 'note')
  local held = key('held', alive[i])
  local holds = got(held, redis.pcall('SCARD', held), 0)
  workers[#workers + 1] = { string.sub(alive[i], 1, 128), alive[i + 1], holds, said[1], said[2] }
end

local accounts = {}
for i = 3, #ARGV do
  local index = key('dead-index', ARGV[i])
  accounts[#accounts + 1] = {
    got(index, redis.pcall('ZCOUNT', index, string.format('%.0f', now - 60000), '+inf'), 0),
    got(index, redis.pcall('ZCOUNT', index, string.format('%.0f', now - 3600000), '+inf'), 0),
    fields(key('account', ARGV[i]), 'probe_at_ms')[1],
    fields(key('last-error', ARGV[i]), 'at_ms', 'class', 'code', 'message'),
  }
end
local deployments = {}
local living = prefix .. 'otpreport:deployments'
local digests = got(living, redis.pcall('ZRANGEBYSCORE', living, now - ALIVE_MS, now + ALIVE_MS, 'LIMIT', 0, MOST_DEPLOYMENTS), {})
for _, digest in ipairs(#digests > 1 and digests or {}) do
  local name = key('deployment', digest)
  deployments[#deployments + 1] = got(name, redis.pcall('HGETALL', name), {})
end
local memory = fields(prefix .. 'otpreport:maintenance', 'format', 'epoch', 'count', 'lost_at_ms', 'lost_left_ms', 'lost_by_hand')
return { workers, accounts, memory, deployments, faults }
