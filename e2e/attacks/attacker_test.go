package attacks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/webrtc/v4"

	"wcsgateway/e2e/rig"
)

// The environment variables that configure an attacker process.
const (
	attackName = "ATTACKS_NAME"
	attackURL  = "ATTACKS_URL"  // of the WebSocket listener
	attackHook = "ATTACKS_HOOK" // of the webhook endpoint
	attacking  = "attacking"    // printed when the attack has begun
)

// attackers is the number of goroutines of one attack.
const attackers = 8

// load is a continuous attack. A single attempt may fail; the attempts never stop.
type load struct {
	name    string
	attempt func(*attackerProcess) error
	// refusals are the reasons counted in wcs_refusals_total. Without reasons the gateway refuses otherwise.
	refusals []string
}

var loads = []load{
	{"handshakes that never end", (*attackerProcess).beginHandshake, []string{"handshakes"}},
	{"frames that never end", (*attackerProcess).beginFrame, []string{"hello_timeout", "ping_timeout", "address"}},
	{"JSON nested 1,000,000 deep", (*attackerProcess).floodNested, []string{"json_depth"}},
	{"connections from one address", (*attackerProcess).connect, []string{"address", "pending"}},
	{"messages without end", (*attackerProcess).flood, []string{"messages"}},
	{"bytes without end", (*attackerProcess).floodBytes, []string{"bytes"}},
	{"control pings without end", (*attackerProcess).floodPings, []string{"messages"}},
	{"forged webhooks", (*attackerProcess).forge, nil},
	{"compressed bombs", (*attackerProcess).sendCompressed, nil},
	{"guessed authTokens", (*attackerProcess).resumeByGuess, nil},
	{"forged X-Forwarded-For", (*attackerProcess).connectAsOthers, []string{"address", "pending"}},
	{"stream names that mislead", (*attackerProcess).floodMisleadingNames, []string{"name"}},
	{"pages of another origin", (*attackerProcess).connectFromPage, []string{"origin"}},
	{"streams that it may not play", (*attackerProcess).playForbidden, []string{"messages", "bytes"}},
	{"another session's mediaSessionId", (*attackerProcess).commandForeignStream, []string{"messages", "bytes"}},
	{"connections that send nothing", (*attackerProcess).connectTCPOnly, []string{"handshakes"}},
	{"sockets that send nothing", (*attackerProcess).connectWithoutSession, []string{"pending", "hello_timeout", "address"}},
	{"publishes that stop at once", (*attackerProcess).publishAndStop, []string{"requests", "messages", "excess"}},
	{"plays that stop at once", (*attackerProcess).playAndStop, []string{"requests", "messages", "excess"}},
	{"joins and leaves", (*attackerProcess).joinAndLeave, []string{"requests", "messages", "excess"}},
	{"members that do not read", (*attackerProcess).floodWithoutReading, []string{"requests", "messages", "excess"}},
	{"questions about many names", (*attackerProcess).askNames, []string{"requests", "messages", "excess"}},
	{"offers of the largest size", (*attackerProcess).sendLargestOffers, []string{"requests", "messages", "bytes", "excess"}},
	{"messages of 80,000 names", (*attackerProcess).floodManyNames, []string{"bytes", "excess"}},
	{"sessions that ask to be kept", (*attackerProcess).askToBeKept, nil},
	{"snapshots without end", (*attackerProcess).takePictures, []string{"messages", "excess"}},
}

// runAttacker attacks until it is stopped, and prints the number of attempts.
func runAttacker() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for i, l := range loads {
		if l.name != os.Getenv(attackName) {
			continue
		}
		from := fmt.Sprintf("127.0.1.%d", i+1) // one address each: an address has 28,000 ports, and each is free again after a minute
		a, err := newAttackerProcess(ctx, from, os.Getenv(attackURL), os.Getenv(attackHook))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(attacking)
		var work sync.WaitGroup
		for range attackers {
			work.Go(func() { a.repeat(l.attempt) })
		}
		<-ctx.Done()
		fmt.Printf("%s%d\n", attempted, a.attempts.Load())
		return 0 // attempts that still wait for an answer
	}
	fmt.Fprintf(os.Stderr, "no attack %q\n", os.Getenv(attackName))
	return 1
}

const attempted = "attempts: "

// attackerProcess is the shared state of all attackers of a process.
type attackerProcess struct {
	ctx       context.Context
	url, hook string
	dialer    *websocket.Dialer
	client    *http.Client
	offer     string
	attempts  atomic.Int64

	mu   sync.Mutex
	held []net.Conn // the latest
}

