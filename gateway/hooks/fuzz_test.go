package hooks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// FuzzResponse feeds arbitrary bytes to the client as a response.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"a\":\"hello\"}",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.0 200\r\n\r\n\xef\xbb\xbf {\"name\":\"caf\xe9\",\"custom\":{\"a\":[1,null,\"\\u2028\"]}}",
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No seats\x07 left caf\xe9\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTrailer: A\r\nContent-Length: 2\r\n\r\n[]",
		"{\"a\":1}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b := newBackend(t, Config{URL: "http://backend/", MaxResponseBytes: 4 << 10}, Deps{})
		b.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if take(bufio.NewReader(theirs)) {
					_, _ = theirs.Write(text) // the client might not read all of it
				}
			}()
			return ours, nil
		}
		start := time.Now()
		o, err := b.Call(t.Context(), Connect, nil)
		checkAnswer(t, o, err)
		if time.Since(start) > patience/2 {
			t.Error("took too long")
		}
		if o, err := decode(text); err == nil {
			checkAnswer(t, o, nil)
		}
		checkReason(t, reason(string(text), 403))
	})
}

func checkAnswer(t *testing.T, o Object, err error) {
	t.Helper()
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		checkReason(t, refusal.Reason)
	case err != nil:
		if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBadResponse) {
			t.Errorf("error is %v", err)
		}
	case o == nil:
		t.Error("the answer is nil")
	}
	for name, v := range o {
		if !json.Valid(v) || !utf8.Valid(v) || !utf8.ValidString(name) {
			t.Errorf("member %q is %q", name, v)
		}
	}
}

func checkReason(t *testing.T, reason string) {
	t.Helper()
	unfit := func(r rune) bool { return !unicode.IsPrint(r) }
	if reason == "" || len(reason) > maxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, unfit) {
		t.Errorf("reason is %q", reason)
	}
}

// FuzzPolicies applies arbitrary policies to an arbitrary object and answer.
func FuzzPolicies(f *testing.F) {
	f.Add([]byte(`{"publishStream":{"restExclude":"sdp","clientExclude":"name","restOnError":"FAIL","restPolicy":"OVERWRITE","restOverwrite":"name,sdp"}}`),
		[]byte(publishSample), []byte(`{"name":"x","sdp":"","record":true}`))
	f.Add([]byte(`{"publishStream":{"restPolicy":"DISABLED","restOverwrite":3},"call":null}`), []byte(`{"a":1}`), []byte(`{"a":1.0}`))
	f.Add([]byte(`{"publishStream":"FAIL","connect":{}}`), []byte(`{"name":"a","appKey":"b"}`), []byte(`{"name":"\u0061","appKey":"c"}`))
	f.Fuzz(func(t *testing.T, config, sent, got []byte) {
		s, errSent := decode(sent)
		g, errGot := decode(got)
		c, err := decode([]byte(`{"c":` + string(config) + `}`))
		if errSent != nil || errGot != nil || err != nil {
			return
		}
		ps, err := ParsePolicies(c["c"])
		if again, errAgain := ParsePolicies(c["c"]); len(again) != len(ps) || (err == nil) != (errAgain == nil) {
			t.Errorf("parsing again returns %v, %v", again, errAgain)
		}
		before := maps.Clone(s)
		p := ps.For(PublishStream)
		checkWithout(t, "request", s, p.Request(s), p.RestExclude)
		checkWithout(t, "for the client", s, p.ForClient(s), p.ClientExclude)
		o, changed := p.Take(s, g)
		if p.Mode != Overwrite && changed != nil {
			t.Errorf("took %v", changed)
		}
		for _, name := range changed {
			if !slices.Contains(p.Overwrite, name) {
				t.Errorf("took %q, which is protected", name)
			}
		}
		checkTaken(t, s, g, o, changed)
		o, changed = TakeConnect(s, g)
		checkTaken(t, s, g, o, changed)
		checkWithout(t, "sent", before, s, nil)
	})
}

func checkWithout(t *testing.T, what string, o, got Object, names []string) {
	t.Helper()
	want := maps.Clone(o)
	maps.DeleteFunc(want, func(name string, _ json.RawMessage) bool { return slices.Contains(names, name) })
	if !maps.EqualFunc(want, got, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
		t.Errorf("%s: got %q of %q without %q", what, got, o, names)
	}
}

// checkTaken checks that changed members come from the answer and are not protected, and that the others are
// unchanged.
func checkTaken(t *testing.T, sent, got, o Object, changed []string) {
	t.Helper()
	if !slices.IsSorted(changed) {
		t.Errorf("%v is not sorted", changed)
	}
	for _, name := range changed {
		if !bytes.Equal(o[name], got[name]) || bytes.Equal(o[name], sent[name]) {
			t.Errorf("%q became %s of %s and %s", name, o[name], sent[name], got[name])
		}
	}
	for _, name := range []string{"mediaSessionId", "sdp", "sessionId", "appKey", "nodeId", "authToken", "restClientConfig"} {
		if slices.Contains(changed, name) && name != "authToken" && name != "restClientConfig" {
			t.Errorf("%s was changed", name)
		}
	}
	rest := without(o, changed)
	checkWithout(t, "the rest", sent, rest, changed)
}
