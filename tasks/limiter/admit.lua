#!lua flags=allow-oom
-- Admit leased events: each is told to go, and at what time, or why it may not go now.
--
-- KEYS  1 held:<worker>  2 claims
-- ARGV  1 key prefix  2 horizon (us): how far ahead a slot may lie  3 lead (us): how far ahead it has to lie
--       4 generation width of the delivered sets (s)
--       5 number of rate groups, then three for each: name, configured rate (1/s), headroom (s)
--       then seven for each event: group (from 1), account, tag, claim, member if true was delivered,
--       member if false was, "1" when the event says true, or "p" when it is a probe that says true, "q" one that says false
-- reply { now (us), one number an event, keys that can't be used }: >= 0 its slot, us from now; -1 the lease is lost;
--       -2 already delivered; -3 the account is held; -4 a copy of it is on its way; -5 a key can't be used;
--       <= -1000 no slot yet: ask again in (-1000 - n) ms
-- cost  O(events)
--
-- Slots of a group are 1/pace apart by Redis' clock, with pace = rate / (1 + headroom): as many slots as the rate
-- allows in a second span 1 + headroom seconds, so arrivals may be late by that much and still keep the limit.
local prefix, horizon, lead = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local _, width = widths_in_use(prefix, tonumber(ARGV[4]), seconds)
local groups, states = {}, {}
local reply = { string.format('%.0f', now) }

local function open(key, configured, headroom)
  local stored = redis.call('HMGET', key, unpack(RATE_FIELDS))
  local interval = 1000000 * (1 + headroom) / effective_rate(configured, stored, now)
  local next_slot = tonumber(stored[5])
  -- lost, or ahead of what could ever have been granted: the last slot handed out lies within the horizon
  local anew = not next_slot or next_slot > now + 2 * horizon + interval
  if anew then next_slot = now + horizon + interval end
  local first = math.max(next_slot, now + lead, pause_end(stored, now))
  return { key = key, next = first, interval = interval, changed = anew }
end

local UNREADABLE, NOT_NOW = -5, -2000

local function account_state(account)
  if states[account] == nil then
    local name = prefix .. 'otpreport:account:' .. account
    local state = redis.pcall('HGET', name, 'state')
    states[account] = failed(name, state) and 'unreadable' or state or 'running'
  end
  return states[account]
end

-- Returns why it is not this one that is sent, of all events with its message id; nil when it is.
local function claimed_by_another(account, claim, tag)
  local owner = redis.pcall('HGET', KEYS[2], claim)
  if owner == tag then return end
  if failed(KEYS[2], owner) then return NOT_NOW end
  if owner then
    local taken = prefix .. 'otpreport:taken:' .. account
    local known = redis.pcall('HEXISTS', taken, owner)
    if failed(taken, known) then return UNREADABLE end
    if known == 1 then return -4 end
  end
  redis.call('HSET', KEYS[2], claim, tag)
end

local function admit(group, account, tag, claim, yes, no, kind)
  local held = redis.pcall('SISMEMBER', KEYS[1], tag)
  if held == 0 then return -1 end
  if not group or failed(KEYS[1], held) then return NOT_NOW end
  local probe, says_true = kind == 'p' or kind == 'q', kind == '1' or kind == 'p'
  local state = account_state(account)
  if state == 'unreadable' then return UNREADABLE end
  if state ~= 'running' and not (probe and (state == 'stopped' or state == 'open')) then return -3 end
  if group.next > now + horizon then return -1000 - math.ceil((group.next - now - horizon) / 1000) end
  local known = is_remembered(prefix, width, string.match(claim, '^%d+'), yes, no, says_true, seconds)
  if known == nil then return UNREADABLE end
  local refused = known and -2 or claimed_by_another(account, claim, tag)
  if refused then return refused end
  local slot = group.next
  group.next, group.changed = slot + group.interval, true
  return math.floor(slot - now)
end

local count = tonumber(ARGV[5])
for i = 1, count do
  local at = 3 + 3 * i
  local rate = prefix .. 'otpreport:rate:' .. ARGV[at]
  local read, group = pcall(open, rate, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
  if read then
    groups[i] = group
  elseif sound(rate, 'hash') then
    note(rate, 'ERR it can not be read')
  end
end
for i = 6 + 3 * count, #ARGV, 7 do
  reply[#reply + 1] = admit(groups[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5], ARGV[i + 6])
end
for _, group in pairs(groups) do
  if group.changed then redis.call('HSET', group.key, 'next_us', string.format('%.0f', math.ceil(group.next))) end
end
for _, fault in ipairs(faults) do reply[#reply + 1] = fault end
return reply
