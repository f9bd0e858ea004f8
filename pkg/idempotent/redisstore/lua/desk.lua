-- What comes from outside an attempt. ARGV: now, what, then what it needs; returns 1, 0 (not in that state) or -1 (no record)
local what = ARGV[2]
local r = redis.call('HMGET', key, 's', 'n', 'l', 'e', 'w', 'u', 'x')
local state = r[1]
if not state then return -1 end
local lease, expires = tonumber(r[3]), tonumber(r[4])
if what == 'resolve' then -- fence, executed, force, ok, kept, answer, resource, subject, retention, tombstone
  if r[2] ~= ARGV[3] then return 0 end
  if not (state == 'u' or state == 'c' and (ARGV[5] == '1' or lease <= now)) then return 0 end
  if ARGV[4] == '1' then
    redis.call('HINCRBY', key, 'n', 1)
    done(ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12]))
  else
    redis.call('HSET', key, 'x', '0') -- whoever resolves speaks for all attempts
    release(tonumber(ARGV[11]), 0)
  end
  return 1
elseif what == 'expire' then -- tombstone
  if state ~= 'd' then return 0 end
  bury(tonumber(ARGV[3]))
  return 1
elseif what == 'erase' then -- tombstone, subject
  if state ~= 'd' or r[6] ~= ARGV[4] then return 0 end
  bury(tonumber(ARGV[3]))
  return 1
end
-- purge: tombstone
if state == 'c' and r[5] ~= '1' and lease <= now then
  redis.call('HSET', key, 's', 'u')
  redis.call('PERSIST', key)
  return 1
end
if expires > now or state == 'u' or (state == 'c' and lease > now) then return 0 end
if state == 'd' then
  bury(tonumber(ARGV[3]))
elseif (state == 'c' or state == 'r' and r[7] == '1') and expires > now - tonumber(ARGV[3]) then
  return 0
else
  redis.call('DEL', key, body)
end
return 1
