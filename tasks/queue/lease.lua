#!lua flags=allow-oom
-- Lease events to one worker and renew its lease; with no account named, only renew.
--
-- KEYS  1 workers  2 held:<worker>  3 books
-- ARGV  1 key prefix  2 worker  3 lease (ms)  4 number of the first new tag
--       5 "1": the worker holds nothing, give it one suspect and nothing else
--       6 probe interval of a stopped account (ms)  7 of an open breaker (ms)
--       8 how many more events the worker has room for
--       then for each account: name, how many at most of all accounts of its rate group, how many of its events the worker
--       holds, rate group; what is free goes to the first ones
-- reply { now (us), tags the worker holds, suspects that may be leased, keys that can't be used,
--         { account, tag, reason, '1' if it had been sent again, ... } of what became a dead letter,
--         1 if it stopped for the bytes that it had, { account, way, tag, record, tag, record, ... }, ... }
--       way: "send"; "probe": of an account that is stopped or open; "shed": to be dropped, as the operator said
-- cost  O(events leased + accounts); every write may run in a full Redis: it only moves what is there
local worker, lease = ARGV[2], tonumber(ARGV[3])
local number, solo = tonumber(ARGV[4]), ARGV[5] == '1'
local probe_interval = { stopped = tonumber(ARGV[6]), open = tonumber(ARGV[7]) }
local free = tonumber(ARGV[8])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(now_us / 1000)
math.randomseed(tonumber(time[2])) -- or each call would draw the same
local reply = { string.format('%.0f', now_us), 0, 0, faults, buried, 0 }
local left = BUDGET
local suspects_waiting = 0
local held, given = need(KEYS[2], redis.pcall('SCARD', KEYS[2])), {}
need(KEYS[1], redis.pcall('ZADD', KEYS[1], now + lease, worker))

local part = {} -- the last of the reply

