-- ARGV: now; returns state, fence, remaining, ok, answer, resource, trace, claimed at; outcome as in begin
local r = redis.call('HMGET', key, 's', 'n', 'l', 'e', 'k', 'z', 'r', 't', 'c')
local state = r[1]
if not state then return {0} end
local function say(outcome, remaining, text)
  return {outcome, r[2], int(remaining), r[5], text, r[7], r[8], r[9]}
end
if state == 'd' or state == 't' then
  if tonumber(r[4]) > now and r[6] ~= '-' then
    local text = redis.call('GET', body)
    if text then return say(2, 0, text) end
  end
  return say(6, 0, '')
end
if state == 'u' then return say(5, 0, '') end
return say(4, math.max(0, tonumber(r[3]) - now), '')
