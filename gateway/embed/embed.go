// Package embed serves the page that plays one stream in a frame of another page
// (docs/app-developers.md#embedded-player): its address is that of WCS. The page is a client of the WCS
// protocol like any other, so the package knows no sessions. The gateway's edge uses it.
package embed

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html"
	"net/http"
	"regexp"
	"strings"
)

// Path is the page's address on the public listeners, as in WCS.
const Path = "/embed_player"

// Config configures the page. Its values were checked with CheckFrame and CheckServer.
type Config struct {
	AppKey  string   // application whose session plays the stream
	Frames  []string // pages that may have it in a frame; empty: those of its own address
	Servers []string // servers that urlServer may name besides the page's own address
}

// Errors of CheckFrame and CheckServer.
var (
	ErrFrame  = errors.New("must be http(s)://host[:port], whose host may begin with *. and whose port may be *, or only *")
	ErrServer = errors.New("must be ws(s)://host[:port]")
)

const hostPattern = `([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])`

var (
	framePattern  = regexp.MustCompile(`^(\*|https?://(\*\.)?` + hostPattern + `(:([1-9][0-9]{0,4}|\*))?)$`)
	serverPattern = regexp.MustCompile(`^wss?://` + hostPattern + `(:[1-9][0-9]{0,4})?$`)
)

// CheckFrame returns ErrFrame if a text is no source of frame-ancestors that Config.Frames can have.
func CheckFrame(text string) error {
	if !framePattern.MatchString(text) {
		return ErrFrame
	}
	return nil
}

// CheckServer returns ErrServer if a text is not the address of a server without a path.
func CheckServer(text string) error {
	if !serverPattern.MatchString(text) {
		return ErrServer
	}
	return nil
}

var (
	//go:embed player.html
	pageText string
	//go:embed player.css
	styleText string
	//go:embed player.js
	scriptText string
)

// page is the handler of the page. It is the same for all requests: the script reads the query, so that no
// part of a request is in the response.
type page struct {
	body   []byte
	policy string
	tag    string
}

// New returns the handler of the page, for GET and HEAD. The page is one response with its style and script
// in it, so that pods of two versions never serve parts of one page.
func New(cfg Config) http.Handler {
	body := strings.NewReplacer(
		"{{appKey}}", html.EscapeString(cfg.AppKey), "{{servers}}", html.EscapeString(strings.Join(cfg.Servers, " ")),
		"{{style}}", styleText, "{{script}}", scriptText,
	).Replace(pageText)
	frames := "'self'"
	if len(cfg.Frames) > 0 {
		frames = strings.Join(cfg.Frames, " ")
	}
	tag := sha256.Sum256([]byte(body))
	return &page{
		body: []byte(body), tag: `"` + hex.EncodeToString(tag[:8]) + `"`,
		policy: strings.Join([]string{
			"default-src 'none'", "script-src " + source(scriptText), "style-src " + source(styleText), "img-src data:",
			strings.TrimSpace("connect-src 'self' " + strings.Join(cfg.Servers, " ")),
			"base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'", "frame-ancestors " + frames,
		}, "; "),
	}
}

// source returns the source of a Content-Security-Policy that allows this text.
func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// ServeHTTP closes the connection after each response, as after an upgrade that is rejected: connections that
// are not a socket are few.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Connection", "close")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), display-capture=()")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", p.tag)
	if r.Header.Get("If-None-Match") == p.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(p.body) // the client may be gone
}
