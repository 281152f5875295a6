-- rest returns for how long a lease lasts, in ms.
local function rest(lease, time, most)
  local left = (tonumber(lease) or 0) - time
  return left > tonumber(most) and 0 or math.max(0, left)
end

-- status returns the reply about a pull: 'ok', its JSON, state, fault, detail, generation, worker, the rest of
-- the worker's lease and the time in this state, both in ms, the generation before, and the holders; or
-- 'none'.
-- A lease that lasts longer than most ms is over: the server's clock was set back.
local function status(job, wants, time, most)
  local h = redis.call('HMGET', job, 'json', 'state', 'fault', 'detail', 'gen', 'worker', 'lease', 'at', 'before')
  if not h[1] then
    return {'none'}
  end
  local left, age = rest(h[7], time, most), math.max(0, time - (tonumber(h[8]) or time))
  local holders = redis.call('ZRANGEBYSCORE', wants, '(' .. number(time), '+inf')
  return {'ok', h[1], h[2] or '', h[3] or '', h[4] or '', h[5] or '0', h[6] or '', number(left), number(age), h[9] or '0', unpack(holders)}
end

