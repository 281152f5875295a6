-- Ends the want of a holder at once, or after a time. Can be repeated.
-- KEYS 1 the holders; ARGV 1 the holder, 2 the time in ms. Returns 'ok' or 'none'.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return {'none'}
end
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], number(now() + ARGV[2]), ARGV[1])
end
return {'ok'}
