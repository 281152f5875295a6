-- Ends the want of a holder at once, or after a time. Can be repeated.
-- KEYS 1 the pull, 2 its holders; ARGV 1 the holder, 2 the time in ms. Returns 'ok', or 'gone' if the pull has no
-- holder and no living worker. Then it is removed, unless it has failed.
local time = now()
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[2], ARGV[1])
elseif redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  redis.call('ZADD', KEYS[2], number(time + ARGV[2]), ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', number(time))
if redis.call('ZCARD', KEYS[2]) > 0 then
  return {'ok'}
end
local h = redis.call('HMGET', KEYS[1], 'state', 'worker', 'lease')
if h[1] and h[1] ~= 'failed' and h[2] ~= '' and (tonumber(h[3]) or 0) > time then
  return {'ok'} -- its worker notices
end
if h[1] ~= 'failed' then
  redis.call('DEL', KEYS[1])
end
return {'gone'}
