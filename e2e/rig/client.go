package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wcsgateway/internal/wcsclient"
)

// Message is a message of the server.
type Message struct{ wcsclient.Message }

// Status are the members of a status event that tests look at.
type Status struct {
	MediaSessionID string  `json:"mediaSessionId"`
	Name           string  `json:"name"`
	Status         string  `json:"status"`
	Info           string  `json:"info"`
	AudioCodec     string  `json:"audioCodec"`
	VideoCodec     string  `json:"videoCodec"`
	HasAudio       bool    `json:"hasAudio"`
	HasVideo       bool    `json:"hasVideo"`
	Width          int     `json:"width"`
	Height         int     `json:"height"`
	CreateDate     float64 `json:"createDate"`
	Record         bool    `json:"record"`
	RecordName     string  `json:"recordName"`
}

// Arg decodes data[i] into v.
func (m Message) Arg(t testing.TB, i int, v any) {
	t.Helper()
	if i >= len(m.Data) {
		t.Fatalf("no data[%d] in %s", i, m.Raw)
	}
	if err := json.Unmarshal(m.Data[i], v); err != nil {
		t.Fatalf("data[%d] of %s: %v", i, m.Raw, err)
	}
}

// Client is a WCS client without an SDK: it sends what a test orders and keeps what it receives. It answers
// pings until StopPongs or Freeze is called.
type Client struct {
	t    testing.TB
	conn *wcsclient.Conn

	mu             sync.Mutex
	stopsPongs     bool
	frozen         bool
	beforePong     func()
	acceptsUnknown bool
	observer       func(Message)
	inbox          []Message
	faults         []string      // messages that a strict client cannot decode
	news           chan struct{} // closed and replaced at each message
	err            error         // that ended the socket
}

// patience is how long a client waits for anything; tests on a loaded machine are slow.
const patience = 40 * time.Second

// Dial opens a socket.
func Dial(t testing.TB, url string) *Client {
	t.Helper()
	return DialWith(t, websocket.DefaultDialer, url)
}

// DialFrom opens a socket as a page of an origin does.
func DialFrom(t testing.TB, url, origin string) *Client {
	t.Helper()
	return dial(t, websocket.DefaultDialer, url, http.Header{"Origin": {origin}})
}

// DialWith opens a socket in a way of the test's own.
func DialWith(t testing.TB, dialer *websocket.Dialer, url string) *Client {
	t.Helper()
	return dial(t, dialer, url, nil)
}

func dial(t testing.TB, dialer *websocket.Dialer, url string, header http.Header) *Client {
	t.Helper()
	conn, err := wcsclient.Dial(context.Background(), dialer, url, header, 0)
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	c := &Client{t: t, conn: conn, news: make(chan struct{})}
	conn.OnPing(c.pong)
	go c.read()
	t.Cleanup(func() {
		c.Close()
		c.reportFaults()
	})
	return c
}

// Connect opens a socket and a session.
func Connect(t testing.TB, url, appKey string) *Client {
	t.Helper()
	c := Dial(t, url)
	c.Login(appKey)
	return c
}

// Login opens a session.
func (c *Client) Login(appKey string) {
	c.t.Helper()
	c.Send("connection", map[string]any{"appKey": appKey, "mediaProviders": []string{"WebRTC"}, "clientVersion": "2.0", "msePacketizationVersion": 2})
	c.Await("getUserData")
}

// ConnectKept opens a session with keepAlive, with the authToken of an earlier one unless that is empty, and
// returns its own.
func ConnectKept(t testing.TB, url, appKey, token string) (c *Client, authToken string) {
	t.Helper()
	c = Dial(t, url)
	return c, c.LoginKept(appKey, token)
}

// LoginKept is Login with keepAlive. It returns the session's authToken.
func (c *Client) LoginKept(appKey, token string) (authToken string) {
	c.t.Helper()
	hello := map[string]any{"appKey": appKey, "mediaProviders": []string{"WebRTC"}, "clientVersion": "2.0", "msePacketizationVersion": 2, "keepAlive": true}
	if token != "" {
		hello["authToken"] = token
	}
	c.Send("connection", hello)
	var got struct {
		AuthToken string `json:"authToken"`
	}
	c.Await("getUserData").Arg(c.t, 0, &got)
	return got.AuthToken
}

