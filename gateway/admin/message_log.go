package admin

import (
	"bytes"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"wcsgateway/translate/wcs"
)

const (
	maxLoggedMessages = 50 // that a MessageLog keeps, about 3 KB
	maxLoggedHooks    = 50 // stream and method, about 4 KB
)

// MessageLog keeps the types and sizes of a session's last messages, except for those that come regularly:
// pings, rates and batches of statistics. It also counts the hooks called for its streams. A nil MessageLog
// keeps nothing.
type MessageLog struct {
	mu    sync.Mutex
	ring  []MessageInfo
	next  int
	hooks []HookInfo // in the order of the last calls
}

func (l *MessageLog) add(m MessageInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < maxLoggedMessages {
		l.ring = append(l.ring, m)
		return
	}
	l.ring[l.next] = m
	l.next = (l.next + 1) % maxLoggedMessages
}

// Received records a command of the client. label is its name, or a placeholder for unknown names.
func (l *MessageLog) Received(label string, size int) {
	if l == nil {
		return
	}
	switch wcs.Name(label) {
	case wcs.CmdPing, wcs.CmdPong, wcs.CmdMetricsBatch:
	default:
		l.add(MessageInfo{At: time.Now(), In: true, Type: label, Bytes: size})
	}
}

// Sent records a message to the client.
func (l *MessageLog) Sent(frame []byte) {
	if l == nil {
		return
	}
	rest, _ := bytes.CutPrefix(frame, []byte(`{"message":"`))
	name, _, _ := bytes.Cut(rest, []byte{'"'})
	switch wcs.Name(name) {
	case wcs.NotePing, wcs.NoteInboundVideoRate, wcs.NoteOutboundVideoRate:
		return
	}
	l.add(MessageInfo{At: time.Now(), Type: string(name), Bytes: len(frame)})
}

// Called records the end of a hook's call, which began at since. body is what was sent. Hooks without a media
// id are those of the session, and are not kept.
func (l *MessageLog) Called(method string, body map[string]json.RawMessage, since time.Time, err error) {
	h := HookInfo{Method: method, Count: 1, At: time.Now(), Took: time.Since(since), Failed: err != nil}
	if l == nil || json.Unmarshal(body["mediaSessionId"], &h.MediaID) != nil || h.MediaID == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	same := func(old HookInfo) bool { return old.MediaID == h.MediaID && old.Method == h.Method }
	if i := slices.IndexFunc(l.hooks, same); i >= 0 {
		h.Count += l.hooks[i].Count
		l.hooks = slices.Delete(l.hooks, i, i+1)
	}
	l.hooks = append(l.hooks[max(0, len(l.hooks)+1-maxLoggedHooks):], h)
}

// Hooks returns the hooks called for the last streams, the last call last.
func (l *MessageLog) Hooks() []HookInfo {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.hooks)
}

// Last returns the messages, the newest last.
func (l *MessageLog) Last() []MessageInfo {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Concat(l.ring[l.next:], l.ring[:l.next])
}
