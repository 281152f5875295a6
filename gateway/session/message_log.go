package session

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"wcsgateway/gateway/admin"
	"wcsgateway/gateway/socket"
	"wcsgateway/translate/wcs"
)

// maxRecent is how many messages of a session are remembered, some 3 KB.
const maxRecent = 50

// recent are the last messages of a session, without what comes every second or so: pings and rates. A nil one remembers nothing.
type recent struct {
	mu   sync.Mutex
	ring []admin.MessageInfo
	next int
}

func newRecent(on bool) *recent {
	if !on {
		return nil
	}
	return &recent{}
}

func (r *recent) add(e admin.MessageInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, e)
		return
	}
	r.ring[r.next] = e
	r.next = (r.next + 1) % maxRecent
}

// received notes a command of the client.
func (r *recent) received(label string, size int) {
	if r != nil {
		r.add(admin.MessageInfo{At: time.Now(), In: true, Type: label, Bytes: size})
	}
}

var messageField = []byte(`{"message":"`)

// sent notes a message to the client.
func (r *recent) sent(frame []byte) {
	if r == nil || bytes.Equal(frame, socket.PingFrame) {
		return
	}
	rest, _ := bytes.CutPrefix(frame, messageField)
	name, _, _ := bytes.Cut(rest, []byte{'"'})
	switch wcs.Name(name) {
	case wcs.NoteInboundVideoRate, wcs.NoteOutboundVideoRate:
		return
	}
	r.add(admin.MessageInfo{At: time.Now(), Type: string(name), Bytes: len(frame)})
}

// last gives the messages, the newest last.
func (r *recent) last() []admin.MessageInfo {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.ring[r.next:], r.ring[:r.next])
}
