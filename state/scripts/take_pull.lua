-- Takes a pull that no living worker has. Can be repeated: a take has a number, which the worker raises.
-- KEYS 1 the pull, 2 its holders; ARGV 1 the worker, 2 the number of the take, 3 lease in ms, 4 TTL in ms, 5 how
-- many of its workers can die before the pull fails, 6 its fault then, 7 how long the fault is kept in ms, 8 '1' to
-- take it from a dead worker
-- Returns the status with the state 'connecting' and the new generation; 'none' if the pull has failed; 'dead' if it
-- fails now, by the deaths of its workers; 'gone' if it does not exist or has no holder; or 'taken' and the rest of
-- the other worker's lease in ms.
-- The generation is greater than every earlier one also if Redis lost the pull, because it is a time.
local time = now()
local h = redis.call('HMGET', KEYS[1], 'state', 'gen', 'worker', 'lease', 'take')
if h[1] == 'failed' then
  return {'none'}
end
local left = rest(h[4], time, ARGV[3])
if h[1] and h[3] ~= '' and h[3] ~= ARGV[1] and left > 0 then
  return {'taken', number(left)}
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', number(time))
if not h[1] or redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[1])
  return {'gone'}
end
local take = ARGV[1] .. ' ' .. ARGV[2]
if h[3] == ARGV[1] and h[5] == take then
  return status(KEYS[1], KEYS[2], time, ARGV[3]) -- a repetition
end
if h[3] ~= '' and h[3] ~= ARGV[1] and ARGV[8] ~= '1' then
  return {'taken', '1000'}
end
-- A source that ends its workers' processes must not end all of them.
if h[3] ~= '' and h[3] ~= ARGV[1] and redis.call('HINCRBY', KEYS[1], 'deaths', 1) >= tonumber(ARGV[5]) then
  redis.call('HSET', KEYS[1], 'state', 'failed', 'fault', ARGV[6], 'detail', 'its workers ended', 'worker', '', 'lease', 0, 'at', number(time))
  redis.call('DEL', KEYS[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  return {'dead'}
end
redis.call('HSET', KEYS[1], 'before', h[2] or '0', 'gen', number(math.max((tonumber(h[2]) or 0) + 1, time)), 'worker', ARGV[1], 'take', take,
  'lease', number(time + ARGV[3]), 'state', 'connecting', 'at', number(time))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return status(KEYS[1], KEYS[2], time, ARGV[3])
