package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"wcsgateway/cmd/internal/app"
	"wcsgateway/cmd/internal/config"
	"wcsgateway/internal/wcsclient"
	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

const (
	// mediaTimeout is the time that a stream can take to start: longer than the gateway's own limits, so that
	// its error text comes.
	mediaTimeout = time.Minute
	// firstPacketTimeout is the time until a player that plays gets its first packet.
	firstPacketTimeout = 10 * time.Second
	// sendTimeout bounds the sending of a message.
	sendTimeout = 5 * time.Second
	// inbox is the number of the gateway's messages that wait for the check. Later ones are lost.
	inbox = 64
	// audioInterval and videoInterval are the times between two packets or frames of the publisher.
	audioInterval, videoInterval = 20 * time.Millisecond, 100 * time.Millisecond
)

// Local returns the address of a gateway of the configuration on this machine.
func Local(cfg config.Config) string {
	if cfg.Listen.Public != "" {
		return "ws://" + net.JoinHostPort("127.0.0.1", port(cfg.Listen.Public)[1:])
	}
	host := cfg.Listen.LB.Server // a name of the certificate
	if host == "" {
		host = "127.0.0.1"
	}
	return "wss://" + net.JoinHostPort(host, port(cfg.Listen.Secure)[1:])
}

// stream returns the name of the stream of the check.
func (c *connection) stream() string { return "wcs-check-" + c.pod }

// client is the check's session in a gateway.
type client struct {
	conn     *wcsclient.Conn
	messages chan wcsclient.Message
}

// newMedia returns the maker of the check's peers.
func newMedia() (*wcsclient.Media, error) {
	return wcsclient.NewMedia(wcsclient.MediaOptions{Audio: audioInterval, Video: videoInterval, TCP: true})
}

// media publishes and plays a stream through a gateway as a client does.
func (c *connection) media(ctx context.Context, gateway string) []Result {
	const hint = "give the address of a running gateway with --gateway, such as wss://wcs.example.com:8443"
	if u, err := url.Parse(gateway); err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return []Result{{Level: Fault, Check: "gateway", Text: "the address is not ws://HOST:PORT or wss://HOST:PORT", Hint: hint}}
	}
	client, err := dial(ctx, gateway)
	if err != nil {
		return []Result{fault("gateway "+gateway, err, hint)}
	}
	defer client.conn.Close() // the gateway ends the streams
	if err := client.login(ctx, app.TrialKey(c.cfg)); err != nil {
		return []Result{fault("gateway "+gateway, err, "the gateway must have the same livekit.apiSecret, and a version with check --media: see its log")}
	}
	all := []Result{ok("gateway "+gateway, "accepts clients")}
	publisher, err := c.peers.NewPublisher()
	if err != nil {
		return append(all, fault("media publish", err, ""))
	}
	defer publisher.Close()
	if err := client.start(ctx, wcs.CmdPublishStream, c.stream(), publisher); err != nil {
		return append(all, fault("media publish", err, hintOfMedia(err)))
	}
	all = append(all, streamUp("media publish", wcs.StatusPublishing, publisher))
	player, err := c.peers.NewPlayer()
	if err != nil {
		return append(all, fault("media play", err, ""))
	}
	defer player.Close()
	if err := client.start(ctx, wcs.CmdPlayStream, c.stream(), player); err != nil {
		return append(all, fault("media play", err, hintOfMedia(err)))
	}
	limit, cancel := context.WithTimeout(ctx, firstPacketTimeout)
	defer cancel()
	select {
	case <-player.First():
		return append(all, streamUp("media play", wcs.StatusPlaying, player))
	case <-limit.Done():
		return append(all, fault("media play", errNoPacket, "LiveKit must send to this machine: look at its log"))
	}
}

// streamUp is the result of a stream whose media flow.
func streamUp(check string, status wcs.Status, peer *wcsclient.Peer) Result {
	protocol, address := peer.Route()
	text := fmt.Sprintf("%s, by %s %s", status, protocol, address)
	if protocol == "tcp" {
		return warning(check, text, "this machine does not reach LiveKit's UDP ports, and TCP is slower for media: open them (docs/runbook.md)")
	}
	return ok(check, "%s", text)
}

