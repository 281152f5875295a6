-- KEYS 1 the pull, 2 its holders; ARGV 1 lease in ms. Returns the status.
return status(KEYS[1], KEYS[2], now(), ARGV[1])
