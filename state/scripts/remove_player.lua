-- Removes a player from its stream. Can be repeated.
-- KEYS 1 the owners that have players, 2 the owner's players of the stream, 3 the mark that keeps the removed
-- player, so that a repetition returns it as well
-- ARGV 1 owner, 2 claim, 3 TTL of the mark in ms, 0 for none
-- Returns 'ok' and the removed player, or 'none'.
local player = redis.call('HGET', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[2])
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[1], ARGV[1])
end
if player and ARGV[3] ~= '0' then
  redis.call('SET', KEYS[3], player, 'PX', ARGV[3])
elseif ARGV[3] ~= '0' then
  player = redis.call('GET', KEYS[3])
end
if not player then
  return {'none'}
end
return {'ok', player}
