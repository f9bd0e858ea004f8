-- ARGV: now, fingerprint, owner, recoverable, redo, lease, retention, method, trace, tombstone
-- returns outcome, index of the record, fence, recovery, remaining, ok, answer, resource, trace, claimed at, fingerprint
local at = 1
for i = 1, #KEYS, 2 do -- several while the secret is being replaced
  if redis.call('EXISTS', KEYS[i]) == 1 then
    key, body, at = KEYS[i], KEYS[i + 1], (i + 1) / 2
    break
  end
end
local r = redis.call('HMGET', key, 's', 'f', 'n', 'o', 'l', 'e', 'k', 'z', 'r', 't', 'c', 'x')
local state, fence, trace, claimed = r[1], tonumber(r[3] or '0'), r[10] or '', r[11] or '0'
local function take(recovery)
  local lease = now + tonumber(ARGV[6])
  local expires = lease + tonumber(ARGV[7])
  -- First what needs memory: a full server refuses a script only at its first write.
  redis.call('HSET', key, 's', 'c', 'f', ARGV[2], 'n', int(fence + 1), 'o', ARGV[3], 'w', ARGV[4], 'l', int(lease), 'e', int(expires),
    'k', '0', 'z', '-', 'r', '', 't', ARGV[9], 'm', ARGV[8], 'c', int(now), 'x', recovery)
  if fence > 0 then
    redis.call('DEL', body)
    redis.call('HDEL', key, 'u')
  end
  -- What nobody may execute again must not vanish: such a claim stays until it is settled.
  if ARGV[4] == '1' then keep(key, expires - now + tonumber(ARGV[10])) else redis.call('PERSIST', key) end
  return {1, at, int(fence + 1), recovery, '0', '0', '', '', trace, claimed, ''}
end
if not state then return take('0') end
local expires = tonumber(r[6])
if state == 't' and expires <= now then
  redis.call('DEL', key)
  return take('0')
end
local function say(outcome, remaining, ok, text, resource)
  return {outcome, at, int(fence), r[12], int(remaining or 0), ok or '0', text or '', resource or '', trace, claimed, ''}
end
if r[2] ~= ARGV[2] then
  local res = say(3)
  res[11] = r[2]
  return res
end
if state == 'd' or state == 't' then
  if state == 'd' and expires > now and r[8] ~= '-' then
    local text = redis.call('GET', body)
    if text then return say(2, 0, r[7], text, r[9]) end
  end
  return say(6, 0, r[7], '', r[9])
end
if state == 'r' then return take(r[12]) end
if state == 'c' then
  if r[4] == ARGV[3] then return say(1) end
  local lease = tonumber(r[5])
  if lease > now then return say(4, lease - now) end
  if ARGV[5] == '1' then return take('1') end
  redis.call('HSET', key, 's', 'u')
  redis.call('PERSIST', key)
  return say(5)
end
if ARGV[5] == '1' then return take('1') end
return say(5)
