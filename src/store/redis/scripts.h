// The steps that have to be atomic and are more than one command. Each is one EVAL.
//
// replicate_commands is what Redis 6.2 needs before a script may write after it has called XADD,
// whose id it did not choose; later servers always do it.
#pragma once

namespace agx::redis {

// KEYS: stream, live flag. ARGV: token, lease ms, stream's expiry ms or 0, begin / take over /
// resume, fields of begin… The new entry comes first: a server that is out of memory refuses it
// before anything was dropped.
inline constexpr char kStart[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'none' and kind ~= 'stream' then return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind) end
local flag_kind = redis.call('TYPE', KEYS[2]).ok
if flag_kind ~= 'none' and flag_kind ~= 'string' then return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is a ' .. flag_kind) end
local flag = redis.call('GET', KEYS[2])
if flag and flag ~= ARGV[1] and ARGV[4] ~= 'take over' then return 'busy' end
local outcome = 'taken over'
if kind == 'none' or (not flag and ARGV[4] ~= 'resume') then
  outcome = 'started'
  local fields = {}
  for i = 5, #ARGV do fields[i - 4] = ARGV[i] end
  local id = redis.call('XADD', KEYS[1], '*', unpack(fields))
  redis.call('XTRIM', KEYS[1], 'MINID', id)
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
if ARGV[3] == '0' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return outcome
)";

// KEYS: stream, live flag. ARGV: token or '', grace ms, fields of end…
inline constexpr char kStop[] = R"(
if redis.replicate_commands then redis.replicate_commands() end
local flag_kind = redis.call('TYPE', KEYS[2]).ok
if flag_kind ~= 'none' and flag_kind ~= 'string' then return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' is a ' .. flag_kind) end
local flag = redis.call('GET', KEYS[2])
if flag and ARGV[1] ~= '' and flag ~= ARGV[1] then return 'taken over' end
local kind = redis.call('TYPE', KEYS[1]).ok
if not flag and kind == 'none' then return 'absent' end
if kind ~= 'none' and kind ~= 'stream' then return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. kind) end
local ended = false
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  for i = 1, #last[2], 2 do
    if last[2][i] == ARGV[3] then ended = last[2][i + 1] == ARGV[4] break end
  end
end
if not ended then
  local fields = {}
  for i = 3, #ARGV do fields[i - 2] = ARGV[i] end
  redis.call('XADD', KEYS[1], '*', unpack(fields))
end
redis.call('DEL', KEYS[2])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'stopped'
)";

// KEYS: stream, live flag. ARGV: token, lease ms, stream's expiry ms or 0.
inline constexpr char kRenew[] = R"(
local flag = redis.call('GET', KEYS[2])
if not flag then
  if redis.call('EXISTS', KEYS[1]) == 1 then return 'absent' else return 'lost' end
end
if flag ~= ARGV[1] then return 'other' end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 'own'
)";

// KEYS: live flag. ARGV: channel. Whom it concerns hears of it on the channel half a round trip
// after it happened, and from the tracking of the key in any case; so it does not matter if the
// user may not publish.
inline constexpr char kCancel[] = R"(
local token = redis.call('GETDEL', KEYS[1])
if not token then return 0 end
redis.pcall('PUBLISH', ARGV[1], token .. ' ' .. KEYS[1])
return 1
)";

// KEYS: live flag. ARGV: lease ms.
inline constexpr char kExtend[] = R"(
local ttl = redis.call('PTTL', KEYS[1])
if ttl == -2 then return 0 end
if ttl ~= -1 and ttl < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return 1
)";

}  // namespace agx::redis
