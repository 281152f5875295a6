package upstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/socket"
	"wcsgateway/translate/transcript"
)

// transcribing returns a Links with its store, and a request for a session whose transcript is written.
func transcribing(t *testing.T) (*Links, *fakeUsageStore, Request) {
	t.Helper()
	to, err := NewServer(ServerConfig{Name: "old", URL: "ws://old"})
	if err != nil {
		t.Fatal(err)
	}
	store := new(fakeUsageStore)
	ls := NewLinks(Deps{Context: t.Context(), Usage: store, Recovered: func() {}, Log: zerolog.Nop()})
	return ls, store, Request{Client: clientAt("192.0.2.1"), App: "shop", Version: "2.0", To: to, Transcripts: 5}
}

func clientAt(address string) *socket.MeteredConn {
	return &socket.MeteredConn{Slot: socket.Slot{Key: netip.MustParseAddr(address)}}
}

func (f *fakeUsageStore) transcript(t *testing.T) (got transcript.Transcript) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.transcripts) != 1 {
		t.Fatalf("transcripts %v", f.transcripts)
	}
	text, ok := strings.CutPrefix(f.transcripts[0], "shop 5 ")
	if err := json.Unmarshal([]byte(text), &got); err != nil || !ok {
		t.Fatalf("%s: %v", f.transcripts[0], err)
	}
	return got
}

func TestMessagesAreDescribedInPiecesOfAnySize(t *testing.T) {
	large := []byte(`{"message":"snapshot","data":["` + strings.Repeat("x", maxDescribedMessage) + `"]}`)
	up := slices.Concat(
		frame(opText, true, 0xdeadbeef, []byte(`{"message":"call","data":[{}]}`)),
		frame(2, true, 7, []byte("binary")),
		frame(opText, false, 3, []byte(`{"message":"pub`)), frame(9, true, 1, []byte("ping")), frame(0, true, 4, []byte(`lishStream","data":[{"record":true}]}`)),
		frame(opText, true, 6, nil),
		frame(opText, true, 8, large),
		frame(opText, true, 0, []byte(`{"message":"pong","data":[null]}`)),
		frame(opClose, true, 1, []byte{3, 0xe8}),
	)
	for _, size := range []int{1, 5, 4096, len(up)} {
		d := describer{transcript.NewWriter(transcript.Transcript{}, nil), newAssembler(maxDescribedMessage), newAssembler(maxDescribedMessage)}
		for part := range slices.Chunk(up, size) {
			if !d.piece(piece{transcript.Client, time.Second, part}) {
				t.Fatal("no room")
			}
		}
		all := d.w.Finish(transcript.EndSession).Messages
		var names []string
		for _, m := range all {
			names = append(names, m.Name)
		}
		if want := []string{"call", "(binary)", "publishStream", "(invalid)", "(large)", "pong"}; !slices.Equal(names, want) {
			t.Errorf("pieces of %d: %v", size, names)
		} else if all[1].Bytes != 6 || all[4].Bytes != len(large) || all[0].At != 1000 || all[0].From != transcript.Client {
			t.Errorf("pieces of %d: %+v", size, all)
		}
	}
}

func TestTranscriptIsWrittenAtTheEndOfItsSession(t *testing.T) {
	ls, store, r := transcribing(t)
	tap := ls.transcribe(r)
	tap.take(transcript.Client, frame(opText, true, 1, []byte(`{"message":"call","data":[{}]}`)))
	tap.take(transcript.Server, frame(opText, true, 0, []byte(`{"message":"finish","data":[{"status":"FAILED"}]}`)))
	tap.end()
	ls.Wait()
	got := store.transcript(t)
	if len(got.Messages) != 2 || got.Messages[1].From != transcript.Server || got.App != "shop" || got.Upstream != "old" || got.ClientVersion != "2.0" || got.End != transcript.EndSession {
		t.Errorf("transcript %+v", got)
	}
}

func TestTranscriptOfFastSessionIsLostAndItsLinkGoesOn(t *testing.T) {
	for name, sent := range map[string][]byte{"bytes": make([]byte, maxTapped/2), "pieces": {1}} {
		t.Run(name, func(t *testing.T) {
			tap, pieces := newTap()
			for range 2 * maxTappedPieces { // none is described
				tap.take(transcript.Server, sent)
			}
			if n := tap.waiting.Load(); n > maxTapped+int64(len(sent)) || !tap.isLost() {
				t.Errorf("%d bytes wait", n)
			}
			tap.end()
			if end := newDescriber().run(tap, pieces); end != transcript.EndLost {
				t.Errorf("the transcript ends with %s", end)
			}
		})
	}
}

func newDescriber() *describer {
	return &describer{transcript.NewWriter(transcript.Transcript{}, nil), newAssembler(maxDescribedMessage), newAssembler(maxDescribedMessage)}
}

