-- Adds records to an index of an owner, before they are written.
-- KEYS 1 the record that the owner was taken over, 2 the index; ARGV 1 TTL in ms, 2… entries
-- Returns 'lost' if the owner was taken over: the taker reads the index only once, so nothing must be added
-- to it.
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'lost'}
end
redis.call('SADD', KEYS[2], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return {'ok'}