func (c *Client) read() {
	c.conn.Read(c.take)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = c.conn.Err()
	c.announce()
}

func (c *Client) take(m wcsclient.Message) error {
	c.mu.Lock()
	c.inbox = append(c.inbox, Message{m})
	if err := checkTypes(m.Raw); err != nil && !c.acceptsUnknown {
		c.faults = append(c.faults, fmt.Sprintf("%v: %s", err, cutText(m.Raw)))
	}
	mute, observer := c.stopsPongs, c.observer
	c.announce()
	c.mu.Unlock()
	if observer != nil {
		observer(Message{m})
	}
	if m.Name == "ping" && !mute {
		c.SendRaw(`{"message":"pong","data":[null]}`)
	}
	return nil
}

// Observe calls f with each later message, also with those that the test takes from the inbox.
func (c *Client) Observe(f func(Message)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.observer = f
}

// AcceptUnknown accepts messages that a strict client cannot decode: those that no SDK knows, and those of
// applications whose backend excludes members.
func (c *Client) AcceptUnknown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acceptsUnknown, c.faults = true, nil
}

func (c *Client) reportFaults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fault := range c.faults {
		c.t.Errorf("a strict client cannot decode: %s", fault)
	}
}

// announce wakes waiting calls. It needs mu.
func (c *Client) announce() {
	close(c.news)
	c.news = make(chan struct{})
}

// StopPongs stops answering the gateway's JSON pings.
func (c *Client) StopPongs() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopsPongs = true
}

// Freeze lets the client answer nothing at all any more, as one whose network has dropped.
func (c *Client) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopsPongs, c.frozen = true, true
}

// BeforePong sets what is called before the client answers an RFC 6455 ping.
func (c *Client) BeforePong(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beforePong = f
}

func (c *Client) pong(data string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		return nil
	}
	if c.beforePong != nil {
		c.beforePong()
	}
	return c.conn.Pong(data)
}

// Send sends a message with one argument. A closed socket is not a failure: the gateway can close first.
func (c *Client) Send(name string, arg any) { _ = c.conn.Send(name, arg) }

// SendRaw sends a text frame. A closed socket is not a failure: the gateway can close first.
func (c *Client) SendRaw(text string) { _ = c.conn.SendRaw([]byte(text)) }

// Close closes the socket as a browser does, and waits until it is closed.
func (c *Client) Close() { c.conn.Close() }

// Drop ends the TCP connection without a close frame.
func (c *Client) Drop() { c.conn.Drop() }

// Open reports whether the socket is open, as far as the client knows.
func (c *Client) Open() bool {
	select {
	case <-c.conn.Done():
		return false
	default:
		return true
	}
}

// AwaitClosed waits until the gateway has closed the socket and returns the client's error.
func (c *Client) AwaitClosed() error {
	c.t.Helper()
	select {
	case <-c.conn.Done():
	case <-time.After(patience):
		c.t.Fatal("socket is still open")
	}
	return c.conn.Err()
}

// Await takes the next message with the name out of the inbox.
func (c *Client) Await(name string) Message {
	c.t.Helper()
	return c.AwaitMatch(name, func(m Message) bool { return m.Name == name })
}

// AwaitMatch takes the first message that matches out of the inbox. what is for the failure.
func (c *Client) AwaitMatch(what string, match func(Message) bool) Message {
	c.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		m, found, news, err := c.find(match)
		if found {
			return m
		}
		if err != nil {
			c.t.Fatalf("socket closed (%v) while waiting for %s; inbox: %s", err, what, c.Names())
		}
		select {
		case <-news:
		case <-limit.C:
			c.t.Fatalf("no %s; inbox: %s", what, c.Names())
		}
	}
}

