-- Takes a pull that no living worker has. Can be repeated: a take has a number, which the worker raises.
-- KEYS 1 the pull, 2 its holders; ARGV 1 the worker, 2 the number of the take, 3 lease in ms, 4 TTL in ms
-- Returns the status with another state 'connecting' and the new generation; 'none' if the pull is not wanted
-- or has failed; or 'taken' and the rest of the other worker's lease in ms.
-- The generation is greater than every earlier one also if Redis lost the pull, because it is a time.
local time = now()
local h = redis.call('HMGET', KEYS[1], 'state', 'gen', 'worker', 'lease', 'take')
if not h[1] or h[1] == 'failed' then
  return {'none'}
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', number(time))
if redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('DEL', KEYS[1])
  return {'none'}
end
local take = ARGV[1] .. ' ' .. ARGV[2]
if h[3] == ARGV[1] and h[5] == take then
  return status(KEYS[1], KEYS[2], time) -- a repetition
end
local left = (tonumber(h[4]) or 0) - time
if h[3] ~= '' and h[3] ~= ARGV[1] and left > 0 then
  return {'taken', number(left)}
end
redis.call('HSET', KEYS[1], 'before', h[2] or '0', 'gen', number(math.max((tonumber(h[2]) or 0) + 1, time)), 'worker', ARGV[1], 'take', take,
  'lease', number(time + ARGV[3]), 'state', 'connecting', 'at', number(time))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return status(KEYS[1], KEYS[2], time)
