// Package pull is the pure part of pulls: sources outside the deployment, such as cameras, files and HLS,
// which a worker reads and publishes into a LiveKit room (docs/pull.md). It owns stream names with a scheme:
// their parsing and canonical form, ids, sealing, public names, the patterns that allow them, and the reasons
// why pulls fail. Gateways and workers use it.
package pull

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// MaxName is the longest stream name with a scheme, in bytes.
const MaxName = 2048

// Schemes of sources.
const (
	RTSP    = "rtsp"
	RTSPS   = "rtsps"
	RTMP    = "rtmp"
	RTMPS   = "rtmps"
	SRT     = "srt"
	HTTP    = "http"
	HTTPS   = "https"
	VOD     = "vod"      // a file in the workers' folder, from its beginning
	VODLive = "vod-live" // the same, as a live stream
)

// Schemes are all schemes.
var Schemes = []string{RTSP, RTSPS, RTMP, RTMPS, SRT, HTTP, HTTPS, VOD, VODLive}

// defaultPorts are the ports of the schemes with a host. 0: a port is required.
var defaultPorts = map[string]int{RTSP: 554, RTSPS: 322, RTMP: 1935, RTMPS: 443, SRT: 0, HTTP: 80, HTTPS: 443}

// Source is a source in canonical form: the scheme and host in lower case, IDNA names in ASCII, addresses in
// their shortest form, default ports filled in, and credentials escaped in one way. Path and query stay as
// the client wrote them. Sources are equal (==) if their URLs and Rights are. The zero value is not a source.
//
// It is printed without credentials, path and query. Only Reveal returns the URL.
type Source struct {
	scheme string
	user   string // as in the URL, escaped, with its colon; "" without
	host   string // without brackets
	port   int
	path   string // escaped; of a file: its path in the folder, not escaped
	query  string // escaped; "" without
	rights Rights // Parse sets none
}

// IsName reports whether a stream name begins with the scheme of a source. All other names are names of
// published streams, whatever they contain.
func IsName(name string) bool {
	_, _, ok := cutScheme(name)
	return ok
}

func cutScheme(name string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(name, "://")
	if !ok || len(scheme) > len(VODLive) {
		return "", "", false
	}
	scheme = strings.ToLower(scheme)
	_, remote := defaultPorts[scheme]
	return scheme, rest, remote || scheme == VOD || scheme == VODLive
}

// Parse returns the source of a stream name. Its errors are of type *Error and contain nothing of the name.
func Parse(name string) (Source, error) {
	scheme, rest, ok := cutScheme(name)
	switch {
	case !ok:
		return Source{}, badURL("no known scheme")
	case len(name) > MaxName:
		return Source{}, badURL("longer than " + strconv.Itoa(MaxName) + " bytes")
	case !utf8.ValidString(name):
		return Source{}, badURL("not UTF-8")
	case strings.ContainsFunc(rest, func(r rune) bool { return !unicode.IsPrint(r) }):
		return Source{}, badURL("a character that cannot be printed")
	case strings.ContainsRune(rest, '\\'):
		return Source{}, badURL("a backslash")
	case scheme == VOD || scheme == VODLive:
		return parseFile(scheme, rest)
	}
	return parseURL(scheme, rest)
}

// parseFile parses the path of a file. It has no escapes, so that one text means one file.
func parseFile(scheme, path string) (Source, error) {
	if strings.ContainsAny(path, "?#") {
		return Source{}, badURL("a query or fragment of a file")
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || strings.HasPrefix(part, ".") {
			return Source{}, badURL("an empty part of a path, or one that begins with a dot")
		}
	}
	return Source{scheme: scheme, path: path}, nil
}

func parseURL(scheme, rest string) (Source, error) {
	switch {
	case strings.ContainsAny(rest, "# "):
		return Source{}, badURL("a # or space that is not escaped")
	case hasControlEscape(rest):
		return Source{}, badURL("an escaped control character")
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil {
		return Source{}, badURL("not a URL") // the library's error quotes it
	}
	s := Source{scheme: scheme, path: u.EscapedPath(), query: escapeQuery(u.RawQuery)}
	if s.host, err = canonicalHost(u.Hostname()); err != nil {
		return Source{}, err
	}
	if s.port, err = portOf(scheme, u.Port()); err != nil {
		return Source{}, err
	}
	if u.User != nil && strings.Trim(u.User.String(), ":") != "" {
		s.user = u.User.String()
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == "." || part == ".." {
			return Source{}, badURL("a path with . or ..")
		}
	}
	if s.path == "" && (scheme == HTTP || scheme == HTTPS) {
		s.path = "/"
	}
	if scheme == SRT {
		if err := checkSRT(u); err != nil {
			return Source{}, err
		}
	}
	return s, nil
}

// hasControlEscape reports whether a text has an escape of a control character, with which a URL could add
// lines to the request for it.
func hasControlEscape(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil && (b < ' ' || b == 0x7f) {
			return true
		}
	}
	return false
}