// find takes the first message that matches out of the inbox. match can end the test. Without a message it
// returns what announces the next one, and the error that ended the socket.
func (c *Client) find(match func(Message) bool) (m Message, found bool, news <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range c.inbox {
		if match(m) {
			c.inbox = append(c.inbox[:i:i], c.inbox[i+1:]...)
			return m, true, nil, nil
		}
	}
	return Message{}, false, c.news, c.err
}

// AwaitStatus takes the stream's next status event.
func (c *Client) AwaitStatus(mediaID string) Status {
	c.t.Helper()
	var s Status
	c.AwaitMatch("status of "+mediaID, func(m Message) bool {
		if m.Name != "notifyStreamStatusEvent" {
			return false
		}
		s = Status{}
		m.Arg(c.t, 0, &s)
		return s.MediaSessionID == mediaID
	})
	return s
}

// WantStatus takes the stream's next status event and checks it.
func (c *Client) WantStatus(mediaID, status, info string) Status {
	c.t.Helper()
	s := c.AwaitStatus(mediaID)
	if s.Status != status || s.Info != info {
		c.t.Errorf("%s: %s %q, want %s %q", mediaID, s.Status, s.Info, status, info)
	}
	return s
}

// Discard empties the inbox.
func (c *Client) Discard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inbox = nil
}

// Count counts messages that are still in the inbox.
func (c *Client) Count(name string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.inbox {
		if m.Name == name {
			n++
		}
	}
	return n
}

// Names lists what is in the inbox, for failures.
func (c *Client) Names() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, m := range c.inbox {
		if m.Name != "ping" {
			names = append(names, cutText(m.Raw))
		}
	}
	return fmt.Sprintf("[%s]", strings.Join(names, ", "))
}

func cutText(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// StreamRequest is publishStream or playStream as an SDK sends it. extra adds or replaces members.
func StreamRequest(mediaID, name, sdp string, published bool, extra map[string]any) map[string]any {
	r := wcsclient.StreamRequest(mediaID, name, sdp, published, true, true)
	for k, v := range extra {
		r[k] = v
	}
	return r
}

// StartPublish sends publishStream and applies the answer to the peer.
func (c *Client) StartPublish(mediaID, name string, peer *Peer, extra map[string]any) {
	c.t.Helper()
	c.Send("publishStream", StreamRequest(mediaID, name, peer.Offer(), true, extra))
	peer.SetAnswer(c.AwaitSDP(mediaID))
}

// AwaitSDP takes the answer for a stream.
func (c *Client) AwaitSDP(mediaID string) (sdp string) {
	c.t.Helper()
	m := c.AwaitMatch("setRemoteSDP for "+mediaID, func(m Message) bool {
		if m.Name != "setRemoteSDP" {
			return false
		}
		var id string
		m.Arg(c.t, 0, &id)
		return id == mediaID
	})
	m.Arg(c.t, 1, &sdp)
	var answer bool
	if m.Arg(c.t, 2, &answer); !answer {
		c.t.Errorf("third element of setRemoteSDP is not true")
	}
	return sdp
}

// Publish publishes and waits for PUBLISHING.
func (c *Client) Publish(mediaID, name string, peer *Peer) Status {
	c.t.Helper()
	c.StartPublish(mediaID, name, peer, nil)
	return c.WantStatus(mediaID, "PUBLISHING", "")
}

// Play plays and waits for PLAYING.
func (c *Client) Play(mediaID, name string, peer *Peer) Status {
	c.t.Helper()
	c.Send("playStream", StreamRequest(mediaID, name, peer.Offer(), false, nil))
	peer.SetAnswer(c.AwaitSDP(mediaID))
	return c.WantStatus(mediaID, "PLAYING", "")
}

// Unpublish sends unPublishStream.
func (c *Client) Unpublish(mediaID, name string) {
	c.Send("unPublishStream", map[string]any{"mediaSessionId": mediaID, "name": name, "published": true, "hasVideo": true, "hasAudio": true, "status": "PUBLISHING", "record": false})
}

// Stop sends stopStream.
func (c *Client) Stop(mediaID, name string) {
	c.Send("stopStream", map[string]any{"mediaSessionId": mediaID, "name": name, "published": false, "hasVideo": true, "hasAudio": true, "status": "PLAYING", "record": false})
}
