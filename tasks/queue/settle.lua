#!lua flags=allow-oom
-- Settle leased events: each leaves `held` and enters exactly one other place, in one atomic step.
--
-- KEYS  1 held:<worker>  2 settled:<worker>  3 books  4 claims  5 dead-reasons
-- ARGV  1 key prefix  2 number of this call  3 generation width of the delivered sets (s)
--       4 share of failed calls that opens a breaker  5 least calls for it  6 a run of failures that opens it
--       7 how long the run must last (ms)  8 probe interval of an open breaker (ms)
--       9 how many events refused in a row stop their account, 0: never
--       10 how many groups of calls ended, then for each: account, calls, failed, failed of events that had not failed
--       before, how many never left, how many were answered, how long ago they began and ended (ms), code of the last failure
--       then how many verified OTPs are told of, and for each: number of its event, its notice, which is kept once the event
--       is settled, if its account is tracked
--       then how many kinds of ends there are, and for each: verb, account, word, mark
--       then for each event: kind (from 1), tag, and by verb
--         finish    claim, member of the delivered set ('' = not delivered); its word is the outcome
--         schedule  delay (ms), record ('' = unchanged), occurred_at (ms); its mark '1' if it was a probe that was never tried,
--                   '2' if it was one that could not leave
--         eta       as schedule, for a time that somebody named and that may lie anywhere: its score ends in .5
--         track     claim, notice of an OTP that was sent
--         bury      claim, dead letter; its word is the reason, its mark '1' if an operator had sent it again, 'p' if it was a probe
-- reply { a string with one character an event: '1' settled, '0' the lease was lost (nothing was moved), '2' it is leased
--         still, for a key can't be used (nothing was moved: settle it again later); then one a group of calls: '1' none of them left, while
--         another worker has answers; keys that can't be used, ... }
-- cost  O(events); the same call sent twice answers twice and acts once, also when it arrives late, after others
local call = ARGV[2]
local worker = string.match(KEYS[1], '[^:]*$')
local last = need(KEYS[2], redis.pcall('HMGET', KEYS[2], 'call', 'reply'))
if last[1] == call then return { last[2] } end
if tonumber(last[1] or 0) > tonumber(call) then return { '' } end -- it was sent again long ago; nobody reads this
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local seconds = tonumber(time[1]) + tonumber(time[2]) / 1000000
local remember = memory(prefix, widths_in_use(prefix, tonumber(ARGV[3]), seconds), seconds)

-- Returns whether the events are forgotten: they have to be counted elsewhere, then.
local function forget(account, tags, claims)
  local aged, taken = key('aged', account), key('taken', account)
  if failed(aged, many('ZREM', aged, tags)) or failed(taken, many('HDEL', taken, tags)) then return false end
  local owners, own = many('HMGET', KEYS[4], claims), {}
  if failed(KEYS[4], owners) then return true end
  for n, owner in ipairs(owners) do
    if owner == tags[n] then own[#own + 1] = claims[n] end
  end
  if own[1] then many('HDEL', KEYS[4], own) end
  return true
end

local ended, again = {}, {} -- accounts whose run of refusals ended in this call; which may be probed at once

local MOST_REFUSED, CLEAR = tonumber(ARGV[9]), 60000

-- Events that were refused for good without one success between them may speak against the account, not the events.
local function suspect_account(account, letter, is_probe)
  -- Returns the code and message of the attempt that a dead letter ended with.
  local function last_word(letter)
    local read, story = pcall(cjson.decode, string.match(letter, '^[^\n]*'))
    if not read or type(story) ~= 'table' then return 'unknown' end
    local said = type(story.message) == 'string' and story.message or ''
    return tostring(story.code) .. (said ~= '' and ': ' .. said or '')
  end

  -- Whether a run of refusals is no reason to stop: the operator said so, or a search of the last minute (lease.lua) found that
  -- the provider takes some.
  local function may_go_on(cleared, keep_going)
    cleared = tonumber(cleared) or 0
    return MOST_REFUSED == 0 or keep_going or (now < cleared + CLEAR and cleared <= now)
  end

  local hash = key('account', account)
  local run = redis.pcall('HINCRBY', hash, 'permanent_run', 1)
  ended[account] = nil
  if failed(hash, run) or run < MOST_REFUSED then return end
  local state, code, cleared, keep_going = unpack(redis.call('HMGET', hash, 'state', 'code', 'cleared_ms', 'keep_going'))
  local is_searched = state == 'stopped' and code == REFUSED_RUN_CODE
  if (state or 'running') == 'running' and not may_go_on(cleared, keep_going) then
    redis.call('HSET', hash, 'state', 'stopped', 'code', REFUSED_RUN_CODE, 'since_ms', now, 'probe_at_ms', now + 1000,
      'search_refused', 0)
    again[account] = nil
  elseif not is_searched then
    return
  elseif is_probe then
    redis.call('HINCRBY', hash, 'search_refused', 1)
  end
  redis.call('HSET', hash, 'message', run .. ' events in a row were refused, the last: ' .. last_word(letter))
end

-- An event that ended without a word of the provider was no probe: a stopped account may have the next one at once.
local function probe_again(account)
  if again[account] then return end
  again[account] = true
  local name = key('account', account)
  local state = redis.pcall('HGET', name, 'state')
  if not failed(name, state) and PROBED[state or ''] then
    redis.call('HSET', name, 'probe_at_ms', now)
  end
end

-- A probe that could not leave says nothing of the provider: a worker whose own did not fail so may try soon.
local function probe_elsewhere(account)
  local name, unsent, fleet = key('account', account), key('unsent', account), prefix .. 'otpreport:workers'
  if not (sound(name, 'hash') and sound(unsent, 'zset') and sound(fleet, 'zset')) then return end
  local state = redis.call('HMGET', name, 'state', 'probe_at_ms')
  if not PROBED[state[1] or ''] then return end
  local workers, soon = redis.call('ZCARD', fleet), now + 1000
  if redis.call('ZCARD', unsent) > 2 * workers then redis.call('DEL', unsent) end -- most of them are no more
  redis.call('ZADD', unsent, now, worker)
  redis.call('EXPIRE', unsent, 600)
  if redis.call('ZCARD', unsent) < workers and tonumber(state[2] or 0) > soon then
    redis.call('HSET', name, 'probe_at_ms', soon)
  end
end

local verbs, moves, unasked = {}, {}, { expired = true, invalid = true, poison = true }

-- Count what became of events; returns whether that could be done.
local function count(book, account, word, by)
  local field = account .. ':' .. word
  local counted = redis.pcall('HINCRBY', book, field, by)
  return type(counted) ~= 'table' or not failed(book .. ' ' .. field, counted)
end

-- Each returns whether it was done; if not, nothing was moved. Those that have moves are gathered, and moved together.
function verbs.finish(kind, tag, claim)
  kind.tags[#kind.tags + 1], kind.claims[#kind.claims + 1] = tag, claim
  local account = kind.account
  if kind.word ~= 'delivered' then
    probe_again(account)
  elseif not ended[account] and not is_automatic(tag) then
    local state = key('account', account)
    ended[account] = not failed(state, redis.pcall('HDEL', state, 'permanent_run'))
  end
  return true
end

function moves.finish(kind)
  if not count(KEYS[3], kind.account, kind.word, #kind.tags) then return false end
  if forget(kind.account, kind.tags, kind.claims) then return true end
  count(KEYS[3], kind.account, kind.word, -#kind.tags)
  return false
end

-- Put notices where the tracker finds them (tracking/track.lua).
local function tell(account, notices)
  local list = prefix .. 'otpreport.' .. account .. NOTICES
  return not failed(list, many('LPUSH', list, notices))
end

function verbs.track(kind, tag, claim, notice)
  local list = prefix .. 'otpreport.' .. kind.account .. NOTICES
  if failed(list, redis.pcall('LLEN', list)) then return false end
  kind.notices[#kind.notices + 1] = notice
  return verbs.finish(kind, tag, claim)
end

function moves.track(kind)
  return moves.finish(kind) and tell(kind.account, kind.notices)
end

local function append(list, one, other)
  list[#list + 1] = one
  list[#list + 1] = other
end

function verbs.schedule(kind, tag, delay, record, occurred)
  append(kind.due, string.format('%.1f', now + tonumber(delay) + low_of(tag)), tag)
  if record ~= '' then append(kind.records, tag, record) end
  if occurred ~= '0' then append(kind.ages, occurred, tag) end
  if kind.mark == '1' then probe_again(kind.account) end
  if kind.mark == '2' then probe_elsewhere(kind.account) end
  return true
end

function moves.schedule(kind)
  local account = kind.account
  local taken, scheduled, aged = key('taken', account), key('scheduled', account), key('aged', account)
  if kind.records[1] and failed(taken, many('HSET', taken, kind.records)) then return false end
  if failed(scheduled, many('ZADD', scheduled, kind.due)) then return false end
  if kind.ages[1] then failed(aged, many('ZADD', aged, kind.ages)) end
  return true
end

function verbs.eta(kind, tag, delay, ...)
  return verbs.schedule(kind, tag, tonumber(delay) + 0.5, ...)
end

moves.eta = moves.schedule

function verbs.bury(kind, tag, claim, letter)
  local account, reason = kind.account, kind.word
  local dead, index = key('dead', account), key('dead-index', account)
  if not sound(dead, 'hash') or not sound(index, 'zset') or not count(KEYS[5], account, reason, 1) then return false end
  if not forget(account, { tag }, { claim }) then
    count(KEYS[5], account, reason, -1)
    return false
  end
  redis.call('HSET', dead, tag, letter)
  redis.call('ZADD', index, now, tag)
  if is_automatic(tag) then
    refuse(account, tag, kind.mark == '1', now)
  elseif reason == 'permanent' and kind.mark ~= '1' then -- a letter that is refused again is no news
    suspect_account(account, letter, kind.mark == 'p')
  end
  if unasked[reason] then probe_again(account) end
  return true
end

local limits = {
  share = tonumber(ARGV[4]), least = tonumber(ARGV[5]),
  run = tonumber(ARGV[6]), run_ms = tonumber(ARGV[7]), probe_ms = tonumber(ARGV[8]),
}
local groups, alone = tonumber(ARGV[10]), {}
for i = 11, 10 + 9 * groups, 9 do
  local calls, bad, fresh = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local unsent, answered = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
  local began, ended = tonumber(ARGV[i + 6]), tonumber(ARGV[i + 7])
  local account, window = key('account', ARGV[i]), key('breaker', ARGV[i])
  local reached = key('reached', ARGV[i])
  local ago = ended < WINDOW * 1000 and elsewhere(reached, key('unsent', ARGV[i]), worker, now, unsent, answered)
  alone[#alone + 1] = ago and answered == 0 and unsent == calls and 1 or 0
  -- what another worker reached within the window is there: what never left speaks against this machine
  if ago and ago < WINDOW * 1000 then calls, bad, fresh = calls - unsent, bad - unsent, math.min(fresh, bad - unsent) end
  if calls > 0 and not pcall(feed_breaker, account, window, now, calls, bad, fresh, began, ended, ARGV[i + 8], limits)
    and sound(account, 'hash') and sound(window, 'hash') then
    note(window, 'ERR it can not be read')
  end
end

local kinds, at, LENGTH = {}, 11 + 9 * groups, { finish = 4, track = 4, schedule = 5, eta = 5, bury = 4 }
local told = at
at = at + 1 + 2 * tonumber(ARGV[at])
for i = 1, tonumber(ARGV[at]) do
  kinds[i] = {
    verb = ARGV[at + 1], account = ARGV[at + 2], word = ARGV[at + 3], mark = ARGV[at + 4],
    tags = {}, claims = {}, due = {}, records = {}, ages = {}, notices = {},
  }
  at = at + 4
end
local tags, places = {}, {}
at = at + 1
while at <= #ARGV do
  tags[#tags + 1], places[#places + 1] = ARGV[at + 1], at
  at = at + LENGTH[kinds[tonumber(ARGV[at])].verb]
end
local held, flags, back = {}, {}, {}
if tags[2] then held = need(KEYS[1], many('SMISMEMBER', KEYS[1], tags)) end
if tags[1] then
  local removed = need(KEYS[1], many('SREM', KEYS[1], tags))
  if not tags[2] then held = { removed } end
end
local seen = {}
for n, tag in ipairs(tags) do
  local i = places[n]
  local kind, claim, member = kinds[tonumber(ARGV[i])], ARGV[i + 2], ARGV[i + 3]
  -- what the provider took stays known, whoever holds the lease by now
  local known = kind.verb ~= 'finish' or member == '' or remember(member, string.match(claim, '^%d+'))
  flags[n] = seen[tag] and 0 or held[n]
  seen[tag] = true
  if flags[n] == 1 and not (known and verbs[kind.verb](kind, tag, claim, member, ARGV[i + 4])) then
    flags[n] = 2
  end
end
for number, kind in ipairs(kinds) do
  if (kind.tags[1] or kind.due[1]) and not moves[kind.verb](kind) then
    for n, flag in ipairs(flags) do
      if flag == 1 and tonumber(ARGV[places[n]]) == number then flags[n] = 2 end
    end
  end
end
-- An account is tracked once an OTP was noted, or a notice waits for that.
local verified = {}
for i = told + 1, told + 2 * tonumber(ARGV[told]), 2 do
  local n = tonumber(ARGV[i])
  if flags[n] == 1 then
    local account = kinds[tonumber(ARGV[places[n]])].account
    verified[account] = verified[account] or {}
    verified[account][#verified[account] + 1] = ARGV[i + 1]
  end
end
for account, notices in pairs(verified) do
  local tracked = redis.call('EXISTS', key('otps', account), prefix .. 'otpreport.' .. account .. NOTICES)
  if tracked > 0 then tell(account, notices) end
end
for n, flag in ipairs(flags) do
  if flag == 2 then back[#back + 1] = tags[n] end
end
if back[1] then need(KEYS[1], many('SADD', KEYS[1], back)) end
local reply = table.concat(flags) .. table.concat(alone)
redis.call('HSET', KEYS[2], 'call', call, 'reply', reply)
redis.call('EXPIRE', KEYS[2], 600)
return { reply, unpack(faults) }
