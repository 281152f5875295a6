package admin

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"wcsgateway/translate/wcs"
)

// maxLoggedMessages is the number of messages that a MessageLog keeps, about 3 KB.
const maxLoggedMessages = 50

// MessageLog keeps the types and sizes of a session's last messages, except for those that come regularly:
// pings, rates and batches of statistics. A nil MessageLog keeps nothing.
type MessageLog struct {
	mu   sync.Mutex
	ring []MessageInfo
	next int
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

// Last returns the messages, the newest last.
func (l *MessageLog) Last() []MessageInfo {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Concat(l.ring[l.next:], l.ring[:l.next])
}
