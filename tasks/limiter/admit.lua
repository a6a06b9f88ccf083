#!lua flags=allow-oom
-- Admit leased events: each is told to go, and at what time, or why it may not go now.
--
-- KEYS  1 held:<worker>  2 claims
-- ARGV  1 key prefix  2 horizon (us): how far ahead a slot may lie  3 lead (us): how far ahead it has to lie
--       4 generation width of the delivered sets (s)
--       5 number of rate groups, then three for each: name, configured rate (1/s), headroom (s)
--       then the number of those with a limit of requests in flight; where there are: worker, number of this call, how long (us)
--       a request can be open at most, then four for each: group (from 1), limit, how many the worker has open, how many wait
--       then the number of kinds of events, then three for each: group (from 1), account, "1" where they say true, "0" where
--       they say false, "p" where they are probes that say true, "q" where false
--       then four for each event: kind (from 1), tag, claim, member if true was delivered; where it says false that, a space,
--       and the member if false was
-- reply { now (us), one number an event, keys that can't be used }: >= 0 its slot, us from now; LEASE_LOST; DUPLICATE:
--       already delivered; NOT_RUNNING: its account is not; COPY_IN_FLIGHT; KEY_UNUSABLE;
--       <= NO_SLOT none yet: ask again in (NO_SLOT - n) ms
-- cost  O(events); with limits of requests in flight O(workers) for each
--
-- Slots of a group are 1/pace apart by Redis' clock, with pace = rate / (1 + headroom): as many slots as the rate
-- allows in a second span 1 + headroom seconds, so arrivals may be late by that much and still keep the limit.
local prefix, horizon, lead = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local _, width = widths_in_use(prefix, tonumber(ARGV[4]), seconds)
local is_remembered = recollection(prefix, width, seconds)
local groups, states = {}, {}
local reply = { string.format('%.0f', now) }

local function open(key, configured, headroom)
  local stored = redis.call('HMGET', key, unpack(RATE_FIELDS))
  local rate = effective_rate(configured, stored, now)
  if not (rate > 0 and rate <= configured) then error('no rate') end -- nor is one that is no number
  local interval = 1000000 * (1 + headroom) / rate
  local next_slot = tonumber(stored[5])
  -- lost, or ahead of what could ever have been granted: the last slot handed out lies within the horizon
  local anew = not (next_slot and next_slot <= now + 2 * horizon + interval)
  if anew then next_slot = now + horizon + interval end
  local first = math.max(next_slot, now + lead, pause_end(stored, now))
  return { key = key, next = first, interval = interval, changed = anew }
end

local NOT_NOW = NO_SLOT - 1000

local function account_state(account)
  if states[account] == nil then
    local name = prefix .. 'otpreport:account:' .. account
    local state = redis.pcall('HGET', name, 'state')
    states[account] = failed(name, state) and 'unreadable' or state or 'running'
  end
  return states[account]
end

local owners, claims = {}, {} -- of claims, as far as they are read; those to write

-- Returns whether the owner of a message id is a report that the tracker made (track.lua) and waits for another try: nobody
-- who says that the OTP was verified waits for that.
local function gives_way(account, owner)
  if not string.find(owner, ':n%d+$') then return false end
  return type(redis.pcall('ZSCORE', prefix .. 'otpreport:scheduled:' .. account, owner)) == 'string'
end

-- Returns why it is not this one that is sent, of all events with its message id; nil when it is.
local function claimed_by_another(account, claim, tag)
  local owner = owners[claim]
  if owner == tag then return end
  if failed(KEYS[2], owner) then return NOT_NOW end
  if owner then
    local taken = prefix .. 'otpreport:taken:' .. account
    local known = redis.pcall('HEXISTS', taken, owner)
    if failed(taken, known) then return KEY_UNUSABLE end
    if known == 1 and not gives_way(account, owner) then return COPY_IN_FLIGHT end
  end
  owners[claim] = tag
  claims[#claims + 1] = claim
  claims[#claims + 1] = tag
end

local function admit(held, kind, tag, claim, member)
  if held == 0 then return LEASE_LOST end
  local group, account = kind.group, kind.account
  if not group or failed(KEYS[1], held) then return NOT_NOW end
  local state = account_state(account)
  if state == 'unreadable' then return KEY_UNUSABLE end
  if state ~= 'running' and not (kind.probe and PROBED[state]) then return NOT_RUNNING end
  if group.next > now + horizon then
    return NO_SLOT - math.min(LONGEST_PAUSE_MS, math.ceil((group.next - now - horizon) / 1000))
  end
  if group.permits and group.granted >= group.permits then return NO_PERMIT end
  local also
  if kind.says_false then member, also = string.match(member, '^(%S+) (%S+)$') end
  local known = is_remembered(string.match(claim, '^%d+'), member, also)
  if known == nil then return KEY_UNUSABLE end
  local refused = known and DUPLICATE or claimed_by_another(account, claim, tag)
  if refused then return refused end
  local slot = group.next
  group.next, group.changed = slot + group.interval, true
  if group.permits then group.granted = group.granted + 1 end
  return math.floor(slot - now)
end

local at = 6
for i = 1, tonumber(ARGV[5]) do
  local rate = prefix .. 'otpreport:rate:' .. ARGV[at]
  local read, group = pcall(open, rate, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
  if read then
    groups[i] = group
  elseif sound(rate, 'hash') then
    note(rate, 'ERR it can not be read')
  end
  at = at + 3
end
local limited = tonumber(ARGV[at])
if limited > 0 then
  local worker, call, hold = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  for i = at + 4, at + 4 * limited, 4 do
    local number = tonumber(ARGV[i])
    local key, group = prefix .. 'otpreport:permits:' .. ARGV[3 + 3 * number], groups[number]
    local most, open, wanted = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
    local permits, write = permits_of(key, worker, call, hold, most, open, wanted, now)
    if not permits then
      groups[number] = nil
    elseif group then
      group.permits, group.granted, group.write = permits, 0, write
    end
  end
  at = at + 3 + 4 * limited
end
at = at + 1
local kinds = {}
for i = 1, tonumber(ARGV[at]) do
  local word = ARGV[at + 3]
  kinds[i] = {
    group = groups[tonumber(ARGV[at + 1])], account = ARGV[at + 2],
    probe = word == 'p' or word == 'q', says_false = word == '0' or word == 'q',
  }
  at = at + 3
end

local tags, fields = {}, {}
for i = at + 1, #ARGV, 4 do
  tags[#tags + 1] = ARGV[i + 1]
  fields[#fields + 1] = ARGV[i + 2]
end
local held, known = many('SMISMEMBER', KEYS[1], tags), many('HMGET', KEYS[2], fields)
for n, claim in ipairs(fields) do owners[claim] = known.err and known or known[n] end
for n, tag in ipairs(tags) do
  local i = at + 4 * n - 3
  reply[n + 1] = admit(held.err and held or held[n], kinds[tonumber(ARGV[i])], tag, fields[n], ARGV[i + 3])
end
if #claims > 0 then need(KEYS[2], many('HSET', KEYS[2], claims)) end
for _, group in pairs(groups) do
  if group.changed then redis.call('HSET', group.key, 'next_us', string.format('%.0f', math.ceil(group.next))) end
  if group.write then group.write(group.granted) end
end
for _, fault in ipairs(faults) do reply[#reply + 1] = fault end
return reply
