package main

import (
	"slices"
	"strings"

	"wcsgateway/docs"
)

// Kinds of what an app uses.
const (
	kindCommand  = "command"
	kindField    = "field"    // command.member
	kindMessage  = "message"  // to clients
	kindEvent    = "event"    // type of stream events
	kindProvider = "provider" // of media
	kindREST     = "rest"
	kindHook     = "hook"
	kindPage     = "page" // of the WCS host's web server
)

// what is one thing that an app can use.
type what struct{ kind, name string }

// Support is how the gateway serves something.
type support string

// The words of docs/fidelity.md.
const (
	full    support = "full"
	partial support = "partial"
	none    support = "none"
)

// served is what a document says about something.
type served struct {
	support support
	how     string // plain text
	doc     string // the document
}

// knowledge is what the documents say of everything that an app can use. Documents that change change the
// report.
type knowledge struct {
	rows       map[what]served
	properties map[string]string // of a WCS server → what the gateway has instead
}

// Sections of the documents with a table whose rows are names, support and an explanation.
var sections = []struct {
	kind, prefix  string
	file, heading string
}{
	{kindCommand, "", "fidelity.md", "## What clients send"},
	{kindField, "connection.", "fidelity.md", "## Fields of `connection`"},
	{kindField, "publishStream.", "fidelity.md", "## Fields of `publishStream` and `playStream`"},
	{kindField, "playStream.", "fidelity.md", "## Fields of `publishStream` and `playStream`"},
	{kindField, "notifyStreamStatusEvent.", "fidelity.md", "## Fields of `notifyStreamStatusEvent`"},
	{kindMessage, "", "fidelity.md", "## What clients are sent"},
	{kindEvent, "", "fidelity.md", "### Types of stream events"},
	{kindProvider, "", "fidelity.md", "### Media providers"},
	{kindPage, "", "fidelity.md", "### Pages of the WCS host"},
	{kindREST, "", "rest-api.md", "## What differs from WCS"},
}

// fieldSections of docs/fidelity.md have tables whose rows are names of messages, fields, support and an
// explanation.
var fieldSections = []string{"## Fields of other commands", "## Fields of other messages"}

// propertySections of docs/migrate-from-wcs.md have tables of properties.
var propertySections = []string{"### Connections", "### Hooks and applications", "### REST API and statistics", "### Media"}

// learn reads the documents.
func learn() knowledge {
	k := knowledge{make(map[what]served), make(map[string]string)}
	for _, s := range sections {
		for _, row := range docs.Table(s.file, s.heading) {
			for _, name := range docs.Names(row[0]) {
				k.rows[what{s.kind, s.prefix + name}] = served{support(row[1]), docs.Plain(row[2]), s.file}
			}
		}
	}
	for _, heading := range fieldSections {
		for _, row := range docs.Table("fidelity.md", heading) {
			for _, message := range docs.Names(row[0]) {
				for _, field := range docs.Names(row[1]) {
					k.rows[what{kindField, message + "." + field}] = served{support(row[2]), docs.Plain(row[3]), "fidelity.md"}
				}
			}
		}
	}
	for _, row := range docs.Table("rest-api.md", "## Endpoints") {
		for _, name := range docs.Names(row[0]) {
			key := what{kindREST, strings.TrimPrefix(name, "/rest-api")}
			if _, known := k.rows[key]; !known && name != "/" {
				k.rows[key] = served{full, docs.Plain(row[2]), "rest-api.md"}
			}
		}
	}
	for _, row := range docs.Table("backend-hooks.md", "## Methods") {
		s := served{full, "called " + docs.Plain(row[1]), "backend-hooks.md"}
		if row[1] == "never" {
			s.support, s.how = none, "never called"
		}
		for _, name := range docs.Names(row[0]) {
			k.rows[what{kindHook, name}] = s
		}
	}
	for _, heading := range propertySections {
		for _, row := range docs.Table("migrate-from-wcs.md", heading) {
			for _, name := range docs.Names(row[0]) {
				k.properties[name] = docs.Plain(row[1])
			}
		}
	}
	return k
}

// anyOther is the row of all commands that have none.
const anyOther = "getStreamInfo"

