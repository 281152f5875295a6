package guard

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

const (
	maxPlaylist = 1 << 20
	maxAddress  = 2000     // bytes of a URL: encrypted it must fit into the 4096 that ffmpeg reads
	maxTag      = 64 << 10 // bytes of ID3 before the media
	playlistTag = "#EXTM3U"
)

// ErrPlaylist is wrapped by the errors of playlists that are refused: ffmpeg reads them in its own way, and
// opens addresses of schemes that it should not in some places.
var ErrPlaylist = errors.New("playlist refused")

// startsPlaylist reports whether ffmpeg could take a body for a playlist of HLS. It skips tags of ID3, as
// ffmpeg does, behind which a playlist is an error.
func startsPlaylist(body *bufio.Reader) (bool, error) {
	start, err := body.Peek(len(playlistTag))
	if err != nil && len(start) < len("ID3") {
		return false, nil // shorter than anything that can be played
	}
	if string(start) == playlistTag {
		return true, nil
	}
	if !bytes.HasPrefix(start, []byte("ID3")) {
		return false, nil
	}
	start, _ = body.Peek(maxTag) // shorter bodies end before
	if bytes.Contains(start, []byte(playlistTag)) {
		return false, fmt.Errorf("%w: behind a tag", ErrPlaylist)
	}
	for at := 0; bytes.HasPrefix(start[at:], []byte("ID3")); {
		const header = 10
		if len(start)-at < header {
			return false, fmt.Errorf("%w: tag without an end", ErrPlaylist)
		}
		size := 0
		for _, b := range start[at+6 : at+header] {
			size = size<<7 | int(b&0x7f)
		}
		if at += header + size; start[at-header-size+5]&0x10 != 0 {
			at += header // a footer
		}
		if at > len(start)-len(playlistTag) && len(start) == maxTag || at > len(start) {
			return false, fmt.Errorf("%w: tag of more than %d bytes", ErrPlaylist, maxTag)
		}
	}
	return false, nil
}

// quotedAddress is the only form of an address in a tag that passes.
var quotedAddress = regexp.MustCompile(`URI="([^"\\]*)"`)

// playlist returns a playlist in which every address leads to the proxy. base is where it came from.
func (p *Proxy) playlist(text []byte, base *url.URL) ([]byte, error) {
	if len(text) > maxPlaylist {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrPlaylist, maxPlaylist)
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, fmt.Errorf("%w: a zero byte", ErrPlaylist)
	}
	var out bytes.Buffer
	for line := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "#EXT") || line == "" {
			continue // a comment
		}
		line, err := p.line(line, base)
		if err != nil {
			return nil, err
		}
		out.WriteString(line + "\n")
	}
	return out.Bytes(), nil
}

func (p *Proxy) line(line string, base *url.URL) (string, error) {
	if !strings.HasPrefix(line, "#") {
		return p.address(line, base)
	}
	if strings.Count(line, "URI=") != len(quotedAddress.FindAllString(line, -1)) || strings.Contains(line, `\`) {
		return "", fmt.Errorf("%w: an address in a tag that is not quoted", ErrPlaylist)
	}
	var failed error
	line = quotedAddress.ReplaceAllStringFunc(line, func(match string) string {
		address, err := p.address(quotedAddress.FindStringSubmatch(match)[1], base)
		failed = errors.Join(failed, err)
		return `URI="` + address + `"`
	})
	return line, failed
}

// address returns the proxy's URL of an address in a playlist.
func (p *Proxy) address(text string, base *url.URL) (string, error) {
	u, err := base.Parse(text)
	switch {
	case err != nil || len(text) > maxAddress:
		return "", fmt.Errorf("%w: an address that is not a URL", ErrPlaylist)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return "", fmt.Errorf("%w: an address that is not of http or https", ErrPlaylist)
	}
	u.User, u.Fragment = nil, ""
	if len(u.String()) > maxAddress {
		return "", fmt.Errorf("%w: an address of more than %d bytes", ErrPlaylist, maxAddress)
	}
	return p.sealed(u), nil
}
