-- Registers a player with its stream. Can be repeated.
-- KEYS 1 the stream's record, 2 the owners that have players, 3 the owner's players of the stream, 4… see
-- listed
-- ARGV 1 owner, 2 claim, 3 player as JSON, 4 TTL in ms, 5 '1' when the stream needs no record, 6 entry
-- Returns 'ok' and the stream's record, empty if there is none; 'none', or 'over'.
if not listed(KEYS[4], KEYS[5], ARGV[6], ARGV[4]) then
  return {'over'}
end
local stream = redis.call('HGET', KEYS[1], 'json')
if not stream and ARGV[5] ~= '1' then
  return {'none'}
end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {'ok', stream or ''}