// of returns how something is served.
func (k knowledge) of(w what) served {
	if s, ok := k.rows[w]; ok {
		return s
	}
	switch w.kind {
	case kindCommand:
		return k.rows[what{kindCommand, anyOther}]
	case kindField:
		message, member, _ := strings.Cut(w.name, ".")
		if message == "connection" && strings.HasPrefix(member, "sip") {
			return k.rows[what{kindField, "connection.sip…"}]
		}
		if s, ok := k.rows[what{kindField, message + ".…"}]; ok {
			return s
		}
		if _, isCommand := k.rows[what{kindCommand, message}]; !isCommand {
			return served{none, "not known: never sent", "fidelity.md"}
		}
		return served{none, "not known: ignored", "wcs-protocol.md"}
	case kindMessage:
		return served{none, "never sent", "fidelity.md"}
	case kindREST: // a row such as /mixer has all that is below
		for name := w.name; ; {
			i := strings.LastIndexByte(name, '/')
			if i <= 0 {
				break
			}
			name = name[:i]
			if s, ok := k.rows[what{kindREST, name}]; ok {
				return s
			}
		}
		return served{none, "404", "rest-api.md"}
	}
	return served{none, "not known", "fidelity.md"}
}

// namesOf returns the names of a kind, sorted.
func (k knowledge) namesOf(kind string) (names []string) {
	for w := range k.rows {
		if w.kind == kind {
			names = append(names, w.name)
		}
	}
	slices.Sort(names)
	return names
}

// configure is what to set for things that the gateway serves only, or better, with a setting. <appKey>
// stands for the application.
var configure = map[what]string{
	{kindField, "publishStream.record"}:    "applications.<appKey>.record: allowed, and LiveKit's egress service",
	{kindField, "publishStream.rtmpUrl"}:   "applications.<appKey>.rtmpHosts, and LiveKit's egress service",
	{kindField, "connection.keepAlive"}:    "session.keepAliveGrace",
	{kindField, "connection.sip…"}:         "applications.<appKey>.route.rules: [{sip: true, to: <upstream>}], or hybrid.fallback",
	{kindField, "playStream.transport"}:    "LiveKit: rtc.tcp_port",
	{kindCommand, "call"}:                  "applications.<appKey>.route.rules: [{sip: true, to: <upstream>}], or hybrid.fallback",
	{kindCommand, "connectMediaTransport"}: "upstreams.<name>.mediaSockets: true",
	{kindCommand, "snapshot"}:              "snapshot.ffmpeg for other codecs than VP8",
	{kindCommand, "sendData"}:              "applications.<appKey>.hooks.url, or rooms: on",
	{kindCommand, "pauseStream"}:           "applications.<appKey>.hybrid.fallback: true",
	{kindCommand, "changeQuality"}:         "applications.<appKey>.hybrid.fallback: true",
	{kindCommand, anyOther}:                "applications.<appKey>.hybrid.fallback: true",
	{kindMessage, "inboundVideoRate"}:      "rates.source",
	{kindMessage, "outboundVideoRate"}:     "rates.source",
	{kindProvider, "MSE"}:                  "applications.<appKey>.route.rules: [{provider: MSE, to: <upstream>}]",
	{kindProvider, "WSPlayer"}:             "applications.<appKey>.route.rules: [{provider: WSPlayer, to: <upstream>}]",
	{kindPage, "/embed_player"}:            "listen.embed.enabled: true",
}

// setting returns what to configure for something, "" for nothing.
func setting(w what, s served) string {
	if text, ok := configure[w]; ok {
		return text
	}
	switch {
	case w.kind == kindREST && s.support == none:
		return "upstreams.<name>.rest.url"
	case w.kind == kindREST:
		return "rest.users"
	case w.kind == kindHook && s.support == full:
		return "applications.<appKey>.hooks.url"
	case w.kind == kindField && strings.HasPrefix(w.name, "connection.sip"):
		return configure[what{kindField, "connection.sip…"}]
	case w.kind == kindCommand && s.support == none:
		return configure[what{kindCommand, anyOther}]
	}
	return ""
}
