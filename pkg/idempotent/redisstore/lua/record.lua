-- One record is a hash, its answer a string beside it (KEYS[2]) that Redis itself removes when its retention ends. The answer
-- tells all that a replay needs, so that a replay is a plain GET: seven parts with their lengths, then the body.
-- Fields: s state, f fingerprint, n fence, o owner, w recoverable, l lease until, e expires, k answer is ok, z size of the answer
-- ('-': none kept), r resource, t trace, m method, c claimed at, x an earlier attempt may have had its effect, u subject,
-- 's:NAME' steps. Times are microseconds: exact in a double until the year 2255.
local key, body = KEYS[1], KEYS[2]
local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local function int(n) return string.format('%.0f', n) end
-- keep lets Redis remove a key after us microseconds, never early.
local function keep(k, us) redis.call('PEXPIRE', k, int(math.max(1, math.ceil(us / 1000)))) end
local function drop_steps()
  for _, f in ipairs(redis.call('HKEYS', key)) do
    if string.sub(f, 1, 2) == 's:' then redis.call('HDEL', key, f) end
  end
end
-- done stores an answer for good: kept is '1' if there is a body.
local function done(ok, kept, text, resource, subject, retention, tombstone)
  redis.call('HSET', key, 's', 'd', 'k', ok, 'r', resource, 'z', kept == '1' and #text or '-', 'e', int(now + retention))
  if subject == '' then redis.call('HDEL', key, 'u') else redis.call('HSET', key, 'u', subject) end
  drop_steps()
  if kept == '1' then
    local r = redis.call('HMGET', key, 'f', 'n', 't', 'c')
    local whole = {}
    for _, part in ipairs({r[1], r[2], ok, resource, r[3], r[4], int(now + retention)}) do
      whole[#whole + 1] = struct.pack('>I4', #part)
      whole[#whole + 1] = part
    end
    whole[#whole + 1] = text
    redis.call('SET', body, table.concat(whole))
    keep(body, retention)
  end
  keep(key, retention + tombstone)
end
-- bury leaves the name of an answer and that there was one.
local function bury(tombstone)
  redis.call('DEL', body)
  redis.call('HSET', key, 's', 't', 'z', '-', 'e', int(now + tombstone))
  redis.call('HDEL', key, 'u')
  keep(key, tombstone)
end
-- release: what may have had its effect before is remembered as long as what had it.
local function release(retention, tombstone)
  if redis.call('HGET', key, 'x') ~= '1' then tombstone = 0 end
  redis.call('HSET', key, 's', 'r', 'l', int(now), 'e', int(now + retention))
  keep(key, retention + tombstone)
end
