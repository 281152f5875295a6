package attacks

import (
	"context"
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
)

// The variables that an attacker is told what to do by.
const (
	attackName = "ATTACKS_NAME"
	attackURL  = "ATTACKS_URL"  // of the sockets
	attackHook = "ATTACKS_HOOK" // of the webhooks
	attacking  = "attacking"    // it says once it does
)

// attackers is how many work at a time on one attack.
const attackers = 8

// load is an attack that goes on and on. One attempt may fail; what counts is that they never end.
type load struct {
	name    string
	attempt func(*assailant) error
	// refusals are those that the gateway answers with, for wcs_refusals_total; none: in another way.
	refusals []string
}

var loads = []load{
	{"handshakes that never end", (*assailant).beginHandshake, []string{"handshakes"}},
	{"frames that never end", (*assailant).beginFrame, []string{"hello_timeout", "ping_timeout", "address"}},
	{"JSON nested 1,000,000 deep", (*assailant).nest, []string{"json_depth"}},
	{"connections from one address", (*assailant).connect, []string{"address"}},
	{"messages without end", (*assailant).flood, []string{"messages"}},
	{"bytes without end", (*assailant).floodBytes, []string{"bytes"}},
	{"control pings without end", (*assailant).floodPings, []string{"messages"}},
	{"forged webhooks", (*assailant).forge, nil},
}

// runAttacker attacks until it is told to end, and says how often it has tried.
func runAttacker() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for _, l := range loads {
		if l.name != os.Getenv(attackName) {
			continue
		}
		a := newAssailant(ctx, os.Getenv(attackURL), os.Getenv(attackHook))
		fmt.Println(attacking)
		var work sync.WaitGroup
		for range attackers {
			work.Go(func() { a.again(l.attempt) })
		}
		<-ctx.Done()
		fmt.Printf("%s%d\n", attempted, a.attempts.Load())
		return 0 // whatever still waits for an answer
	}
	fmt.Fprintf(os.Stderr, "no attack %q\n", os.Getenv(attackName))
	return 1
}

const attempted = "attempts: "

// assailant is all attackers of a process together.
type assailant struct {
	ctx       context.Context
	url, hook string
	dialer    *websocket.Dialer
	client    *http.Client
	attempts  atomic.Int64

	mu   sync.Mutex
	held []net.Conn // the latest
}

// heldAtMost is more than one address may have.
const heldAtMost = perAddress + 200

func newAssailant(ctx context.Context, url, hook string) *assailant {
	transport := &http.Transport{MaxIdleConnsPerHost: attackers}
	return &assailant{ctx: ctx, url: url, hook: hook, dialer: dialer(attacker), client: &http.Client{Transport: transport, Timeout: patience}}
}

func (a *assailant) again(attempt func(*assailant) error) {
	for a.ctx.Err() == nil {
		if attempt(a) != nil {
			continue // refused, as it should be
		}
	}
}

// hold keeps a connection open, and lets go of the oldest for it.
func (a *assailant) hold(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = append(a.held, c)
	if len(a.held) > heldAtMost {
		_ = a.held[0].Close()
		a.held = a.held[1:]
	}
}

func (a *assailant) beginHandshake() error {
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
func (a *assailant) connect() error {
	a.attempts.Add(1)
	ws, res, err := a.dialer.DialContext(a.ctx, a.url, nil)
	if res != nil {
		_ = res.Body.Close()
	}
	if err != nil {
		return err
	}
	a.hold(ws.NetConn())
	return nil
}

func (a *assailant) beginFrame() error {
	a.attempts.Add(1)
	ws, err := a.session()
	if err != nil {
		return err
	}
	a.hold(ws.NetConn())
	_, err = ws.NetConn().Write(endless)
	return err
}

// endless begins a frame of 1 MiB.
var endless = append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff, 0, 0, 0, 0}, make([]byte, 1000)...)

// session is a socket on which connection was said.
func (a *assailant) session() (*websocket.Conn, error) {
	ws, res, err := a.dialer.DialContext(a.ctx, a.url, nil)
	if res != nil {
		_ = res.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	return ws, ws.WriteMessage(websocket.TextMessage, []byte(`{"message":"connection","data":[{"appKey":"defaultApp"}]}`))
}

// pour opens a session and sends until it is closed.
func (a *assailant) pour(send func(*websocket.Conn) error) error {
	ws, err := a.session()
	if err != nil {
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
	deep     = []byte(strings.Repeat("[", 1_000_000))
	question = []byte(`{"message":"availableStream","data":[{"mediaSessionId":"m","name":"` + victimStream + `"}]}`)
	logLine  = []byte(`{"message":"pushLogs","data":[{"logs":"` + strings.Repeat("x", 500_000) + `"}]}`)
)

func (a *assailant) nest() error { return a.pour(text(deep)) }

func (a *assailant) flood() error { return a.pour(text(question)) }

func (a *assailant) floodBytes() error { return a.pour(text(logLine)) }

func (a *assailant) floodPings() error {
	return a.pour(func(ws *websocket.Conn) error {
		return ws.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(patience))
	})
}

func text(message []byte) func(*websocket.Conn) error {
	return func(ws *websocket.Conn) error { return ws.WriteMessage(websocket.TextMessage, message) }
}

// forge sends a webhook that is signed with nothing.
func (a *assailant) forge() error {
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
