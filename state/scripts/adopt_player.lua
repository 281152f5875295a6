-- Transfers a player of a stream to another owner. Can be repeated.
-- KEYS 1 the stream's record, 2 the owners that have players, 3 the old owner's players, 4 the new owner's, 5 the
-- mark that the old owner released the player (see voided), 6 the new owner's mark
-- ARGV 1 the old owner, 2 the new one, 3 claim, 4 player as JSON, 5 TTL in ms, 6 generation, 7 TTL of the mark in ms
-- Returns 'ok' and the stream's record, empty if there is none; 'none' if neither has the player, or 'lost'.
local had = redis.call('HEXISTS', KEYS[3], ARGV[3]) == 1
if not had and redis.call('HEXISTS', KEYS[4], ARGV[3]) == 0 then
  return {'none'}
end
if voided(KEYS[6], ARGV[6]) then
  return {'lost'}
end
if had and ARGV[1] ~= ARGV[2] and not voided(KEYS[5], ARGV[6] - 1) then
  redis.call('SET', KEYS[5], ARGV[6] - 1, 'PX', ARGV[7])
end
redis.call('HDEL', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[4], ARGV[3], ARGV[4])
redis.call('PEXPIRE', KEYS[4], ARGV[5])
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
end
return {'ok', redis.call('HGET', KEYS[1], 'json') or ''}
