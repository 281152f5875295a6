package livekit

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf16"

	"wcsgateway/translate"
)

const (
	whipPath = "/whip/v1"
	// sdpType must be the exact header value: LiveKit compares the whole string (docs/livekit-notes.md#whip).
	sdpType          = "application/sdp"
	clientInfoHeader = "X-LiveKit-ClientInfo"

	// maxAnswer limits a response, as LiveKit limits an offer.
	maxAnswer   = 1 << 20
	maxFault    = 200 // bytes kept of LiveKit's error text
	dialTimeout = 2 * time.Second
	idleTimeout = 90 * time.Second
)

// NewTransport returns a transport for one LiveKit: HTTP/1.1, at most maxConns connections, all of them kept
// when idle, and no proxy. http.DefaultTransport keeps only two idle connections and takes a proxy from the
// environment.
func NewTransport(maxConns int) *http.Transport {
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxConnsPerHost:     maxConns,
		MaxIdleConns:        maxConns,
		MaxIdleConnsPerHost: maxConns,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
		Protocols:           http1,
	}
}

// NewClient returns the client for Deps.HTTP. It follows no redirects, which would send a token to another
// host.
func NewClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// whipClient posts offers. The SDK has no call for LiveKit's WHIP, which is plain HTTP. WHIP's other methods
// are not used: clients never trickle, and RoomService removes participants.
type whipClient struct {
	http *http.Client
	url  string
}

type whipRequest struct {
	op         string
	token      string
	sdp        string
	clientInfo string // value of clientInfoHeader, or empty
}

// post sends an offer and returns the answer. Errors are *translate.Error, of ErrNotSent if there was no
// connection.
func (c *whipClient) post(ctx context.Context, w whipRequest) (translate.Answer, error) {
	var connected atomic.Bool
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}), http.MethodPost, c.url, strings.NewReader(w.sdp))
	if err != nil {
		return translate.Answer{}, failed(ctx, w.op, err)
	}
	req.Header.Set("Content-Type", sdpType)
	req.Header.Set("Authorization", "Bearer "+w.token)
	if w.clientInfo != "" {
		req.Header.Set(clientInfoHeader, w.clientInfo)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if !connected.Load() {
			err = fmt.Errorf("%w: %w", translate.ErrNotSent, err)
		}
		return translate.Answer{}, failed(ctx, w.op, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return translate.Answer{}, failed(ctx, w.op, err)
	}
	if len(body) > maxAnswer {
		return translate.Answer{}, failed(ctx, w.op, fmt.Errorf("answer of more than %d bytes", maxAnswer))
	}
	if res.StatusCode != http.StatusCreated {
		return translate.Answer{}, refused(w.op, res.StatusCode, body)
	}
	location := res.Header.Get("Location") // /whip/v1/PA_…
	return translate.Answer{SDP: string(body), SID: location[strings.LastIndexByte(location, '/')+1:]}, nil
}

// clientInfo returns the header that makes LiveKit wait until these tracks are bound to the player's m-lines;
// without it the answer contains no track.
func clientInfo(publisher translate.Identity, tracks []string) (string, error) {
	if len(tracks) == 0 {
		return "", nil
	}
	b, err := json.Marshal(struct {
		Tracks map[translate.Identity][]string `json:"subscribedParticipantTrackNames"`
	}{map[translate.Identity][]string{publisher: tracks}})
	if err != nil {
		return "", fmt.Errorf("client info: %w", err)
	}
	return asciiJSON(b), nil
}

// asciiJSON escapes characters that are not allowed in a header value. Identities and track names of native
// participants are any text; encoding/json has escaped the control characters below space already.
func asciiJSON(b []byte) string {
	var s strings.Builder
	s.Grow(len(b))
	for _, r := range string(b) {
		switch {
		case r < 0x7f:
			s.WriteByte(byte(r))
		case r < 0x10000:
			fmt.Fprintf(&s, `\u%04x`, r)
		default:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&s, `\u%04x\u%04x`, hi, lo)
		}
	}
	return s.String()
}
