-- Returns a worker's pull, so that another worker can take it at once. Can be repeated.
-- KEYS 1 the pull; ARGV 1 the worker, 2 generation. Returns 'ok' or 'lost'.
local h = redis.call('HMGET', KEYS[1], 'gen', 'worker')
if h[1] ~= ARGV[2] or h[2] ~= ARGV[1] then
  return {'lost'}
end
redis.call('HSET', KEYS[1], 'worker', '', 'lease', 0, 'state', 'waiting', 'at', number(now()))
return {'ok'}
