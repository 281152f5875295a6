package state

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"wcsgateway/e2e/rig"
)

// batchSizes is a hook that keeps the bytes of the records of each batch of sessions.
type batchSizes struct {
	mu    sync.Mutex
	bytes []int
}

func (h *batchSizes) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *batchSizes) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *batchSizes) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		n, records := 0, 0
		for _, c := range cmds {
			for _, arg := range c.Args() {
				if record, ok := arg.([]byte); ok {
					n += len(record)
					records++
				}
			}
		}
		if records > 0 {
			h.mu.Lock()
			h.bytes = append(h.bytes, n)
			h.mu.Unlock()
		}
		return next(ctx, cmds)
	}
}

// largestSession returns a session with the largest record that clients can cause: rooms and logins of
// characters that JSON escapes.
func largestSession(id string) Session {
	s := Session{ID: id, App: "roomApp", CreatedAt: time.Now(), Resumable: true}
	copy(s.TokenHash[:], id)
	for i := range 16 {
		name := fmt.Sprint(i) + strings.Repeat("<", 250)
		s.Rooms = append(s.Rooms, SessionRoom{Name: name, Member: Member{Login: strings.Repeat(`"`, 1018), ID: "0123456789abcdef", JoinedAt: time.Now()}})
	}
	return s
}

func TestLargeSessionsDoNotDelayOthers(t *testing.T) {
	t.Parallel()
	p := newPod(t, quickConfig(rig.StartRedis(t).Addr), podA)
	sizes := new(batchSizes)
	p.client.AddHook(sizes)
	const large = 64
	for i := range large {
		p.PutSession(largestSession(fmt.Sprintf("/%032d", i)))
	}
	other := Session{ID: "/other", App: "defaultApp", CreatedAt: time.Now()}
	p.PutSession(other)
	p.start(t)
	registered := func(id string) bool {
		_, err := p.FindSession(t.Context(), id)
		return err == nil
	}
	rig.Eventually(t, eventually, "the other session is registered", func() bool { return registered(other.ID) })
	for i := range large {
		rig.Eventually(t, eventually, "a large session is registered", func() bool { return registered(fmt.Sprintf("/%032d", i)) })
	}
	sizes.mu.Lock()
	defer sizes.mu.Unlock()
	all := 0
	for _, n := range sizes.bytes {
		all += n
		if n > sessionBatchBytes {
			t.Errorf("batch of %d bytes", n)
		}
	}
	if record := len(encodeSession(largestSession("/x"))); all < large*record || len(sizes.bytes) > 2+all/(sessionBatchBytes-record) {
		t.Errorf("%d batches of %v bytes", len(sizes.bytes), sizes.bytes)
	}
}

// A session whose key has a foreign value cannot be written.
func TestSessionThatCannotBeWrittenDoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	cfg := quickConfig(rig.StartRedis(t).Addr)
	var log logBuffer
	p, see := newPod(t, cfg, podA), client(t, cfg)
	p.log = zerolog.New(&log)
	for i := range 3 {
		id := fmt.Sprint("/bad", i)
		must(t, see.RPush(t.Context(), p.keys.session(id), "x").Err())
		p.PutSession(Session{ID: id, App: "a", CreatedAt: time.Now(), Resumable: true})
	}
	p.start(t)
	for i := range 20 {
		p.PutSession(Session{ID: fmt.Sprint("/good", i), App: "a", CreatedAt: time.Now(), Resumable: i%2 == 0})
	}
	for i := range 20 {
		rig.Eventually(t, eventually, "the others are registered", func() bool {
			_, err := p.FindSession(t.Context(), fmt.Sprint("/good", i))
			return err == nil
		})
	}
	for i := range 3 {
		rig.Eventually(t, eventually, "it is logged", func() bool {
			return contains(log.String(), "session cannot be registered") && contains(log.String(), fmt.Sprint("/bad", i))
		})
	}
	for i := range 3 {
		must(t, see.Del(t.Context(), p.keys.session(fmt.Sprint("/bad", i))).Err())
	}
	for i := range 3 {
		rig.Eventually(t, eventually, "it is registered in the end", func() bool {
			_, err := p.FindSession(t.Context(), fmt.Sprint("/bad", i))
			return err == nil
		})
	}
}

func TestFailedBatchesAreHalvedDownToOneSession(t *testing.T) {
	var b sessionWriter
	b.init()
	for i := range 100 {
		b.put(&Session{ID: fmt.Sprint(i)})
	}
	batches, alone, written := 0, 0, 0
	for ; alone < sessionTries; batches++ {
		write, _ := b.nextBatch()
		bad := false
		for _, s := range write {
			bad = bad || s.ID == "13"
		}
		if !bad {
			written += len(write)
			b.wrote(write, nil, nil)
			continue
		}
		b.requeue(write, nil)
		if len(write) == 1 {
			alone++
		}
		if tooOften := b.wrote(nil, write, ErrUnavailable); tooOften != (alone == sessionTries) {
			t.Errorf("too often: %v after %d failures alone", tooOften, alone)
		}
	}
	for write, _ := b.nextBatch(); len(write) > 1 || write[0].ID != "13"; write, _ = b.nextBatch() {
		written += len(write)
		b.wrote(write, nil, nil)
	}
	if written != 99 || batches > 200 {
		t.Errorf("%d sessions written in %d batches", written, batches)
	}
}

func TestSessionRecordIsBounded(t *testing.T) {
	s := largestSession("/x")
	record := encodeSession(s)
	if strings.Contains(string(record), `\u003c`) {
		t.Error("record has escapes for HTML")
	}
	for range 3 {
		s.Rooms = append(s.Rooms, s.Rooms...)
	}
	record = encodeSession(s)
	var got Session
	must(t, json.Unmarshal(record, &got))
	if len(record) > maxSessionRecord || len(got.Rooms) != len(s.Rooms) || got.Rooms[0].Name != s.Rooms[0].Name || got.Rooms[0].Member.ID != "" {
		t.Errorf("record of %d bytes with %d rooms, the first %+v", len(record), len(got.Rooms), got.Rooms[0])
	}
}
