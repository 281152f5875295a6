-- Creates or joins a pull. Can be repeated.
-- KEYS 1 the pull, 2 its holders
-- ARGV 1 the holder, 2 for how long it wants the pull in ms, '' for without end, 3 the pull as JSON, 4 '1' to
-- start a pull again that has failed, 5 how long after a failure it is not started again, in ms, 6 TTL in ms
-- ARGV of the caller's last status, for a pull that Redis lost: 7 generation, 8 worker, 9 state, 10 lease of the
-- worker in ms
-- ARGV 11 '1' if the pull is listed, so that it can be created or started again
-- Returns the status, 'none' for a pull that must be listed first.
local time = now()
local h = redis.call('HMGET', KEYS[1], 'state', 'at')
if h[1] == 'failed' then
  if ARGV[4] ~= '1' or time < tonumber(h[2]) + ARGV[5] then
    return status(KEYS[1], KEYS[2], time, ARGV[10])
  end
  if ARGV[11] ~= '1' then
    return {'none'}
  end
  redis.call('HDEL', KEYS[1], 'fault', 'detail', 'deaths')
  redis.call('HSET', KEYS[1], 'json', ARGV[3], 'state', 'waiting', 'at', number(time))
elseif not h[1] then
  if ARGV[11] ~= '1' then
    return {'none'}
  end
  local lease = ARGV[8] ~= '' and time + ARGV[10] or 0
  redis.call('HSET', KEYS[1], 'json', ARGV[3], 'gen', ARGV[7], 'worker', ARGV[8], 'lease', number(lease),
    'state', ARGV[8] ~= '' and ARGV[9] or 'waiting', 'at', number(time))
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', number(time))
redis.call('ZADD', KEYS[2], ARGV[2] == '' and '+inf' or number(time + ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return status(KEYS[1], KEYS[2], time, ARGV[10])