// escapeQuery escapes what may not be in a query, and keeps everything else: it can be signed.
func escapeQuery(query string) string {
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; c > '~' || strings.IndexByte("\"<>`", c) >= 0 {
			b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c), 16)))
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// canonicalHost returns a name in lower case and ASCII, or an address. Numbers that some programs take for
// IPv4 addresses, such as 2130706433 and 0x7f.1, are neither.
func canonicalHost(host string) (string, error) {
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", badURL("a host that is not a name")
		}
		host = ascii
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return "", badURL("an address with a zone")
		}
		return addr.Unmap().String(), nil
	}
	if host == "" || len(host) > 253 {
		return "", badURL("no host, or one that is too long")
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		ok := label != "" && len(label) <= 63 && !strings.ContainsFunc(label, notOfName)
		if !ok || label[0] == '-' || label[len(label)-1] == '-' {
			return "", badURL("a host that is not a name")
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		return "", badURL("a host that ends with a number but is not an address")
	}
	return host, nil
}

// notOfName allows the underscore, which names in private networks have.
func notOfName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

func portOf(scheme, text string) (int, error) {
	if text == "" {
		if port := defaultPorts[scheme]; port != 0 {
			return port, nil
		}
		return 0, badURL("no port")
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, badURL("a port that is not between 1 and 65535")
	}
	return int(port), nil
}

// srtParameters are the parameters of srt that concern the stream. The others would let a client choose how
// the worker uses its network.
var srtParameters = []string{"streamid", "passphrase", "pbkeylen", "latency", "mode"}

func checkSRT(u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return badURL("a query that cannot be read")
	}
	for name, values := range query {
		if !slices.Contains(srtParameters, name) || len(values) != 1 || name == "mode" && values[0] != "caller" {
			return badURL("a parameter that srt must not have here")
		}
	}
	return nil
}

// Scheme returns the scheme.
func (s Source) Scheme() string { return s.scheme }

// IsFile reports whether the source is a file in the workers' folder.
func (s Source) IsFile() bool { return s.scheme == VOD || s.scheme == VODLive }

// Host returns the name or address of the host, "" for a file.
func (s Source) Host() string { return s.host }

// Port returns the port, 0 for a file.
func (s Source) Port() int { return s.port }

// File returns the path of a file in the workers' folder: without an empty part, and without one that begins
// with a dot. It is "" for other sources.
func (s Source) File() string {
	if !s.IsFile() {
		return ""
	}
	return s.path
}

// Reveal returns the URL with its credentials, for the program that reads the source.
func (s Source) Reveal() string {
	var b strings.Builder
	b.WriteString(s.scheme + "://")
	if s.user != "" {
		b.WriteString(s.user + "@")
	}
	b.WriteString(s.authority() + s.path)
	if s.query != "" {
		b.WriteString("?" + s.query)
	}
	return b.String()
}

// authority returns the host, with the port unless it is the scheme's.
func (s Source) authority() string {
	host := s.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if s.port != defaultPorts[s.scheme] {
		host += ":" + strconv.Itoa(s.port)
	}
	return host
}

// String returns the scheme and the host.
func (s Source) String() string { return s.scheme + "://" + s.authority() }

// Limits of a public name.
const (
	publicPart = 40  // of one part of the path
	publicHex  = 15  // of a part in hexadecimal
	publicMix  = 19  // of a part of letters and digits without words
	publicPath = 120 // of the whole path
	publicID   = 8   // digits of the id
	hidden     = "***"
)

// Public returns the public name of the source with this id: scheme, host, path, and the first digits of the
// id. It has no user, password and query. Parts of the path that can be secrets are hidden: long ones, those
// that look random, and those with a value, as in user=admin_password=x.
func (s Source) Public(id string) string {
	parts := strings.Split(s.path, "/")
	for i, part := range parts {
		if len(part) > publicPart || !s.IsFile() && (strings.ContainsAny(part, "=;") || looksRandom(part)) {
			parts[i] = hidden
		}
	}
	path := strings.Join(parts, "/")
	if len(path) > publicPath {
		path = path[:strings.LastIndexByte(path[:publicPath], '/')+1] + hidden
	}
	return s.String() + path + "#" + id[:min(publicID, len(id))]
}

// looksRandom reports whether a part of a path looks like a token or key rather than a name.
func looksRandom(part string) bool {
	stem, _, _ := strings.Cut(part, ".")
	digits, letters, hex := 0, 0, true
	for _, r := range stem {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z':
			letters++
		}
		hex = hex && strings.ContainsRune("0123456789abcdefABCDEF-", r)
	}
	const some = 4 // 264 in h264Preview_01_main are not many
	return hex && len(stem) > publicHex && digits > 0 || len(stem) > publicMix && digits >= some && letters >= some
}
