-- Runs one command on each key; TIME has none. ARGV: for each key the command, the number of its arguments,
-- and these.
-- Deletes the keys and returns the commands that failed.
local failed, at = {}, 1
for i = 1, #KEYS do
  local name, n = ARGV[at], tonumber(ARGV[at + 1])
  local reply
  if name == 'TIME' then
    reply = redis.pcall('TIME')
  else
    reply = redis.pcall(name, KEYS[i], unpack(ARGV, at + 2, at + 1 + n))
  end
  if type(reply) == 'table' and reply.err then
    failed[#failed + 1] = name
  end
  at = at + 2 + n
end
for i = 1, #KEYS do
  redis.pcall('PEXPIRE', KEYS[i], 60000) -- if the user may not delete
  redis.pcall('DEL', KEYS[i])
end
return failed
