-- Gives the lease back. KEYS 1 the lease, 2 the record that the owner was taken over, 3… the owner's indexes
-- ARGV 1 owner, 2 TTL of the record in ms
-- Gives 'ok' when the indexes are empty, 'left' when others have something to take over.
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', unpack(KEYS, 3)) > 0 then
  return {'left'}
end
-- Nobody will look at the indexes again, so nothing that is still on its way may be added to them.
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'ok'}
