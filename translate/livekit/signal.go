package livekit

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	lkproto "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"wcsgateway/translate"
)

const (
	// signalPath is the signalling protocol of version 1, with one peer connection for both directions.
	signalPath = "/rtc/v1"
	// signalProtocol is the version of LiveKit's client protocol that the gateway follows.
	signalProtocol = 16

	maxSignalBytes = maxAnswer
	maxSignals     = 2000            // messages of one connection
	signalClose    = 2 * time.Second // for LiveKit's close frame
)

// errUpgradeRefused is wrapped by the error of a LiveKit that does not open a signalling connection.
var errUpgradeRefused = fmt.Errorf("%w: the upgrade was refused", errNoSignalling)

// errTooManySignals is the error of a connection with more messages, or longer candidates, than a start
// needs.
var errTooManySignals = errors.New("too many messages")

// longAgo is a deadline that ends reads and writes in progress.
var longAgo = time.Unix(1, 0)

// signalConn is a connection of LiveKit's signalling protocol. It is used by one goroutine; only finish may
// be called by others. The SDK's connection sends no close frame, without which LiveKit can end the
// participant (docs/livekit-notes.md#players-over-signalling).
type signalConn struct {
	ws       *websocket.Conn
	messages int
}

// dialSignalling opens a connection. Until release is called, the end of ctx ends reads and writes. An error
// wraps translate.ErrNotSent if there was no connection to LiveKit, and errUpgradeRefused if LiveKit serves
// no signalling; LiveKit has no participant then. With the SID of a participant that has no connection, it is
// that participant's.
func dialSignalling(ctx context.Context, base, token, sid string) (c *signalConn, release func() bool, err error) {
	address, err := signalURL(base, sid)
	if err != nil {
		return nil, nil, &translate.Error{Kind: translate.ErrKindRefused, Op: opSignalPlay, Err: err}
	}
	release = func() bool { return true }
	connected := false // with the TLS handshake
	dialer := &websocket.Dialer{
		NetDialContext: func(dialCtx context.Context, network, addr string) (net.Conn, error) {
			raw, err := (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext(dialCtx, network, addr)
			if err == nil {
				release = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(longAgo) }) // fails only for a closed connection
			}
			return raw, err
		},
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		ReadBufferSize:  4096, WriteBufferSize: 4096,
	}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	ws, res, err := dialer.DialContext(traced, address, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		release()
		switch {
		case res != nil:
			_ = res.Body.Close() // gorilla has read the beginning
			return nil, nil, upgradeRefused(ctx, res.StatusCode)
		case !connected:
			err = fmt.Errorf("%w: %w", translate.ErrNotSent, err)
		}
		return nil, nil, failed(ctx, opSignalPlay, err)
	}
	ws.SetReadLimit(maxSignalBytes)
	if deadline, ok := ctx.Deadline(); ok {
		_ = ws.SetWriteDeadline(deadline) // returns nil
	}
	if ctx.Err() != nil { // the dialer has cleared the deadline that the end of ctx had set
		_ = ws.NetConn().SetDeadline(longAgo) // fails only for a closed connection
	}
	return &signalConn{ws: ws}, release, nil
}

// upgradeRefused returns the error for a response that does not open the connection. A proxy without
// WebSockets answers 200 or a redirect, and one that does not know the path 403 or 404.
func upgradeRefused(ctx context.Context, status int) error {
	err := &translate.Error{Kind: statusKind(status), Op: opSignalPlay, Err: statusError(status)}
	switch {
	case status < 400, err.Kind == translate.ErrKindNotFound, err.Kind == translate.ErrKindRefused, err.Kind == translate.ErrKindDenied:
		if err.Kind == translate.ErrKindRefused { // not the client's fault
			err.Kind = translate.ErrKindUnavailable
		}
		err.Err = fmt.Errorf("%w: %w", errUpgradeRefused, err.Err)
	case err.Kind == translate.ErrKindUnavailable:
		err.Kind = lostKind(ctx)
	}
	return err
}

// signalURL returns the address for joining without subscriptions, or for a participant that has joined.
func signalURL(base, sid string) (string, error) {
	no := false
	join, err := proto.Marshal(&lkproto.JoinRequest{
		ClientInfo:         &lkproto.ClientInfo{Sdk: lkproto.ClientInfo_GO, Protocol: signalProtocol},
		ConnectionSettings: &lkproto.ConnectionSettings{AutoSubscribeDataTrack: &no, SubscriberAllowPause: &no, DisableIceLite: true},
		Reconnect:          sid != "", ParticipantSid: sid,
	})
	if err != nil {
		return "", err
	}
	wrapped, err := proto.Marshal(&lkproto.WrappedJoinRequest{JoinRequest: join})
	if err != nil {
		return "", err
	}
	return strings.Replace(base, "http", "ws", 1) + signalPath + "?join_request=" + url.QueryEscape(base64.URLEncoding.EncodeToString(wrapped)), nil
}

// read returns the next message.
func (c *signalConn) read() (*lkproto.SignalResponse, error) {
	if c.messages++; c.messages > maxSignals {
		return nil, errTooManySignals
	}
	_, b, err := c.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	m := new(lkproto.SignalResponse)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("message of LiveKit: %w", err)
	}
	return m, nil
}

func (c *signalConn) send(m *lkproto.SignalRequest) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return c.ws.WriteMessage(websocket.BinaryMessage, b)
}

// leave ends the participant.
func (c *signalConn) leave() {
	_ = c.ws.SetWriteDeadline(time.Now().Add(signalClose))                                                // returns nil
	_ = c.send(&lkproto.SignalRequest{Message: &lkproto.SignalRequest_Leave{Leave: &lkproto.LeaveRequest{ // on a lost connection the participant ends as well
		Reason: lkproto.DisconnectReason_CLIENT_INITIATED,
	}}})
	c.finish()
}

// finish begins the closing handshake: drain ends soon.
func (c *signalConn) finish() {
	deadline := time.Now().Add(signalClose)
	_ = c.ws.NetConn().SetReadDeadline(deadline) // fails only for a closed connection
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline)
}

// drain reads until the connection ends, and closes it.
func (c *signalConn) drain() {
	for err := error(nil); err == nil; _, _, err = c.ws.NextReader() {
	}
	_ = c.ws.Close() // nothing more can be done
}
