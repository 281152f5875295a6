package clients

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"wcsgateway/e2e/rig"
)

// python is Debian's interpreter: the modules are Debian packages, which others do not find.
const python = "/usr/bin/python3"

// peer is a WebRTC implementation in a process of its own, a script in peer/. The test speaks WCS for it.
type peer struct {
	t     *testing.T
	stdin io.WriteCloser

	offer   chan string
	changed chan struct{} // closed and replaced at each line

	mu      sync.Mutex
	decoded decoded
	fault   string
}

// decoded are the frames that a player has decoded.
type decoded struct{ Audio, Video int }

// startPeer runs a script. It ends with the test.
func startPeer(t *testing.T, script string, args ...string) *peer {
	t.Helper()
	cmd := exec.Command(python, append([]string{"peer/" + script}, args...)...)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s (.ci/setup installs it): %v", script, err)
	}
	p := &peer{t: t, stdin: stdin, offer: make(chan string, 1), changed: make(chan struct{})}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read(stdout)
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // the script ends
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	})
	return p
}

func (p *peer) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var m struct {
			Offer, Error string
			Media        *decoded
		}
		err := json.Unmarshal(lines.Bytes(), &m)
		if m.Offer != "" {
			p.offer <- m.Offer
		}
		p.mu.Lock()
		if m.Media != nil {
			p.decoded = *m.Media
		}
		if err != nil {
			m.Error = fmt.Sprintf("%v: %s", err, lines.Text())
		}
		p.fault += m.Error
		p.announce()
		p.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault += "; the script has ended"
	p.announce()
}

// announce wakes waiting calls. It needs mu.
func (p *peer) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// awaitOffer waits for the peer's offer.
func (p *peer) awaitOffer() string {
	p.t.Helper()
	select {
	case sdp := <-p.offer:
		return sdp
	case <-time.After(patience):
		p.t.Fatal("no offer")
		return ""
	}
}

// setAnswer applies the answer.
func (p *peer) setAnswer(sdp string) {
	p.t.Helper()
	if err := json.NewEncoder(p.stdin).Encode(map[string]string{"answer": sdp}); err != nil {
		p.t.Fatal(err)
	}
}

// wantMedia waits until a player has decoded at least so much.
func (p *peer) wantMedia(want decoded) {
	p.t.Helper()
	limit := time.After(patience)
	for {
		p.mu.Lock()
		got, fault, changed := p.decoded, p.fault, p.changed
		p.mu.Unlock()
		switch {
		case fault != "":
			p.t.Fatalf("the peer has failed: %s", fault)
		case got.Audio >= want.Audio && got.Video >= want.Video:
			return
		}
		select {
		case <-changed:
		case <-limit:
			p.t.Fatalf("decoded %+v, want %+v", got, want)
		}
	}
}

// begin publishes or plays a stream with the peer, in a session of its own, and waits for the status.
func (p *peer) begin(s *stage, verb, name, status string) rig.Status {
	p.t.Helper()
	c := rig.Connect(p.t, s.Gateway.URL, "defaultApp")
	id := verb + "-" + name
	c.Send(verb, rig.StreamRequest(id, name, p.awaitOffer(), verb == "publishStream", nil))
	p.setAnswer(c.AwaitSDP(id))
	return c.WantStatus(id, status, "")
}
