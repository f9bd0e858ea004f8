-- ARGV: now, what, fence, owner, then what it needs; returns 1, or 0 if the claim is not held
local r = redis.call('HMGET', key, 's', 'n', 'o', 'w')
if r[1] ~= 'c' or r[2] ~= ARGV[3] or r[3] ~= ARGV[4] then return 0 end
local what = ARGV[2]
if what == 'heartbeat' then -- lease, retention, tombstone
  local lease, retention = tonumber(ARGV[5]), tonumber(ARGV[6])
  redis.call('HSET', key, 'l', int(now + lease), 'e', int(now + lease + retention))
  if r[4] == '1' then keep(key, lease + retention + tonumber(ARGV[7])) end
elseif what == 'complete' then -- ok, kept, answer, resource, subject, retention, tombstone
  done(ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10]), tonumber(ARGV[11]))
elseif what == 'release' then -- retention, tombstone
  release(tonumber(ARGV[5]), tonumber(ARGV[6]))
elseif what == 'uncertain' then
  redis.call('HSET', key, 's', 'u', 'l', int(now))
  redis.call('PERSIST', key)
elseif what == 'step' then -- name, result
  redis.call('HSETNX', key, 's:' .. ARGV[5], ARGV[6])
end
return 1
