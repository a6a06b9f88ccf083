#!lua flags=allow-oom
-- Lease events to one worker and renew its lease; with no account named, only renew.
--
-- KEYS  1 workers  2 held:<worker>  3 books
-- ARGV  1 key prefix  2 worker  3 lease (ms)  4 number of the first new tag
--       5 "1": the worker holds nothing, give it one suspect and nothing else
--       6 probe interval (ms)  then for each account: name, how many at most
-- reply { now (us), tags the worker holds, suspects that may be leased, account, tag, record, probe ("1" or "0"), ... }
-- cost  O(events leased + accounts); every write may run in a full Redis: it only moves what is there
local prefix, worker, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local number, solo, probe_interval = tonumber(ARGV[4]), ARGV[5] == '1', tonumber(ARGV[6])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(now_us / 1000)
local reply = { string.format('%.0f', now_us), 0, 0 }
local suspects_waiting = 0

local function key(kind, account)
  return prefix .. 'otpreport:' .. kind .. ':' .. account
end

local function give(account, tag, record, probe)
  redis.call('SADD', KEYS[2], tag)
  reply[#reply + 1] = account
  reply[#reply + 1] = tag
  reply[#reply + 1] = record
  reply[#reply + 1] = probe
end

local function is_suspect(record)
  return tonumber(string.match(record, '^%d+') or 0) >= 2
end

-- A suspect is given from `suspects` alone: one that was handed back unread waits there, too.
local function from_index(account, kind, want, probe)
  local index, given = key(kind, account), 0
  for _, tag in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, want)) do
    redis.call('ZREM', index, tag)
    local record = redis.call('HGET', key('taken', account), tag)
    if record and kind == 'scheduled' and is_suspect(record) then
      redis.call('ZADD', key('suspects', account), now, tag)
    elseif record then
      give(account, tag, record, probe)
      given = given + 1
    end
  end
  return given
end

local function from_ready(account, want, probe)
  local taken = 0
  for _, step in ipairs({ '', '\6\0223', '\6\0226', '\6\0229' }) do
    if taken == want then break end
    local messages = redis.call('RPOP', prefix .. 'otpreport.' .. account .. step, want - taken)
    for _, raw in ipairs(messages or {}) do
      local tag = account .. ':' .. worker .. ':' .. string.format('%.0f', number)
      local record = '0 0 ' .. string.format('%.0f', now) .. '\n\n' .. raw
      number = number + 1
      redis.call('HSET', key('taken', account), tag, record)
      give(account, tag, record, probe)
      taken = taken + 1
    end
  end
  if taken > 0 then redis.call('HINCRBY', KEYS[3], account .. ':taken', taken) end
  return taken
end

-- 'running' lets everything through, 'stopped' one probe at a time, any other state nothing
local function admitted(account, want)
  local state = redis.call('HMGET', key('account', account), 'state', 'probe_at_ms')
  if not state[1] or state[1] == 'running' then return want, '0' end
  if state[1] ~= 'stopped' or now < tonumber(state[2] or 0) then return 0, '0' end
  return 1, '1'
end

local function serve(account, want)
  local allowed, probe = admitted(account, want)
  local got = 0
  if probe == '1' then
    -- the event that stopped the account waits in `scheduled`: another one goes first
    got = from_ready(account, 1, probe)
    if got == 0 then got = from_index(account, 'scheduled', 1, probe) end
  elseif allowed > 0 then
    got = from_index(account, 'scheduled', math.ceil(allowed / 2), probe)
    if got < allowed then got = got + from_ready(account, allowed - got, probe) end
    if got < allowed then got = got + from_index(account, 'scheduled', allowed - got, probe) end
  end
  return got, probe
end

local function serve_suspect(account)
  local allowed, probe = admitted(account, 1)
  return allowed > 0 and from_index(account, 'suspects', 1, probe) or 0, probe
end

redis.call('ZADD', KEYS[1], now + lease, worker)
for i = 7, #ARGV, 2 do
  local account, want = ARGV[i], tonumber(ARGV[i + 1])
  local got, probe = 0, '0'
  if solo and #reply == 3 then
    got, probe = serve_suspect(account)
  elseif not solo and want > 0 then
    got, probe = serve(account, want)
  end
  if probe == '1' and got > 0 then
    redis.call('HSET', key('account', account), 'probe_at_ms', now + probe_interval)
  end
  -- those of a held account can't be leased: nobody needs to make room for them
  local waiting = redis.call('ZCARD', key('suspects', account))
  if waiting > 0 and admitted(account, 1) > 0 then suspects_waiting = suspects_waiting + waiting end
end
reply[2] = redis.call('SCARD', KEYS[2])
reply[3] = suspects_waiting
return reply
