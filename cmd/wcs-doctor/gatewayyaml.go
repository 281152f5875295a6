package main

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"wcsgateway/cmd/internal/config"
	"wcsgateway/translate/transcript"
	"wcsgateway/translate/wcs"
)

// translation is a property of a WCS server whose value becomes that of a setting. The table of properties in
// docs/migrate-from-wcs.md names the setting, too.
type translation struct {
	property, setting string
	value             func(text string) (any, error)
}

var translations = []translation{
	{"ws.port", "listen.public", port},
	{"wss.port", "listen.secure", port},
	{"keep_alive.server_interval", "session.pingInterval", duration(time.Millisecond)},
	{"keep_alive.probes", "session.pingProbes", number},
	{"allow_domains", "listen.origins", list},
	{"http.port", "rest.listen", port},
	{"rest_access_control_allow_origin", "rest.origins", list},
	{"stream_record_policy_template", "recording.template", text},
	{"snapshot_taking_interval_ms", "snapshot.timeout", duration(time.Millisecond)},
}

// perApplication are settings of each application that has hooks.url, which no input names.
var perApplication = []translation{
	{"rest_request_timeout", "hooks.timeout", duration(time.Second)},
	{"rest_client_request_retry_count", "hooks.retries", number},
}

func port(text string) (any, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	return fmt.Sprintf(":%d", n), err
}

func number(text string) (any, error) { return strconv.Atoi(text) }

func text(text string) (any, error) { return text, nil }

func list(text string) (any, error) {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }), nil
}

func duration(unit time.Duration) func(string) (any, error) {
	return func(text string) (any, error) {
		n, err := strconv.ParseUint(text, 10, 31)
		return (time.Duration(n) * unit).String(), err
	}
}

// section is a section of the file.
type section = map[string]any

// set sets a value by its path. Sections are made as needed.
func set(root section, path string, v any) {
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		next, ok := root[key].(section)
		if !ok {
			next = section{}
			root[key] = next
		}
		root = next
	}
	root[keys[len(keys)-1]] = v
}

// remove removes a value, and its section if that is empty then.
func remove(root section, path string) {
	first, rest, ok := strings.Cut(path, ".")
	inner, isSection := root[first].(section)
	if ok && isSection {
		remove(inner, rest)
	}
	if !ok || isSection && len(inner) == 0 {
		delete(root, first)
	}
}

// oldServer is the address of the WCS server in the file, which no input names.
const oldServer = "wss://wcs-old.example:8443"

// maxApplications is the most that the file has. applicationKey matches those that it can have.
const maxApplications = 1000

var applicationKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// firstConfig returns a file to begin with: the applications of the transcripts, still served by the WCS
// server, with what they use, and the properties that have a setting. The gateway accepts it.
func firstConfig(transcripts []transcript.Transcript, properties []property, all []used) (string, error) {
	root := section{
		"livekit": section{"url": "http://localhost:7880", "apiKey": "KEY", "apiSecret": "SECRET"},
		"redis":   section{"addrs": []string{"localhost:6379"}},
	}
	var notes []string
	applications := applicationsOf(transcripts, all)
	for _, t := range perApplication {
		if v, ok := valueOf(t, properties); ok {
			notes = append(notes, fmt.Sprintf("applications.<appKey>.%s: %v # with hooks.url", t.setting, v))
		}
	}
	root["applications"] = applications
	if len(transcripts) > 0 {
		old := section{"url": oldServer}
		if slices.ContainsFunc(all, func(u used) bool { return u.Name == "MSE" || u.Name == "WSPlayer" }) {
			old["mediaSockets"] = true
		}
		root["upstreams"] = section{upstreamName: old}
	}
	tried := make(map[string]translation)
	for _, t := range translations {
		if v, ok := valueOf(t, properties); ok {
			if pages, _ := v.([]string); t.setting == "rest.origins" && slices.Contains(pages, "*") {
				notes = append(notes, t.setting+": "+t.property+" is *, so that every page can use the REST API. List the pages that do")
				continue
			}
			set(root, t.setting, v)
			tried[t.setting] = t
		}
	}
	body, err := accepted(root, tried, &notes)
	if err != nil {
		return "", err
	}
	var head strings.Builder
	head.WriteString("# A first configuration, by wcs-doctor. Replace KEY, SECRET and the addresses, and add hooks.url to applications with\n" +
		"# a backend. docs/configuration.md describes every setting; `wcs-gateway check` examines the file.\n")
	if len(notes) > 0 {
		head.WriteString("# Not in the file:\n")
	}
	for _, note := range notes {
		fmt.Fprintf(&head, "#   %s\n", strings.ReplaceAll(printable(note), "\n", " "))
	}
	return head.String() + "\n" + body, nil
}

