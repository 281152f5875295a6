package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"

	"wcsgateway/translate/transcript"
)

// inputs are the files to read.
type inputs struct {
	transcripts []string
	properties  string
	logs        []string
}

func (in inputs) empty() bool {
	return len(in.transcripts) == 0 && in.properties == "" && len(in.logs) == 0
}

// maxLine bounds the lines of inputs, in bytes.
const maxLine = 1 << 20

// eachLine passes the lines of a file to yield. Errors name the file and the line.
func eachLine(file string, yield func(line string) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		if err := yield(lines.Text()); err != nil {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s:%d: %w", file, n+1, err)
	}
	return nil
}

// readTranscripts reads a file with a transcript on each line.
func readTranscripts(file string) (all []transcript.Transcript, err error) {
	err = eachLine(file, func(line string) error {
		if strings.TrimSpace(line) == "" {
			return nil
		}
		var t transcript.Transcript
		if err := json.Unmarshal([]byte(line), &t); err != nil {
			return fmt.Errorf("is not a transcript: %w", err)
		}
		all = append(all, t)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s has no transcripts: is route.transcripts set, and has a session ended?", file)
	}
	return all, err
}

// property is a setting of a WCS server.
type property struct{ name, value string }

// readProperties reads a file of properties as Java does, but for escapes.
func readProperties(file string) (all []property, err error) {
	before := ""
	err = eachLine(file, func(line string) error {
		line = before + strings.TrimSpace(line)
		before = ""
		if line == "" || strings.ContainsRune("#!", rune(line[0])) {
			return nil
		}
		if head, continued := strings.CutSuffix(line, `\`); continued {
			before = head
			return nil
		}
		name, value := line, ""
		if i := strings.IndexAny(line, "=:"); i >= 0 {
			name, value = line[:i], line[i+1:]
		}
		all = append(all, property{strings.TrimSpace(name), strings.TrimSpace(value)})
		return nil
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s has no properties", file)
	}
	return all, err
}

// requestLine matches the request in a line of a log, in the form of most web servers and proxies.
var requestLine = regexp.MustCompile(`"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS) (\S+)(?: HTTP/[0-9.]+)?"`)

// readRequests passes the paths and queries in a log to yield.
func readRequests(file string, yield func(path string, query url.Values)) error {
	found := false
	err := eachLine(file, func(line string) error {
		m := requestLine.FindStringSubmatch(line)
		if m == nil {
			return nil
		}
		found = true
		if u, err := url.Parse(m[1]); err == nil {
			yield(path.Clean("/"+u.Path), u.Query())
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf(`%s has no requests such as "POST /path HTTP/1.1"`, file)
	}
	return err
}

// printable returns text without control characters: parts of inputs can be those of a stranger.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f || 0x80 <= r && r < 0xa0 || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069 {
			return -1
		}
		return r
	}, text)
}

// printableWriter is printable for all that is written.
type printableWriter struct{ io.Writer }

func (w printableWriter) Write(b []byte) (int, error) {
	_, err := io.WriteString(w.Writer, printable(string(b)))
	return len(b), err
}
