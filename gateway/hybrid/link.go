package hybrid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"wcsgateway/gateway/socket"
	"wcsgateway/gateway/upstream"
	"wcsgateway/translate/wcs"
)

// maxUnhandled is the number of messages of the upstream that wait for the session's loop.
const maxUnhandled = 16

var (
	errBehind  = fmt.Errorf("%w: it does not take what the client sends", upstream.ErrUnavailable)
	errRefused = fmt.Errorf("%w: it rejects the client", upstream.ErrUnavailable)
)

// link is the connection of one client to its upstream. The upstream is not read while the client does not
// take its messages.
type link struct {
	// set once
	c      *Client
	ctx    context.Context //nolint:containedctx // of the connection, which no call begins
	cancel context.CancelFunc
	log    zerolog.Logger

	// any goroutine
	wake      chan struct{} // the queue is not empty any more
	drained   chan struct{} // the client can take messages again
	unhandled chan struct{} // one element for each message that waits for the loop

	// loop
	established bool
	token       string // of the upstream, for media sockets

	// guarded by mu
	mu    sync.Mutex
	queue [][]byte // for the upstream
	bytes int      // in queue
}

// open starts a link. What is pushed is sent when the upstream has accepted the client.
func (c *Client) open() *link {
	l := &link{
		c: c, wake: make(chan struct{}, 1), drained: make(chan struct{}, 1), unhandled: make(chan struct{}, maxUnhandled),
		log: c.all.Log.With().Str("app", c.key).Str("upstream", c.app.Upstream.Name()).Logger(),
	}
	l.ctx, l.cancel = context.WithCancel(c.all.Context)
	go l.run()
	return l
}

// push queues a message for the upstream and reports whether it has room.
func (l *link) push(frame []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= l.c.all.MaxQueued || l.bytes+len(frame) > l.c.all.MaxQueueBytes {
		return false
	}
	l.queue, l.bytes = append(l.queue, frame), l.bytes+len(frame)
	select {
	case l.wake <- struct{}{}:
	default: // it will be looked at
	}
	return true
}

// pop returns all that is queued.
func (l *link) pop() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.queue
	l.queue, l.bytes = nil, 0
	return queue
}

func (l *link) run() {
	err := error(upstream.ErrUnavailable) // after a panic
	defer func() {
		l.cancel()
		l.c.session.Post(func() { l.c.linkEnded(l, err) })
	}()
	defer l.c.all.Recovered()
	err = l.serve()
}

// serve opens the connection and passes messages until it ends. It returns the reason.
func (l *link) serve() error {
	c := l.c
	out, release, err := c.all.Links.Dial(l.ctx, upstream.DialRequest{
		App: c.key, Version: c.version, To: c.app.Upstream, Handshake: c.handshake, MaxMessage: c.all.MaxMessageBytes,
	})
	if err != nil {
		return err
	}
	var writer sync.WaitGroup
	defer release()
	defer writer.Wait()
	defer out.Close()
	defer l.cancel()
	defer context.AfterFunc(l.ctx, out.Close)()
	token, err := l.greet(out)
	if err != nil {
		return err
	}
	gauge := c.all.Metrics.Links.WithLabelValues(c.key, c.app.Upstream.Name())
	gauge.Inc()
	defer gauge.Dec()
	c.session.Post(func() {
		l.established, l.token = true, token
		c.keepToken()
	})
	writer.Go(func() {
		defer c.all.Recovered()
		defer l.cancel()
		l.write(out)
	})
	return l.read(out)
}

// greet sends the connection command and waits until the upstream accepts the client. It returns its token.
func (l *link) greet(out *socket.Outbound) (token string, err error) {
	out.SetReadDeadline(time.Now().Add(l.c.app.Upstream.ConnectTimeout()))
	if err := out.Write(wcs.ConnectionFrame(l.c.hello), l.c.app.Upstream.ConnectTimeout()); err != nil {
		return "", fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
	}
	for {
		frame, ok, err := out.Read()
		if err != nil {
			return "", fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
		}
		m, err := parse(frame)
		switch {
		case !ok || err != nil:
		case m.name == wcs.NoteGetUserData:
			out.SetReadDeadline(time.Time{})
			return m.arg.AuthToken, nil
		case m.name == wcs.NoteFail:
			return "", errRefused
		case m.name == wcs.NotePing:
			l.push(wcs.Pong()) // is sent with the first command
		}
	}
}

// write sends what is queued until the link ends.
func (l *link) write(out *socket.Outbound) {
	for {
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return
		}
		for _, frame := range l.pop() {
			if out.Write(frame, l.c.all.Stall) != nil {
				return
			}
		}
	}
}

// read passes the upstream's messages to the session's loop until the link ends. Once the upstream has
// pinged, it has failed if nothing comes for some time.
func (l *link) read(out *socket.Outbound) error {
	pings := false
	for {
		if pings {
			out.SetReadDeadline(time.Now().Add(l.c.all.Stall))
		}
		frame, ok, err := out.Read()
		if err != nil {
			return fmt.Errorf("%w: %w", upstream.ErrUnavailable, err)
		}
		m, err := parse(frame)
		switch {
		case !ok || err != nil:
			l.c.dropped()
		case m.name == wcs.NotePing:
			pings = true
			if !l.push(wcs.Pong()) {
				return errBehind
			}
		case !l.awaitClient():
			return upstream.ErrUnavailable
		default:
			l.c.session.Post(func() {
				defer func() { <-l.unhandled }()
				l.c.onMessage(l, m, frame)
			})
		}
	}
}

// awaitClient waits until the client and its loop can take a message. It returns false if the link ends
// before.
func (l *link) awaitClient() bool {
	for !l.c.session.HasRoom() {
		select {
		case <-l.drained:
		case <-l.ctx.Done():
			return false
		}
	}
	select {
	case l.unhandled <- struct{}{}:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// message is what a client's upstream says, as far as it is needed to find the client's business.
type message struct {
	name wcs.Name
	arg  argument
}

type argument struct {
	MediaSessionID string          `json:"mediaSessionId"`
	ID             string          `json:"id"`
	OperationID    string          `json:"operationId"`
	CallID         string          `json:"callId"`
	APIMethod      string          `json:"apiMethod"`
	AuthToken      string          `json:"authToken"`
	Type           string          `json:"type"`
	Status         string          `json:"status"`
	Info           json.RawMessage `json:"info"` // text, or a picture
}

// info returns the text in Info, "" if it is none.
func (a argument) info() (text string) {
	if len(a.Info) < 256 {
		_ = json.Unmarshal(a.Info, &text) // "" if it is not text
	}
	return text
}

var errNoMessage = errors.New("no message")

// parse reads a message of the upstream. Its argument is an object, or a media id.
func parse(frame []byte) (m message, err error) {
	if wcs.Deeper(frame, maxDepth) {
		return m, errNoMessage
	}
	cmd, err := wcs.Decode(frame)
	if err != nil {
		return m, err
	}
	m.name = cmd.Name
	if len(cmd.Arg) > 0 && cmd.Arg[0] == '"' {
		return m, json.Unmarshal(cmd.Arg, &m.arg.MediaSessionID)
	}
	if len(cmd.Arg) > 0 && cmd.Arg[0] == '{' {
		return m, cmd.Bind(&m.arg)
	}
	return m, nil
}

// maxDepth bounds the nesting of a message.
const maxDepth = 200
