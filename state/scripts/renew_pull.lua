-- Renews a worker's lease of a pull, and records the pull's state. Can be repeated. An expired lease is not
-- lost: only another worker's take ends it.
-- KEYS 1 the pull, 2 its holders
-- ARGV 1 the worker, 2 generation, 3 lease in ms, 4 state, 5 fault, 6 detail, 7 TTL in ms, 8 how long a fault is
-- kept in ms, 9 after how many ms in a state dead workers no longer count, 10 for how many ms a restored pull is
-- kept without holders
-- Returns 'ok' and the holders without end; 'missing' if Redis does not have the pull; 'lost' if another worker took it or it was ended;
-- 'unwanted' if it has no holder: then it is removed.
local h = redis.call('HMGET', KEYS[1], 'state', 'gen', 'worker', 'at', 'deaths', 'restored')
if not h[1] then
  return {'missing'}
end
if h[1] == 'waiting' and h[2] == '0' then -- Redis lost the pull, and a holder created it again: it runs here
  redis.call('HSET', KEYS[1], 'gen', ARGV[2], 'worker', ARGV[1])
  h[2], h[3] = ARGV[2], ARGV[1]
end
if h[1] == 'failed' or h[2] ~= ARGV[2] or h[3] ~= ARGV[1] then
  return {'lost'}
end
local time = now()
if ARGV[4] == 'failed' then
  redis.call('HSET', KEYS[1], 'state', 'failed', 'fault', ARGV[5], 'detail', ARGV[6], 'worker', '', 'lease', 0, 'at', number(time))
  redis.call('PEXPIRE', KEYS[1], ARGV[8])
  redis.call('DEL', KEYS[2]) -- a holder without end must not keep the pull that another one starts
  return {'ok'}
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', number(time))
if redis.call('ZCARD', KEYS[2]) == 0 and time - (tonumber(h[6]) or 0) > tonumber(ARGV[10]) then
  redis.call('DEL', KEYS[1], KEYS[2])
  return {'unwanted'}
end
if h[1] == ARGV[4] and h[5] and ARGV[4] == 'running' and time - tonumber(h[4]) > tonumber(ARGV[9]) then
  redis.call('HDEL', KEYS[1], 'deaths')
end
if h[1] ~= ARGV[4] then
  redis.call('HSET', KEYS[1], 'state', ARGV[4], 'at', number(time))
end
redis.call('HSET', KEYS[1], 'fault', ARGV[5], 'detail', ARGV[6], 'lease', number(time + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return {'ok', unpack(redis.call('ZRANGEBYSCORE', KEYS[2], '+inf', '+inf'))}
