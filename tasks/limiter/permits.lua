-- Permits of rate groups whose provider counts requests in flight: in front of admit.lua (tasks/script.py).
--
-- permits:<group> maps each worker to "<open> <wanted> <at> <until> <call>": how many requests it may have open, how many more
-- it wants, when (us) it last said so, until when (us) one of these may still be open whatever becomes of the worker, and the
-- number of its last call. "@run" is the Redis process that wrote last, "@from" (us) when permits are given again.
--
-- A worker says how many it has open in the same call that grants slots. No request begins without a slot, so what is counted
-- here is never less than what is open. Where Redis may have forgotten some (another process: restarted or failed over; no
-- key: emptied), nothing is granted until every request from before has had its whole time.

-- Returns how many permits the worker may get now, and a function that writes what it has then; nil if the key can't be used.
local function permits_of(key, worker, call, hold, most, open, wanted, now)
  local FRESH, ROUND = 500000, 2000000 -- us: who said nothing for so long wants none; after which what is left over goes on
  if not sound(key, 'hash') then return end

  local run, from, own = '', 0, -1
  local others, silent, claims, gone = 0, 0, { { name = worker, wants = open + wanted } }, {}
  local names = redis.call('HKEYS', key)
  local entries = #names > 0 and many('HMGET', key, names) or {}
  for i, name in ipairs(names) do
    local count, wants, at, ends, nth = string.match(entries[i], '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
    count, at, ends = tonumber(count or 0), tonumber(at or 0), tonumber(ends or 0)
    if name == '@run' then
      run = entries[i]
    elseif name == '@from' then
      from = math.min(tonumber(entries[i]) or 0, now + hold) -- the clock may have been set back since
    elseif name == worker then
      own = tonumber(nth or -1)
    elseif at <= now and ends <= now then
      gone[#gone + 1] = name
    else
      if at > now then -- as here: its time begins anew
        redis.call('HSET', key, name, string.format('%d %s %.0f %.0f %s', count, wants, now, now + ends - at, nth))
        at = now
      end
      others = others + count
      if now - at < FRESH then
        claims[#claims + 1] = { name = name, wants = count + tonumber(wants) }
      else
        silent = silent + count
      end
    end
  end
  if own >= call then return 0, function() end end -- a call that was overtaken by a later one

  local about = redis.pcall('INFO', 'server')
  if failed(key, about) then return end
  local process = string.match(about, 'run_id:(%w+)') or ''
  if process ~= run then
    from = now + hold
    redis.call('HSET', key, '@run', process, '@from', string.format('%.0f', from))
  end

  -- Each gets what it wants up to an equal share; what can't be divided equally goes round.
  local function share()
    local left, round = math.max(0, most - silent), math.floor(now / ROUND)
    table.sort(claims, function(a, b) return a.wants < b.wants end)
    for i, claim in ipairs(claims) do
      local number = #claims - i + 1
      if claim.wants * number > left then
        local rank = 0
        for j = i, #claims do
          if claims[j].name < worker then rank = rank + 1 end
        end
        return math.floor(left / number) + ((rank + round) % number < left % number and 1 or 0)
      end
      if claim.name == worker then return claim.wants end
      left = left - claim.wants
    end
  end

  local function write(granted)
    if #gone > 0 then many('HDEL', key, gone) end
    -- also where that is nothing, or a call that was overtaken would be taken for the first one
    local counted = string.format('%d %d %.0f %.0f %d', open + granted, wanted - granted, now, now + hold, call)
    redis.call('HSET', key, worker, counted)
  end

  if from > now then return 0, write end
  return math.max(0, math.min(share(), most - others) - open), write
end
