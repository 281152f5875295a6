-- Ends a pull with a fault, whichever worker has it. Can be repeated.
-- KEYS 1 the pull, 2 its holders; ARGV 1 the fault, 2 how long the fault is kept in ms. Returns 'ok' or 'none'.
redis.call('DEL', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'none'}
end
redis.call('HSET', KEYS[1], 'state', 'failed', 'fault', ARGV[1], 'detail', '', 'worker', '', 'lease', 0, 'at', number(now()))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {'ok'}
