-- Registers a player with its stream. Can be repeated.
-- KEYS 1 the stream's record, 2 the owners that have players, 3 the owner's players of the stream, 4 the mark that
-- the owner released the player (see voided), 5… see listed
-- ARGV 1 owner, 2 claim, 3 player as JSON, 4 TTL in ms, 5 '1' when the stream needs no record, 6 entry,
-- 7 generation, 8 stamp of the entry
-- Returns 'ok' and the stream's record, empty if there is none; 'none', 'lost' or 'over'.
if voided(KEYS[4], ARGV[7]) then
  return {'lost'}
end
if not listed(KEYS[5], KEYS[6], ARGV[6], ARGV[8], ARGV[4]) then
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
