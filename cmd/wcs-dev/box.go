package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// line is an address with its label. A line without a label continues the one before.
type line struct{ label, text string }

// lines returns the addresses that wcs-dev prints.
func (o options) lines() []line {
	all := []line{
		{"Demo page", o.pageURL()},
		{"Gateway for your app", o.gatewayURL()},
		{"", "app keys: " + strings.Join(o.appKeys(), ", ")},
		{"Console", "http://" + local(o.ports.rest) + "/console/"},
		{"LiveKit", "ws://" + o.public(o.ports.liveKit)},
		{"", "key " + liveKitKey + ", secret " + liveKitSecret},
	}
	for i, url := range o.cameraURLs() {
		all = append(all, line{[]string{"Sample cameras", ""}[min(i, 1)], url})
	}
	switch {
	case o.mediaHost().IsLoopback():
		all = append(all, line{"Firefox", "gets no media: this machine has no address but 127.0.0.1,"},
			line{"", "to which Firefox makes no connection. Use Chromium, or join a network."})
	default:
		all = append(all, line{"Media", fmt.Sprintf("%s, UDP port %d and TCP port %d", o.mediaHost(), o.ports.liveKitUDP, o.ports.liveKitTCP)})
	}
	if o.https {
		all = append(all, line{"Phones", "open the demo page and accept its certificate, which this start has made."})
	}
	return all
}

// box returns the lines with a frame, and what the keys do.
func box(lines []line) string {
	var labels, texts int
	for _, l := range lines {
		labels, texts = max(labels, utf8.RuneCountInString(l.label)), max(texts, utf8.RuneCountInString(l.text))
	}
	edge := "+" + strings.Repeat("-", labels+texts+4) + "+\n"
	var b strings.Builder
	b.WriteString(edge)
	for _, l := range lines {
		fmt.Fprintf(&b, "| %-*s  %-*s |\n", labels, l.label, texts, l.text)
	}
	b.WriteString(edge)
	return b.String()
}

// repeat writes text for each line that is read from in, until in or ctx ends.
func repeat(ctx context.Context, in io.Reader, out io.Writer, text string) {
	for lines := bufio.NewScanner(in); lines.Scan() && ctx.Err() == nil; {
		if _, err := io.WriteString(out, text); err != nil {
			return
		}
	}
}