// A link keeps its tap until it ends. After the end of the transcript that holds no bytes of the session.
func TestTapOfTranscriptThatHasEndedHoldsNothing(t *testing.T) {
	message := frame(opText, true, 0, []byte(`{"message":"ping"}`))
	for end, send := range map[transcript.End]func(tap *tap){
		transcript.EndFull: func(tap *tap) {
			for range maxTappedPieces {
				tap.take(transcript.Server, bytes.Repeat(message, 40)) // 5,000 messages are the most
			}
		},
		transcript.EndLost: func(tap *tap) {
			for range maxTappedPieces + 1 {
				tap.take(transcript.Server, message)
			}
		},
		transcript.EndTime: func(tap *tap) { tap.take(transcript.Server, message) },
	} {
		t.Run(string(end), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tap, pieces := newTap()
				send(tap)
				if got := newDescriber().run(tap, pieces); got != end {
					t.Errorf("it ends with %s", got)
				}
				tap.take(transcript.Client, message)
				if tap.pieces != nil {
					t.Errorf("the tap holds %d pieces", len(tap.pieces))
				}
			})
		})
	}
}

func TestTranscriptsAreBoundedInTimeNumberAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ls, store, r := transcribing(t)
		if ls.transcribe(r) == nil || ls.transcribe(r) != nil {
			t.Error("two transcripts begin at once, or none")
		}
		for i := range transcriptsAtOnce - 1 {
			time.Sleep(transcriptInterval)
			r.Client = clientAt(fmt.Sprintf("198.51.100.%d", i))
			if ls.transcribe(r) == nil {
				t.Error("no further transcript")
			}
		}
		time.Sleep(transcriptInterval)
		r.Client = clientAt("203.0.113.1")
		if ls.transcribe(r) != nil {
			t.Error("too many transcripts at once")
		}
		other := r
		other.App = "other"
		tap := ls.transcribe(other)
		if tap == nil {
			t.Fatal("no transcript of another application")
		}
		time.Sleep(transcriptUnheard)
		tap.end()
		time.Sleep(transcriptTime)
		synctest.Wait()
		if ls.transcribe(r) == nil {
			t.Error("no transcript after the end of others")
		}
		store.mu.Lock()
		if n := len(store.transcripts); n != transcriptsAtOnce+1 {
			t.Errorf("%d transcripts", n)
		}
		store.mu.Unlock()
		time.Sleep(transcriptTime)
	})
}

// A client that opens and ends sessions without end leaves the transcripts of others in place.
func TestTranscriptsOfOneClientAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ls, store, r := transcribing(t)
		session := func(r Request, from transcript.Side) bool {
			time.Sleep(transcriptInterval)
			tap := ls.transcribe(r)
			tap.take(from, frame(opText, true, 0, []byte(`{"message":"ping","data":[]}`)))
			tap.end()
			synctest.Wait()
			return tap != nil
		}
		begun := 0
		for range 50 {
			if session(r, transcript.Server) {
				begun++
			}
		}
		if n := len(store.transcripts); n != transcriptsOfClient || begun != n {
			t.Errorf("%d transcripts began, and %d are kept", begun, n)
		}
		other := r
		other.Client = clientAt("198.51.100.1")
		session(other, transcript.Client)
		if len(store.transcripts) != transcriptsOfClient {
			t.Error("a short session without an answer has a transcript")
		}
		if !session(other, transcript.Server) {
			t.Error("no transcript of another client")
		}
		time.Sleep(transcriptMemory)
		if !session(r, transcript.Server) || len(ls.transcripts[r.App]) > 1 {
			t.Errorf("no transcript after a while, or places %v", ls.transcripts[r.App])
		}
	})
}

func TestNoTranscriptUnlessAskedFor(t *testing.T) {
	ls, _, r := transcribing(t)
	r.Transcripts = 0
	none := ls.transcribe(r)
	none.take(transcript.Client, []byte("x"))
	none.end()
	if none != nil {
		t.Error("a transcript is written")
	}
}

// A link passes the same bytes with a transcript, also while that is not taken from the tap.
func TestLinkIsNotHeldUpByItsTranscript(t *testing.T) {
	slow, _ := newTap() // nothing is described
	_, client, server, ended := tappedPipes(t, 4096, slow)
	message := frame(opText, true, 0, bytes.Repeat([]byte("x"), 1000))
	for range 2 * maxTappedPieces {
		go func() { _, _ = server.Write(message) }()
		got := make([]byte, len(message))
		for n := 0; n < len(got); {
			m, err := client.Read(got[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
		if !bytes.Equal(got, message) {
			t.Fatal("other bytes")
		}
	}
	_, _ = client.Close(), server.Close()
	<-ended
}