local function give(account, tag, record, way)
  if part[1] ~= account or part[2] ~= way then
    part = { account, way }
    reply[#reply + 1] = part
  end
  given[#given + 1] = tag
  part[#part + 1] = tag
  part[#part + 1] = record
end

local function is_suspect(record)
  return tonumber(string.match(record, '^%d+') or 0) >= SUSPECT_DEATHS
end

-- Put an event where no worker gets it: among the dead, or where that can't be done aside for a while.
local function put_aside(account, tag, record, reason, kind)
  local taken, aged, index = key('taken', account), key('aged', account), key(kind, account)
  if bury(account, tag, now, reason, record) then
    redis.call('HDEL', taken, tag)
    failed(aged, redis.pcall('ZREM', aged, tag))
  else
    redis.call('HSET', taken, tag, record)
    failed(index, redis.pcall('ZADD', index, now + 5000, tag)) -- else recovery finds it
  end
  collectgarbage('collect')
end

-- A suspect is given from `suspects` alone: one that was handed back unread waits there, too.
-- What is shed need not be due, or an eta of next year would wait for ever. `low`: of those that come after all others.
local function from_index(account, kind, want, way, low)
  local index, given = key(kind, account), 0
  local from, upto = low and LOW or '-inf', way == 'shed' and '+inf' or now + (low and LOW or 0)
  local due = redis.pcall('ZRANGEBYSCORE', index, from, upto, 'LIMIT', 0, want)
  if failed(index, due) then return 0 end
  for _, tag in ipairs(due) do
    if left <= 0 then break end
    redis.call('ZREM', index, tag)
    local record = redis.call('HGET', key('taken', account), tag)
    local reason = record and unfit(record, kind == 'suspects')
    left = left - #(record or '')
    if record and string.find(tag, '[\128-\255]') then -- none of ours: no worker could name it
      note(key('taken', account) .. ' of a field', 'ERR it is no text')
    elseif reason then
      put_aside(account, tag, record, reason, kind)
    elseif record and kind == 'scheduled' and is_suspect(record) then
      redis.call('ZADD', key('suspects', account), now, tag)
    elseif record then
      give(account, tag, record, way)
      given = given + 1
    end
  end
  return given
end


local LIVE, LAST = { unpack(PRIORITY_SUFFIXES, 1, #PRIORITY_SUFFIXES - 1) }, PRIORITY_SUFFIXES[#PRIORITY_SUFFIXES]

local function oldest(list)
  return redis.pcall('RPOP', list)
end

local function from_ready(account, want, way, pop, steps)
  if not countable(KEYS[3], account .. ':taken') then return 0 end
  local records, long, header = {}, 0, '0 0 ' .. string.format('%.0f', now) .. '\n\n'
  local name = account .. ':' .. worker .. ':'
  for _, step in ipairs(steps or PRIORITY_SUFFIXES) do
    local list = prefix .. 'otpreport.' .. account .. step
    while #records < 2 * want and left > 0 do
      local raw = (pop or oldest)(list)
      if not raw or failed(list, raw) then break end
      local automatic = step == LAST and string.find(raw, AUTOMATIC, 1, true)
      local tag = string.format('%s%s%.0f', name, automatic and 'n' or '', number)
      number, left = number + 1, left - #raw
      raw = header .. raw
      if #raw > #header + MAX_BYTES then
        put_aside(account, tag, raw, 'invalid', 'scheduled')
        long = long + 1
      else
        records[#records + 1] = tag
        records[#records + 1] = raw
        give(account, tag, raw, way)
      end
      if pop then break end
    end
  end
  local got = #records / 2
  if got + long > 0 then
    local taken = key('taken', account)
    if got > 0 then need(taken, many('HSET', taken, records)) end
    redis.call('HINCRBY', KEYS[3], account .. ':taken', got + long)
  end
  return got
end

-- Functions that few calls need are made where they are needed: to make one costs about as much as a command.
local function from_place(account, way, where)
  -- Returns whether a list has the tracker's own reports at both ends: by these no account is judged.
  local function has_reports(list, length)
    for place = -1, 0 do
      local raw = type(length) == 'number' and length > 0 and redis.call('LINDEX', list, place)
      if not raw or not string.find(raw, AUTOMATIC, 1, true) then return false end
    end
    return true
  end

  -- Returns one of the account's lists and a place in it, drawn by lot: each of its messages has the same chance.
  local function drawn(account)
    local lists, total = {}, 0
    for i, step in ipairs(PRIORITY_SUFFIXES) do
      local list = prefix .. 'otpreport.' .. account .. step
      local length = redis.pcall('LLEN', list)
      if step == LAST and has_reports(list, length) then length = 0 end
      lists[i] = { name = list, length = failed(list, length) and 0 or length }
      total = total + lists[i].length
    end
    local place = total > 0 and math.random(total) or 0
    for _, list in ipairs(lists) do
      if place <= list.length then return list.name, place - 1 end
      place = place - list.length
    end
  end

  local POP = {}

  function POP.newest(list)
    return redis.call('LPOP', list)
  end

  function POP.oldest(list)
    return redis.call('RPOP', list)
  end

  -- The newest message fills the gap: none is moved back.
  function POP.any(list, place)
    local raw = redis.call('LINDEX', list, place)
    local newest = redis.call('LPOP', list)
    if place > 0 then redis.call('LSET', list, place - 1, newest) end
    return raw
  end

  local list, place = drawn(account)
  return from_ready(account, 1, way, function(name)
    return place >= 0 and name == list and POP[where](list, place)
  end)
end

-- Dead letters that are to be sent again go last: at their share of the rate, and only while the next free slot of the
-- rate group lies no further ahead than SPARE (us): slots that nobody else wants. What was not used for longer than BURST
-- (us, a little more than a calm worker's round) is forgone: workers that are short of CPU, and so ask more seldom, take fewer.
local function from_replays(account, want, way)
  local SPARE, BURST = 25000, 60000

  -- Returns how many of `want` may go now, the us between two, and from when on they are counted.
  local function replays_due(account, want)
    local order = redis.pcall('HMGET', key('replay', account), 'share', 'group', 'limit', 'next_us')
    if failed(key('replay', account), order) or not order[1] then return 0 end
    local stored = redis.call('HMGET', key('rate', order[2]), unpack(RATE_FIELDS))
    if math.max(moment(stored[5], now_us), pause_end(stored, now_us)) > now_us + SPARE then return 0 end
    local interval = 1000000 / (tonumber(order[1]) * effective_rate(tonumber(order[3]), stored, now_us))
    local from = math.max(tonumber(order[4] or 0), now_us - BURST)
    if from > now_us + interval then from = now_us end -- the clock went back, or the share was raised
    return math.max(0, math.min(want, math.floor((now_us - from) / interval) + 1)), interval, from
  end

  -- Move a dead letter among the taken, as if nothing had been tried yet, and return its record; nil when it is gone, or
  -- died again since it was asked for.
  local function revive(account, id, died)
    local letter, index = redis.call('HGET', key('dead', account), id), key('dead-index', account)
    if not letter or redis.call('ZSCORE', index, id) ~= died then return end
    left = left - #letter
    local cut = string.find(letter, '\n', 1, true) or #letter + 1
    if #letter - cut > MAX_BYTES then return end
    local read, story = pcall(cjson.decode, string.sub(letter, 1, cut - 1))
    if not read or type(story) ~= 'table' or story.bytes then return end
    local field = account .. ':' .. tostring(story.reason)
    if not countable(reasons, field) then return end
    local history = string.format('{"attempts":[],"replayed_ms":%.0f,"doubted":%s}', now, tostring(story.in_doubt == true))
    local record = string.format('0 0 %.0f\n', tonumber(story.first_at_ms) or now) .. history .. string.sub(letter, cut)
    redis.call('HSET', key('taken', account), id, record)
    redis.call('HDEL', key('dead', account), id)
    redis.call('ZREM', index, id)
    if redis.call('HINCRBY', reasons, field, -1) <= 0 then redis.call('HDEL', reasons, field) end
    return record
  end

  if way == 'shed' then return 0 end
  local read, due, interval, from = pcall(replays_due, account, want)
  local waiting, order, got = key('replays', account), key('replay', account), 0
  if not read then note(order, 'ERR it can not be read') end
  if way == 'probe' then due = want end
  if not read or due == 0 then return 0 end
  if not (sound(order, 'hash') and sound(waiting, 'zset')) then return 0 end
  if not (sound(key('dead', account), 'hash') and sound(key('dead-index', account), 'zset')) then return 0 end
  local page = redis.call('ZRANGE', waiting, 0, due - 1, 'WITHSCORES')
  for i = 1, #page, 2 do
    if left <= 0 then break end
    redis.call('ZREM', waiting, page[i])
    local record = revive(account, page[i], page[i + 1])
    if record then
      give(account, page[i], record, way)
      got = got + 1
    end
  end
  if redis.call('ZCARD', waiting) == 0 then
    redis.call('HDEL', order, 'share', 'group', 'limit', 'next_us')
  elseif interval then
    redis.call('HSET', order, 'next_us', string.format('%.0f', from + got * interval))
  end
  return got
end

-- Returns how many of `want` the ramp lets through now, and the ms between two; nil when it is over.
local function ramped(state, want)
  local share = state[5] and RAMP[math.floor((now - tonumber(state[4])) / RAMP_STEP_MS) + 1]
  if not share then return want end
  local rate = tonumber(state[5])
  local interval = 1000 / math.min(rate, math.max(1, rate * share))
  local from = math.max(tonumber(state[6] or 0), now - 100)
  return math.max(0, math.min(want, math.floor((now - from) / interval) + 1)), interval, from
end

-- What `let` says of an account that is probed.
local function probed(account, want, name, state)
  local function is_leased(account, tag)
    return tag and redis.call('HEXISTS', key('taken', account), tag) == 1
      and not redis.call('ZSCORE', key('scheduled', account), tag)
      and not redis.call('ZSCORE', key('suspects', account), tag)
  end

  local LONGEST_PAUSE = math.max(LONGEST_PAUSE_MS, probe_interval.stopped)

  -- The longer an outage lasts, the less often it is probed: after a quarter of its time, at least the interval.
  local function pause_after(name, state)
    if name ~= 'open' then return probe_interval[name] end
    local lasted = math.max(0, now - tonumber(state[7] or now))
    return math.max(probe_interval.open, math.min(LONGEST_PAUSE, math.floor(lasted / 4)))
  end

  -- An account that stopped since event after event was refused is searched for one that is taken: every second for as many
  -- as were refused and one more, at most `most`; after a minute of nothing but refusals for a few now and then.
  local SEARCH = { most = SEARCHED_AT_ONCE, pause = 1000, lasts = 60000, few = 3, long_pause = 10000 }

  -- Returns how many to send now, the ms until the next ones, and how many were refused; nil where nothing is searched.
  local function search(name, state)
    if name ~= 'stopped' or state[8] ~= REFUSED_RUN_CODE then return end
    local refused, lasted = tonumber(state[9] or 0), now - tonumber(state[7] or now)
    if lasted < 0 or lasted >= SEARCH.lasts then return SEARCH.few, SEARCH.long_pause, refused end
    return math.min(SEARCH.most, refused + 1), SEARCH.pause, refused
  end

  -- A probe that is due later than any pause lasts was put down before Redis' clock was set back.
  local function is_early(state, longest)
    local due = tonumber(state[2] or 0)
    return now < due and due <= now + longest
  end

  -- A worker whose last probe could not leave lets the others go first, so long (ms).
  local OTHERS_FIRST = 2000

  local function goes_later(account, state)
    local unsent = key('unsent', account)
    local at = now < tonumber(state[2] or 0) + OTHERS_FIRST and redis.pcall('ZSCORE', unsent, worker)
    return at and not failed(unsent, at)
  end

  local some, pause, refused = search(name, state)
  if is_early(state, pause or LONGEST_PAUSE) or is_leased(account, state[3])
    or goes_later(account, state) then return 0, 'send' end
  return math.min(want, some or 1), 'probe', { probe_at = now + (pause or pause_after(name, state)), refused = refused }
end

-- 'running' lets everything through, 'stopped' and 'open' one probe at a time or what a search wants, 'shed' everything, any
-- other state nothing.
-- Returns how many, on what way, and what `spend` needs.
local function let(account, want)
  local state = redis.call('HMGET', key('account', account),
    'state', 'probe_at_ms', 'probe_tag', 'resumed_ms', 'ramp_rate', 'ramp_next_ms', 'since_ms', 'code',
    'search_refused')
  local name = state[1] or 'running'
  if name == 'running' then
    local most, interval, from = ramped(state, want)
    return most, 'send', interval and { interval = interval, from = from }
  end
  if name == 'shed' then return want, 'shed' end
  if probe_interval[name] then return probed(account, want, name, state) end
  return 0, 'send'
end

local function admitted(account, want)
  local read, allowed, way, limit = pcall(let, account, want)
  if read then return allowed, way, limit end
  local name = key('account', account)
  if sound(name, 'hash') then note(name, 'ERR it can not be read') end
  return 0
end

-- Note what was taken of an account that is probed, or ramps up; the tag of a probe is the last that was given.
local function spend(account, got, limit)
  if got == 0 or not limit then return end
  if limit.probe_at then
    redis.call('HSET', key('account', account), 'probe_at_ms', limit.probe_at, 'probe_tag', part[#part - 1])
  else
    redis.call('HSET', key('account', account), 'ramp_next_ms', string.format('%.3f', limit.from + got * limit.interval))
  end
end

-- How many more events an account may take of which the worker holds so many: as if taken one by one, each while the account
-- holds less than twice what is free (dynamic thresholds, Choudhury and Hahne 1998). So an account whose provider hangs fills
-- two thirds of a worker and leaves the others the rest, and nobody has to know which of them will want something.
local function room(held)
  return math.max(0, math.ceil((2 * free - held) / 3))
end

-- Most of many accounts have nothing most of the time: one look tells. And a busy one has mostly new events alone: the other
-- places need not be looked at one by one, then. Returns whether there is anything, and whether there is anything else.
local function looked_for(account)
  local keys = { prefix .. 'otpreport.' .. account, key('scheduled', account), key('replays', account) }
  for i = 2, #PRIORITY_SUFFIXES do keys[#keys + 1] = keys[1] .. PRIORITY_SUFFIXES[i] end
  if redis.call('EXISTS', unpack(keys)) == 0 then return false end
  return true, redis.call('EXISTS', unpack(keys, 2)) > 0
end

local WHERE = { 'newest', 'oldest', 'any' }

-- Give so many probes: newest, oldest and any in turn where the account is searched.
local function from_all(account, want, way, refused)
  local got = 0
  for i = 1, want do
    local where = refused and WHERE[(refused + i - 1) % #WHERE + 1]
    -- of a search the oldest are those that were leased when it began; else the event that stopped the account waits there
    local given = where == 'oldest' and from_index(account, 'scheduled', 1, way) or 0
    if given == 0 then given = where and from_place(account, way, where) or from_ready(account, 1, way) end
    if given == 0 then given = from_index(account, 'scheduled', 1, way) end
    if given == 0 then given = from_index(account, 'scheduled', 1, way, true) end
    if given == 0 then given = from_replays(account, 1, way) end
    got = got + given
  end
  return got
end

-- Lease what was given, which stands nowhere else by now.
local function hold()
  for i = 1, #given, MOST_VALUES do
    held = held + redis.call('SADD', KEYS[2], unpack(given, i, math.min(i + MOST_VALUES - 1, #given)))
  end
  given = {}
end

-- Returns whether the account's messages may be popped: they could be put down.
local function can_take(account)
  local taken = key('taken', account)
  if not sound(taken, 'hash') then return false end
  if redis.acl_check_cmd('HSET', taken) then return true end
  note(taken, 'NOPERM this user may not HSET')
  return false
end

-- Returns how many events were given, and whether the account may have some that come after all others.
local function serve(account, want)
  if want == 0 then return 0 end
  local any, others = looked_for(account)
  if not any then return 0 end
  local allowed, way, limit = admitted(account, want)
  if allowed == 0 or not can_take(account) then return 0 end
  local got = 0
  if way == 'probe' then
    got = from_all(account, allowed, way, limit.refused)
  elseif not others then
    got = from_ready(account, allowed, way, nil, { PRIORITY_SUFFIXES[1] })
  else
    -- half and half, also for those who take one at a time
    got = from_index(account, 'scheduled', math.floor((allowed + now_us % 2) / 2), way)
    if got < allowed then got = got + from_ready(account, allowed - got, way, nil, way ~= 'shed' and LIVE) end
    if got < allowed then got = got + from_index(account, 'scheduled', allowed - got, way) end
    if got < allowed then got = got + from_replays(account, allowed - got, way) end
  end
  hold()
  spend(account, got, limit)
  return got, others and way == 'send'
end

-- What comes after all others: the last of the lists, where the tracker puts its reports, and those that wait for another try.
local function serve_last(account, want)
  local list, index = prefix .. 'otpreport.' .. account .. LAST, key('scheduled', account)
  local due = redis.pcall('ZRANGEBYSCORE', index, LOW, LOW + now, 'LIMIT', 0, 1)
  if failed(index, due) or (not due[1] and redis.call('EXISTS', list) == 0) then return 0 end
  local allowed, way, limit = admitted(account, want)
  if allowed == 0 or way ~= 'send' or not can_take(account) then return 0 end
  local got = from_ready(account, allowed, way, nil, { LAST })
  if got < allowed then got = got + from_index(account, 'scheduled', allowed - got, way, true) end
  hold()
  spend(account, got, limit)
  return got
end

local function serve_suspect(account)
  local allowed, way, limit = admitted(account, 1)
  if allowed == 0 or not can_take(account) then return end
  local got = from_index(account, 'suspects', 1, way)
  hold()
  spend(account, got, limit)
end

local wanted, FIRST, last = {}, #reply, {}
for i = 9, #ARGV, 4 do
  local account, want, of_it, group = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  local suspects = key('suspects', account)
  local waiting = redis.pcall('ZCARD', suspects)
  if not failed(suspects, waiting) then
    if solo and #reply == FIRST then
      serve_suspect(account)
      waiting = redis.call('ZCARD', suspects)
    elseif not solo then
      wanted[group] = wanted[group] or want
      local got, may_have_last = serve(account, math.min(wanted[group], room(of_it)))
      wanted[group], free = wanted[group] - got, free - got
      if may_have_last then last[#last + 1] = { account = account, of_it = of_it + got, group = group } end
    end
    -- those of a held account can't be leased: nobody needs to make room for them
    if waiting > 0 and admitted(account, 1) > 0 then suspects_waiting = suspects_waiting + waiting end
  end
end
for _, one in ipairs(last) do -- when no account of the group has anything before them
  local want = math.min(wanted[one.group], room(one.of_it))
  local got = want > 0 and serve_last(one.account, want) or 0
  wanted[one.group], free = wanted[one.group] - got, free - got
end
reply[2] = held
reply[3] = suspects_waiting
reply[6] = left > 0 and 0 or 1
return reply