// heldAtMost exceeds the limit of one address.
const heldAtMost = perAddress + 200

func newAttackerProcess(ctx context.Context, from, url, hook string) (*attackerProcess, error) {
	offer, err := newOffer()
	if err != nil {
		return nil, err
	}
	d := dialer(from)
	transport := &http.Transport{MaxIdleConnsPerHost: attackers, DialContext: d.NetDialContext}
	return &attackerProcess{ctx: ctx, url: url, hook: hook, offer: offer, dialer: d, client: &http.Client{Transport: transport, Timeout: patience}}, nil
}

// newOffer returns an offer that a client could send.
func newOffer() (string, error) {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	defer func() { _ = pc.Close() }() // never connected
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
		return "", err
	}
	offer, err := pc.CreateOffer(nil)
	return offer.SDP, err
}

func (a *attackerProcess) repeat(attempt func(*attackerProcess) error) {
	for a.ctx.Err() == nil {
		if attempt(a) != nil {
			continue // refused, as expected
		}
	}
}

// hold keeps a connection open, and closes the oldest for it.
func (a *attackerProcess) hold(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = append(a.held, c)
	if len(a.held) > heldAtMost {
		_ = a.held[0].Close()
		a.held = a.held[1:]
	}
}

func (a *attackerProcess) beginHandshake() error {
	c, err := a.dialer.NetDialContext(a.ctx, "tcp", strings.Trim(strings.TrimPrefix(a.url, "ws:"), "/"))
	if err != nil {
		return err
	}
	a.attempts.Add(1)
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: gateway\r\nX-")
	a.hold(c)
	return err
}

// connect tries to open one more socket.
func (a *attackerProcess) connect() error { return a.connectWith(nil) }

// connectAsOthers claims another client address each time.
func (a *attackerProcess) connectAsOthers() error {
	return a.connectWith(http.Header{"X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", a.attempts.Load()%256)}})
}

// connectFromPage connects as browsers do for a page whose origin is not allowed.
func (a *attackerProcess) connectFromPage() error {
	return a.connectWith(http.Header{"Origin": {"https://evil.example"}})
}

func (a *attackerProcess) connectWith(header http.Header) error {
	a.attempts.Add(1)
	ws, err := a.dial(header)
	if err != nil {
		return err
	}
	a.hold(ws.NetConn())
	return nil
}

func (a *attackerProcess) dial(header http.Header) (*websocket.Conn, error) {
	ws, res, err := a.dialer.DialContext(a.ctx, a.url, header)
	if res != nil {
		_ = res.Body.Close()
	}
	return ws, err
}

// sendCompressed sends a compressed message, although compression was not negotiated.
func (a *attackerProcess) sendCompressed() error {
	a.attempts.Add(1)
	ws, err := a.dial(nil)
	if err != nil {
		return err
	}
	defer func() { _ = ws.Close() }()
	if _, err := ws.NetConn().Write(compressed); err != nil {
		return err
	}
	_, _, err = ws.ReadMessage() // the close frame
	return err
}

// resumeByGuess tries to resume another client's session.
func (a *attackerProcess) resumeByGuess() error {
	n := a.attempts.Add(1)
	ws, err := a.dial(nil)
	if err != nil {
		return err
	}
	defer func() { _ = ws.Close() }()
	guess := `{"message":"connection","data":[{"appKey":"defaultApp","keepAlive":true,"authToken":"/%s:1/0123456789abcdef/%064x"}]}`
	if err := ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, guess, honest, n)); err != nil {
		return err
	}
	_, _, err = ws.ReadMessage()
	return err
}

func (a *attackerProcess) beginFrame() error {
	a.attempts.Add(1)
	ws, err := a.session("defaultApp")
	if err != nil {
		return err
	}
	a.hold(ws.NetConn())
	_, err = ws.NetConn().Write(endless)
	return err
}

// endless begins a frame of 1 MiB.
var endless = append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff, 0, 0, 0, 0}, make([]byte, 1000)...)

