package upstream

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"wcsgateway/translate/transcript"
)

// Bounds of the transcripts of an application's sessions on this pod.
const (
	transcriptTime      = 10 * time.Minute // of a session
	transcriptInterval  = time.Second      // between the beginnings of two
	transcriptsAtOnce   = 8
	transcriptsOfClient = 2 // of one address, that are open or began within transcriptMemory
	transcriptMemory    = time.Minute
	transcriptUnheard   = time.Second // a shorter session that the server answered nothing in is not kept
	maxTapped           = 256 << 10   // bytes of a session that wait for their description
	maxTappedPieces     = 256
	maxDescribedMessage = 128 << 10 // bytes; of larger messages only the size is written
)

// beginning is that of a transcript. It is guarded by Links.mu.
type beginning struct {
	at     time.Time
	client netip.Addr // by which limits count the client
	open   bool
}

// tap copies the bytes of a link for its transcript. It never holds the link up: a transcript that cannot
// keep up with its session ends. A tap whose transcript has ended holds nothing. All methods of a nil tap do
// nothing.
type tap struct {
	began time.Time // set once

	waiting atomic.Int64 // bytes in pieces

	mu     sync.Mutex
	pieces chan piece // nil: nothing more is taken; guarded by mu
	lost   bool       // the transcript could not keep up; guarded by mu
}

type piece struct {
	from transcript.Side
	at   time.Duration
	b    []byte
}

// newTap returns a tap, and what it takes. The channel is closed when nothing more is taken.
func newTap() (*tap, <-chan piece) {
	pieces := make(chan piece, maxTappedPieces)
	return &tap{began: time.Now(), pieces: pieces}, pieces
}

// take takes a copy of what a side has sent. Calls for the same side must not overlap.
func (t *tap) take(from transcript.Side, b []byte) {
	if t == nil || len(b) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pieces == nil {
		return
	}
	if t.waiting.Add(int64(len(b))) <= maxTapped {
		select {
		case t.pieces <- piece{from, time.Since(t.began), append([]byte(nil), b...)}:
			return
		default:
		}
	}
	t.lost = true
	t.close()
}

// end ends the transcript. It can be repeated.
func (t *tap) end() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.close()
}

// close needs mu.
func (t *tap) close() {
	if t.pieces != nil {
		close(t.pieces)
		t.pieces = nil
	}
}

func (t *tap) isLost() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}

// transcribe begins the transcript of a link that is about to run. It returns nil if none is to be written.
func (ls *Links) transcribe(r Request) *tap {
	if r.Transcripts == 0 || r.App == "" || ls.Usage == nil {
		return nil
	}
	place := ls.takeTranscript(r.App, r.Client.Key)
	if place == nil {
		return nil
	}
	t, pieces := newTap()
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	head := transcript.Transcript{App: r.App, Upstream: r.To.Name(), ClientVersion: r.Version, Began: t.began.UTC().Truncate(time.Second)}
	ls.running.Add(1) // not after Wait: the link is among those that it waits for
	go func() {
		defer ls.running.Done()
		defer ls.Recovered()
		defer ls.releaseTranscript(place)
		d := describer{transcript.NewWriter(head, key), newAssembler(maxDescribedMessage), newAssembler(maxDescribedMessage)}
		end := d.run(t, pieces)
		if result := d.w.Finish(end); time.Since(t.began) >= transcriptUnheard || answered(result) {
			ls.writeTranscript(r, result)
		}
	}()
	return t
}

// answered reports whether the server sent something.
func answered(t transcript.Transcript) bool {
	return slices.ContainsFunc(t.Messages, func(m transcript.Message) bool { return m.From == transcript.Server })
}

// takeTranscript returns the place of a transcript that begins, nil if none may begin. There are few places,
// because of the interval between two.
func (ls *Links) takeTranscript(app string, client netip.Addr) *beginning {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	all := slices.DeleteFunc(ls.transcripts[app], func(b *beginning) bool { return !b.open && time.Since(b.at) >= transcriptMemory })
	ls.transcripts[app] = all
	open, own := 0, 0
	for _, b := range all {
		if time.Since(b.at) < transcriptInterval {
			return nil
		}
		if b.open {
			open++
		}
		if b.client == client {
			own++
		}
	}
	if open == transcriptsAtOnce || own == transcriptsOfClient {
		return nil
	}
	place := &beginning{at: time.Now(), client: client, open: true}
	ls.transcripts[app] = append(all, place)
	return place
}

func (ls *Links) releaseTranscript(place *beginning) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	place.open = false
}

func (ls *Links) writeTranscript(r Request, t transcript.Transcript) {
	text, err := json.Marshal(t)
	if err == nil {
		err = ls.Usage.AddTranscript(context.WithoutCancel(ls.Context), r.App, r.Transcripts, text)
	}
	if err != nil {
		ls.Log.Debug().Err(err).Str("app", r.App).Msg("transcript not written")
	}
}

// describer describes the messages of one session.
type describer struct {
	w        *transcript.Writer
	up, down *assembler
}

// run describes the pieces of a tap until the end of the link, of the time or of the room. The tap takes
// nothing afterwards.
func (d *describer) run(t *tap, pieces <-chan piece) transcript.End {
	defer t.end()
	timeout := time.NewTimer(transcriptTime)
	defer timeout.Stop()
	for {
		select {
		case p, open := <-pieces:
			switch {
			case !open && t.isLost():
				return transcript.EndLost
			case !open:
				return transcript.EndSession
			case !d.piece(p):
				return transcript.EndFull
			}
			t.waiting.Add(-int64(len(p.b)))
		case <-timeout.C:
			return transcript.EndTime
		}
	}
}

// piece reports whether there is room for more.
func (d *describer) piece(p piece) bool {
	a := d.down
	if p.from == transcript.Client {
		a = d.up
	}
	room := true
	for rest := p.b; len(rest) > 0 && room; {
		n, _, ended := a.next(rest)
		rest = rest[n:]
		switch {
		case !ended || !a.complete():
		case a.binary:
			room = d.w.Other(p.at, p.from, transcript.NameBinary, int(a.length))
		case a.length > maxDescribedMessage:
			room = d.w.Other(p.at, p.from, transcript.NameLarge, int(a.length))
		default:
			room = d.w.Text(p.at, p.from, a.text)
		}
	}
	return room
}

// assembler puts the messages of one direction together.
type assembler struct {
	scanner
	limit  uint64 // bytes of a message that is kept; set once
	binary bool
	length uint64 // of the message
	text   []byte // unmasked, not of messages that are too large
}

func newAssembler(limit uint64) *assembler {
	a := &assembler{limit: limit}
	a.onPayload = a.payload
	return a
}

func (a *assembler) payload(b []byte) {
	if a.control() {
		return
	}
	at := a.size() - a.left // position in the frame
	if a.opcode() != opContinuation && at == 0 {
		a.binary, a.length, a.text = a.opcode() != opText, 0, a.text[:0]
	}
	a.length += uint64(len(b))
	if a.binary || a.length > a.limit {
		return
	}
	for i, c := range b {
		if a.masked() {
			c ^= a.head[a.headSize()-4+int((at+uint64(i))%4)]
		}
		a.text = append(a.text, c)
	}
}

// complete reports whether a frame that has ended is the last one of a message.
func (a *assembler) complete() bool { return a.final() && !a.control() }

func (a *assembler) control() bool { return a.opcode() >= opClose }
