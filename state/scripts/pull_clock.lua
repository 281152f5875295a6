-- now returns the server's time in ms.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- number returns a whole number as text.
local function number(n)
  return string.format('%.0f', n)
end

