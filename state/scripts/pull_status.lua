-- status returns the reply about a pull: 'ok', its JSON, state, fault, detail, generation, worker, the rest of
-- the worker's lease and the time in this state, both in ms, the generation before, and the holders; or
-- 'none'.
local function status(job, wants, time)
  local h = redis.call('HMGET', job, 'json', 'state', 'fault', 'detail', 'gen', 'worker', 'lease', 'at', 'before')
  if not h[1] then
    return {'none'}
  end
  local left, age = math.max(0, (tonumber(h[7]) or 0) - time), math.max(0, time - (tonumber(h[8]) or time))
  local holders = redis.call('ZRANGEBYSCORE', wants, '(' .. number(time), '+inf')
  return {'ok', h[1], h[2] or '', h[3] or '', h[4] or '', h[5] or '0', h[6] or '', number(left), number(age), h[9] or '0', unpack(holders)}
end

