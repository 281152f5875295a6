-- Removes a player from its stream. Can be repeated.
-- KEYS 1 the owners that have players, 2 the owner's players of the stream; ARGV 1 owner, 2 claim
-- Returns 'ok' and the removed player, or 'none'.
local player = redis.call('HGET', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[2])
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[1], ARGV[1])
end
if not player then
  return {'none'}
end
return {'ok', player}