// accepted returns the file without the translated settings that the gateway rejects.
func accepted(root section, tried map[string]translation, notes *[]string) (string, error) {
	for {
		var b bytes.Buffer
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		if err := e.Encode(root); err != nil {
			return "", err
		}
		_, err := config.Parse(b.Bytes())
		if err == nil {
			return b.String(), nil
		}
		removed := false
		for _, f := range config.Faults(err) {
			for key, t := range tried {
				if strings.HasPrefix(f.Key, key) {
					remove(root, key)
					delete(tried, key)
					*notes = append(*notes, fmt.Sprintf("%s: the value of %s does not fit: %s", key, t.property, f.Text))
					removed = true
				}
			}
		}
		if !removed {
			return "", fmt.Errorf("the first configuration is not valid: %w", err)
		}
	}
}

// valueOf returns the value for a setting, if its property is set to one that can be read.
func valueOf(t translation, properties []property) (v any, ok bool) {
	for _, p := range properties {
		if p.name == t.property && p.value != "" {
			value, err := t.value(p.value)
			v, ok = value, err == nil
		}
	}
	return v, ok
}

// upstreamName is the WCS server's name in the file.
const upstreamName = "old"

// applicationsOf returns the section applications.
func applicationsOf(transcripts []transcript.Transcript, all []used) section {
	keys := make(map[string]bool)
	missing := make(map[string]bool) // applications for which the WCS server says Stream not found
	for _, t := range transcripts {
		if applicationKey.MatchString(t.App) && len(keys) < maxApplications {
			keys[t.App] = true
			missing[t.App] = missing[t.App] || saysNotFound(t)
		}
	}
	if len(keys) == 0 {
		return section{"defaultApp": section{}}
	}
	applications := section{}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		app := section{}
		uses := func(match func(u used) bool) bool {
			return slices.ContainsFunc(all, func(u used) bool { return slices.Contains(u.Applications, key) && match(u) })
		}
		if uses(func(u used) bool { return u.Name == "publishStream.record" }) {
			app["record"] = config.RecordAllowed
		}
		if missing[key] {
			app["missingStream"] = wcs.InfoStreamNotFound
		}
		var rules []section
		if uses(func(u used) bool { return u.Name == "call" || strings.HasPrefix(u.Name, "connection.sip") }) {
			rules = append(rules, section{"sip": true, "to": upstreamName})
		}
		for _, provider := range []string{"MSE", "WSPlayer"} {
			if uses(func(u used) bool { return u.Kind == kindProvider && u.Name == provider }) {
				rules = append(rules, section{"provider": provider, "to": upstreamName})
			}
		}
		route := section{"default": upstreamName, "share": 0}
		if rules != nil {
			route["rules"] = rules
		}
		app["route"] = route
		applications[key] = app
	}
	return applications
}

// saysNotFound reports whether the server's text for a stream that does not exist is another than the
// gateway's.
func saysNotFound(t transcript.Transcript) bool {
	return slices.ContainsFunc(t.Messages, func(m transcript.Message) bool {
		if m.From != transcript.Server || m.Name != string(wcs.NoteStreamStatus) || len(m.Data) == 0 {
			return false
		}
		argument, _ := m.Data[0].(map[string]any)
		return argument["info"] == "="+wcs.InfoStreamNotFound
	})
}