// session is a socket on which connection was sent.
func (a *attackerProcess) session(app string) (*websocket.Conn, error) {
	ws, err := a.dial(nil)
	if err != nil {
		return nil, err
	}
	return ws, ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"connection","data":[{"appKey":"`+app+`"}]}`))
}

// flooding opens a session and sends until it is closed.
func (a *attackerProcess) flooding(app string, send func(*websocket.Conn) error) error {
	return a.floodingAs(message("connection", map[string]any{"appKey": app}), send)
}

// floodingAs is pour with a connection command.
func (a *attackerProcess) floodingAs(connection []byte, send func(*websocket.Conn) error) error {
	ws, err := a.dial(nil)
	if err != nil {
		return err
	}
	if err := ws.WriteMessage(websocket.TextMessage, connection); err != nil {
		return err
	}
	defer func() { _ = ws.Close() }()
	go func() {
		for {
			if _, _, err := ws.NextReader(); err != nil {
				_ = ws.Close() // the other side has closed it
				return
			}
		}
	}()
	for a.ctx.Err() == nil {
		if err := send(ws); err != nil {
			return err
		}
		a.attempts.Add(1)
	}
	return nil
}

var (
	deep       = []byte(strings.Repeat("[", 1_000_000))
	question   = []byte(`{"message":"availableStream","data":[{"mediaSessionId":"m","name":"` + victimStream + `"}]}`)
	compressed = append([]byte{0x80 | 0x40 | 1, 0x80 | 5, 0, 0, 0, 0}, 0xaa, 0x56, 0x4a, 0x2d, 0x2e) // FIN, RSV1, text
	logLine    = []byte(`{"message":"pushLogs","data":[{"logs":"` + strings.Repeat("x", 500_000) + `"}]}`)
)

func (a *attackerProcess) floodNested() error { return a.flooding("defaultApp", inTurn(deep)) }

func (a *attackerProcess) flood() error { return a.flooding("defaultApp", inTurn(question)) }

func (a *attackerProcess) floodBytes() error { return a.flooding("defaultApp", inTurn(logLine)) }

func (a *attackerProcess) floodMisleadingNames() error {
	var all [][]byte
	for _, name := range misleading {
		for _, command := range []string{"publishStream", "playStream"} {
			all = append(all, message(command, rig.StreamRequest("bad", name, a.offer, command == "publishStream", nil)))
		}
	}
	return a.flooding("defaultApp", inTurn(all...))
}

func (a *attackerProcess) playForbidden() error {
	return a.flooding("closed", inTurn(message("playStream", rig.StreamRequest("forbidden", victimStream, a.offer, false, nil))))
}

// commandForeignStream knows the victim's stream, but does not own its session.
func (a *attackerProcess) commandForeignStream() error {
	stream := map[string]any{"mediaSessionId": victimMediaID, "name": victimStream}
	return a.flooding("defaultApp", inTurn(
		message("unPublishStream", stream), message("stopStream", stream),
		message("sendStreamEvent", map[string]any{"mediaSessionId": victimMediaID, "type": "videoMuted"}),
		message("webRTCMetricsClientDescription", victimStats), message("webRTCMetricsBatch", victimBatch),
		message("publishStream", rig.StreamRequest(victimMediaID, "another", a.offer, true, nil)),
		message("playStream", rig.StreamRequest(victimMediaID, victimStream, a.offer, false, nil)),
		message("publishStream", rig.StreamRequest("another-id", victimStream, a.offer, true, nil)),
	))
}

func (a *attackerProcess) floodPings() error {
	return a.flooding("defaultApp", func(ws *websocket.Conn) error {
		return ws.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(patience))
	})
}

// The figures that a client sends for a stream it publishes: docs/wcs-protocol.md#client-metrics.
var (
	victimStats = map[string]any{"mediaSessionId": victimMediaID, "compression": "none", "headers": "outbound-rtp.OT01V1.timestamp,outbound-rtp.OT01V1.bytesSent"}
	victimBatch = map[string]any{"mediaSessionId": victimMediaID, "metrics": `["1795327153000;1","1795327154000;2"]`}
)

// inTurn sends messages one after the other, repeatedly.
func inTurn(messages ...[]byte) func(*websocket.Conn) error {
	next := 0
	return func(ws *websocket.Conn) error {
		next++
		return ws.WriteMessage(websocket.TextMessage, messages[next%len(messages)])
	}
}

func message(name string, arg any) []byte {
	b, err := json.Marshal(map[string]any{"message": name, "data": []any{arg}})
	if err != nil {
		panic(err) // the payload is a constant
	}
	return b
}

// forge sends an unsigned webhook.
func (a *attackerProcess) forge() error {
	a.attempts.Add(1)
	req, err := http.NewRequestWithContext(a.ctx, http.MethodPost, a.hook, strings.NewReader(`{"event":"participant_left","id":"EV_forged"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.AAAA")
	req.Header.Set("Content-Type", "application/webhook+json")
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
