package state

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// The content of Redis, read at once between two steps of the model.

const modelDump = `
local all = {}
local keys = redis.call('KEYS', 'wcs:model:*')
table.sort(keys)
for _, k in ipairs(keys) do
  local t = redis.call('TYPE', k).ok
  local row = {}
  if t == 'hash' then row = redis.call('HGETALL', k)
  elseif t == 'set' then row = redis.call('SMEMBERS', k)
  else row = {redis.call('GET', k)} end
  table.insert(row, 1, k)
  all[#all + 1] = row
end
return all`

// modelAge shortens every lease.
const modelAge = `
for _, k in ipairs(redis.call('KEYS', 'wcs:model:*:lease')) do
  local left = redis.call('PTTL', k) - ARGV[1]
  if left < 60000 then redis.call('DEL', k) else redis.call('PEXPIRE', k, left) end
end
return 'ok'`

// owned is a record, player or media id.
type owned struct {
	owner string
	entry string // its entry in its owner's index
}

type snapshot struct {
	owned   map[string]owned           // by a readable name; includes sessions
	ended   map[string]string          // of permanently ended sessions: the claim under which each ended
	index   map[string]map[string]bool // entries by owner
	players map[string]bool            // "stream owner" of the sets of owners
	taken   map[string]string          // taker by owner
	leases  map[string]bool            // by owner
	pods    map[string]bool            // by owner
}

func newSnapshot() snapshot {
	return snapshot{
		map[string]owned{}, map[string]string{}, map[string]map[string]bool{}, map[string]bool{}, map[string]string{}, map[string]bool{}, map[string]bool{},
	}
}

func readSnapshot(ctx context.Context, c redis.UniversalClient) (snapshot, error) {
	s := newSnapshot()
	rows, err := c.Eval(ctx, modelDump, nil).Slice()
	if err != nil {
		return s, err
	}
	for _, r := range rows {
		var words []string
		for _, w := range r.([]any) {
			words = append(words, w.(string))
		}
		if err := s.add(strings.TrimPrefix(words[0], "wcs:model:"), words[1:]); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *snapshot) add(key string, row []string) error {
	switch {
	case key == "pods":
		for i := 0; i < len(row); i += 2 {
			s.pods[row[i]] = true
		}
	case strings.HasPrefix(key, "media:"):
		owner, e, _ := strings.Cut(row[0], " ")
		s.owned[key] = owned{owner, e[:strings.LastIndexByte(e, ' ')]}
	case strings.HasPrefix(key, "session:"):
		s.addSession(key, row[0])
	case strings.HasPrefix(key, "{pod:"):
		owner, what, _ := strings.Cut(strings.TrimPrefix(key, "{pod:"), "}:")
		s.addOfPod(owner, what, row)
	case strings.HasPrefix(key, "{stream:"):
		name, what, _ := strings.Cut(strings.TrimPrefix(key, "{stream:"), "}:")
		s.addOfStream(name, what, row)
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}

func (s *snapshot) addSession(key, value string) {
	if mark, ended := strings.CutPrefix(value, endedSession+" "); ended {
		s.ended[key] = strings.Split(mark, " ")[1]
		return
	}
	words := strings.SplitN(value, " ", 3)
	s.owned[key] = owned{words[0], registration{id: strings.TrimPrefix(key, "session:"), claim: words[1]}.String()}
}

func (s *snapshot) addOfPod(owner, what string, row []string) {
	switch what {
	case "lease":
		s.leases[owner] = true
	case "taken":
		s.taken[owner] = row[0]
	case "index", "sessions":
		if s.index[owner] == nil {
			s.index[owner] = make(map[string]bool)
		}
		for i := 0; i < len(row); i += 2 {
			s.index[owner][row[i]] = true
		}
	}
}

func (s *snapshot) addOfStream(name, what string, row []string) {
	if owner, ok := strings.CutPrefix(what, "players:"); ok {
		for i := 0; i < len(row); i += 2 {
			s.owned["player "+owner+" "+row[i]+" "+name] = owned{owner, playerEntry + " " + row[i] + " " + name}
		}
		return
	}
	switch what {
	case "record":
		h := make(map[string]string)
		for i := 0; i < len(row); i += 2 {
			h[row[i]] = row[i+1]
		}
		s.owned["record "+name] = owned{h["owner"], streamEntry + " " + h["claim"] + " " + name}
	case "players":
		for _, owner := range row {
			s.players[name+" "+owner] = true
		}
	}
}
