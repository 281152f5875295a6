-- Adds a transcript to the front of a list that keeps the last ones. It is cut first: a user that may not cut
-- it cannot let it grow.
-- KEYS 1 the list; ARGV 1 the transcript, 2 how many are kept, 3 the list's lifetime in ms. Returns 'ok'.
local others = tonumber(ARGV[2]) - 1
if others > 0 then
  redis.call('LTRIM', KEYS[1], 0, others - 1)
else
  redis.call('DEL', KEYS[1])
end
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'ok'}