var (
	errNoPacket     = errors.New("no packet came")
	errSocketClosed = errors.New("the gateway closed the connection")
)

// failedError is a FAILED status.
type failedError struct {
	info  string
	tried string // LiveKit's addresses in the answer; "" without one
}

func (e failedError) Error() string {
	if e.tried == "" {
		return "FAILED: " + e.info
	}
	return fmt.Sprintf("FAILED: %s, with LiveKit at %s", e.info, e.tried)
}

func hintOfMedia(err error) string {
	var failed failedError
	if errors.As(err, &failed) && failed.info == wcs.InfoFailedByICETimeout {
		return "this machine does not reach LiveKit's media ports: open them, set rtc.node_ip in LiveKit, or use TURN (docs/runbook.md)"
	}
	return "the log of the gateway has the cause"
}

// dial opens a socket. Close its connection.
func dial(ctx context.Context, gateway string) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	conn, err := wcsclient.Dial(ctx, nil, gateway, nil, sendTimeout)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, messages: make(chan wcsclient.Message, inbox)}
	go conn.Read(func(m wcsclient.Message) error {
		if m.Name == string(wcs.NotePing) {
			return conn.Send(string(wcs.CmdPong), nil)
		}
		select {
		case c.messages <- m:
		default:
		}
		return nil
	})
	return c, nil
}

// await passes the gateway's messages to take until it reports true or an error.
func (c *client) await(ctx context.Context, take func(wcsclient.Message) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, mediaTimeout)
	defer cancel()
	for {
		select {
		case m := <-c.messages:
			if done, err := take(m); done || err != nil {
				return err
			}
		case <-c.conn.Done():
			return errSocketClosed
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", ctx.Err())
		}
	}
}

func (c *client) login(ctx context.Context, appKey string) error {
	hello := map[string]any{"appKey": appKey, "mediaProviders": []string{"WebRTC"}, "clientVersion": "2.0"}
	if err := c.conn.Send(string(wcs.CmdConnection), hello); err != nil {
		return err
	}
	return c.await(ctx, func(m wcsclient.Message) (bool, error) {
		return m.Name == string(wcs.NoteGetUserData), nil
	})
}

// start starts a stream and waits until it is up.
func (c *client) start(ctx context.Context, command wcs.Name, name string, peer *wcsclient.Peer) error {
	id := name + "-" + string(command)
	if err := c.conn.Send(string(command), peer.Request(id, name)); err != nil {
		return err
	}
	tried := ""
	return c.await(ctx, func(m wcsclient.Message) (bool, error) {
		switch m.Name {
		case string(wcs.NoteSetRemoteSDP):
			var of, sdp string
			if err := m.Args(&of, &sdp); err != nil || of != id {
				return false, err
			}
			if list, err := translate.AnswerCandidates(sdp); err == nil {
				tried = addresses(list)
			}
			return false, peer.Answer(sdp)
		case string(wcs.NoteStreamStatus):
			up, err := statusOf(m, id)
			var failed failedError
			if errors.As(err, &failed) {
				failed.tried = tried
				err = failed
			}
			return up, err
		}
		return false, nil
	})
}

// statusOf reports whether a status says that the stream is up. The error is that of a stream that failed.
func statusOf(m wcsclient.Message, id string) (up bool, err error) {
	var s struct {
		ID     string          `json:"mediaSessionId"`
		Status string          `json:"status"`
		Info   json.RawMessage `json:"info"`
	}
	if err := m.Args(&s); err != nil || s.ID != id {
		return false, err
	}
	switch wcs.Status(s.Status) {
	case wcs.StatusPublishing, wcs.StatusPlaying:
		return true, nil
	case wcs.StatusFailed:
		var info string
		_ = json.Unmarshal(s.Info, &info) // a number is no reason
		return false, failedError{info: info}
	}
	return false, nil
}
