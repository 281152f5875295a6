-- Releases the lease. KEYS 1 the lease, 2 the record that the owner was taken over, 3… the owner's indexes
-- ARGV 1 owner, 2 TTL of the record in ms
-- Returns 'ok' if the indexes are empty, 'left' if other pods have to take over records.
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', unpack(KEYS, 3)) > 0 then
  return {'left'}
end
-- The indexes are not read again, so late commands must not add to them.
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'ok'}
