-- Writes a running pull again that Redis lost. Can be repeated.
-- KEYS 1 the pull, 2 its holders
-- ARGV 1 the worker, 2 generation, 3 lease in ms, 4 state, 5 the pull as JSON, 6 TTL in ms, 7… holders without end
-- Returns 'ok', or 'lost' if there is a pull.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'lost'}
end
local time = now()
redis.call('HSET', KEYS[1], 'json', ARGV[5], 'gen', ARGV[2], 'worker', ARGV[1], 'lease', number(time + ARGV[3]), 'state', ARGV[4],
  'at', number(time), 'restored', number(time))
for i = 7, #ARGV do
  redis.call('ZADD', KEYS[2], '+inf', ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return {'ok'}
