-- Gives the lease back. KEYS 1 the lease, 2… the owner's indexes
-- Gives 'ok' when the indexes are empty, 'left' when others have something to take over.
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', unpack(KEYS, 2)) > 0 then
  return {'left'}
end
return {'ok'}
