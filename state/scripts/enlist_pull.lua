-- Lists a wanted pull. Can be repeated.
-- KEYS 1 the list; ARGV 1 the pull, 2 for how long it is wanted in ms, '' for without end, 3 how many pulls
-- there can be, 4 the list's lifetime in ms
-- Returns 'ok' or 'full'.
local time = now()
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', number(time))
local listed = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not listed and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  return {'full'}
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if ARGV[2] == '' then
  redis.call('ZADD', KEYS[1], '+inf', ARGV[1])
elseif listed == 'inf' or (tonumber(listed or 0) or 0) > time + ARGV[2] then
  return {'ok'} -- another holder wants it for longer
else
  redis.call('ZADD', KEYS[1], number(time + ARGV[2]), ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'ok'}
