package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"wcsgateway/cmd/internal/build"
	"wcsgateway/translate/transcript"
)

// report is what wcs-doctor found.
type report struct {
	Version     string         `json:"version"`
	Transcripts int            `json:"transcripts"`
	Requests    int            `json:"requests"` // in logs
	Used        []used         `json:"used"`     // what is not served comes first
	Properties  []usedProperty `json:"properties"`
	Differences []difference   `json:"differences"`
	Config      string         `json:"config"` // a first gateway.yaml
}

// used is one thing that an app uses.
type used struct {
	Kind         string   `json:"kind"`
	Name         string   `json:"name"`
	Fields       []string `json:"fields,omitempty"` // of a command or message that is not served at all
	Applications []string `json:"applications,omitempty"`
	Count        int      `json:"count"`
	Support      support  `json:"support"`
	How          string   `json:"how"`
	Configure    string   `json:"configure,omitempty"`
	Document     string   `json:"document"`
}

// usedProperty is a property that the WCS server sets. Its value is not in the report: it can be a secret.
type usedProperty struct {
	Name string `json:"name"`
	Here string `json:"here"` // "": no counterpart
}

// uses collects what an app uses.
type uses struct {
	k      knowledge
	counts map[what]int
	apps   map[what]map[string]bool
	with   map[what]map[string]bool // fields of commands and messages that are not served at all
}

func (u *uses) add(kind, name, app string, n int) {
	w := what{kind, name}
	u.counts[w] += n
	if app != "" {
		note(u.apps, w, app)
	}
}

func note(of map[what]map[string]bool, w what, text string) {
	if of[w] == nil {
		of[w] = make(map[string]bool)
	}
	of[w][text] = true
}

// examine reads all inputs.
func examine(in inputs) (r report, err error) {
	u := uses{learn(), make(map[what]int), make(map[what]map[string]bool), make(map[what]map[string]bool)}
	var transcripts []transcript.Transcript
	for _, file := range in.transcripts {
		all, err := readTranscripts(file)
		if err != nil {
			return r, err
		}
		transcripts = append(transcripts, all...)
	}
	for _, t := range transcripts {
		u.transcript(t)
	}
	for _, file := range in.logs {
		err := readRequests(file, func(path string, query url.Values) {
			r.Requests++
			u.request(path, query)
		})
		if err != nil {
			return r, err
		}
	}
	var properties []property
	if in.properties != "" {
		if properties, err = readProperties(in.properties); err != nil {
			return r, err
		}
	}
	r.Version, r.Transcripts, r.Used = build.Version(version), len(transcripts), u.all()
	r.Properties = u.k.used(properties)
	if r.Differences, err = compare(transcripts, u.k.namesOf(kindField)); err != nil {
		return r, err
	}
	r.Config, err = firstConfig(transcripts, properties, r.Used)
	return r, err
}

// transcript adds what a session uses.
func (u *uses) transcript(t transcript.Transcript) {
	var connection map[string]any
	for _, m := range t.Messages {
		argument := map[string]any{}
		if len(m.Data) > 0 {
			argument, _ = m.Data[0].(map[string]any)
		}
		switch m.Name {
		case "connection":
			connection = argument
		case "getUserData": // what it echoes are fields of connection
			argument = maps.Clone(argument)
			maps.DeleteFunc(argument, func(name string, _ any) bool { return connection[name] != nil })
		}
		typ, _ := argument["type"].(string)
		typ, isType := strings.CutPrefix(typ, "=")
		if m.From == transcript.Server {
			u.add(kindMessage, m.Name, t.App, 1)
			u.fields(what{kindMessage, m.Name}, argument, t.App)
			if m.Name == "notifyStreamEvent" && isType {
				u.add(kindEvent, typ, t.App, 1)
			}
			continue
		}
		u.add(kindCommand, m.Name, t.App, 1)
		u.fields(what{kindCommand, m.Name}, argument, t.App)
		if m.Name == "sendStreamEvent" && isType {
			u.add(kindEvent, typ, t.App, 1)
		}
		u.provider(argument, t.App)
	}
	for name, n := range t.Further {
		side, name, _ := strings.Cut(name, " ")
		u.add(map[string]string{"client": kindCommand, "server": kindMessage}[side], name, t.App, n)
	}
}

// fields adds the members of a command or message that are set.
func (u *uses) fields(of what, argument map[string]any, app string) {
	unserved := u.k.of(of).support == none
	for name, v := range argument {
		text, isText := v.(string)
		switch {
		case isText && slices.Contains([]string{"null", "false", "0", "empty"}, text):
		case unserved:
			note(u.with, of, name)
		default:
			u.add(kindField, of.name+"."+name, app, 1)
		}
	}
}

// provider adds the media provider of a stream, or the first one of a client, if it is not WebRTC.
func (u *uses) provider(argument map[string]any, app string) {
	name := argument["mediaProvider"]
	if list, ok := argument["mediaProviders"].([]any); ok && len(list) > 0 {
		name = list[0]
	}
	if text, ok := name.(string); ok && strings.HasPrefix(text, "=") && text != "=WebRTC" {
		u.add(kindProvider, text[1:], app, 1)
	}
}

// endpoint matches paths of the REST API that are shown.
var endpoint = regexp.MustCompile(`^(/[A-Za-z_]{1,40}){1,4}$`)

// request adds what a request of a log uses.
func (u *uses) request(path string, query url.Values) {
	if _, name, ok := strings.Cut(path, "/rest-api/"); ok {
		name = "/" + name
		if !endpoint.MatchString(name) {
			name = transcript.NameOther
		}
		u.add(kindREST, name, "", 1)
		return
	}
	if path == "/" && query.Has("action") {
		u.add(kindREST, "/?action=stat", "", 1)
		return
	}
	for _, page := range u.k.namesOf(kindPage) {
		if path == page || strings.HasPrefix(path, page+"/") {
			u.add(kindPage, page, "", 1)
			return
		}
	}
	if method := path[strings.LastIndexByte(path, '/')+1:]; slices.Contains(u.k.namesOf(kindHook), method) {
		u.add(kindHook, method, "", 1)
	}
}

// all returns everything, what is not served first.
func (u *uses) all() []used {
	all := []used{}
	for w, n := range u.counts {
		s := u.k.of(w)
		all = append(all, used{
			Kind: w.kind, Name: w.name, Fields: slices.Sorted(maps.Keys(u.with[w])), Applications: slices.Sorted(maps.Keys(u.apps[w])), Count: n,
			Support: s.support, How: s.how, Configure: setting(w, s), Document: s.doc,
		})
	}
	rank := []support{none, partial, full}
	slices.SortFunc(all, func(a, b used) int {
		return cmp.Or(
			cmp.Compare(slices.Index(rank, a.Support), slices.Index(rank, b.Support)),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name),
		)
	})
	return all
}

var propertyName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,80}$`)

func (k knowledge) used(properties []property) []usedProperty {
	all := []usedProperty{}
	for _, p := range properties {
		if propertyName.MatchString(p.name) {
			all = append(all, usedProperty{p.name, k.properties[p.name]})
		}
	}
	slices.SortFunc(all, func(a, b usedProperty) int { return cmp.Compare(a.Name, b.Name) })
	return slices.Compact(all)
}

// attention reports whether something is not served, or responses differ.
func (r report) attention() bool {
	return len(r.Differences) > 0 || slices.ContainsFunc(r.Used, func(u used) bool { return u.Support == none })
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// write writes the report as text.
func (r report) write(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "wcs-doctor %s: %d transcripts, %d requests of logs, %d properties\n", r.Version, r.Transcripts, r.Requests, len(r.Properties))
	for _, part := range []struct {
		support support
		title   string
	}{{none, "Not served"}, {partial, "Served in part"}, {full, "Served as by WCS"}} {
		r.writeUsed(&text, part.support, part.title)
	}
	if len(r.Properties) > 0 {
		text.WriteString("\nProperties of the WCS server (docs/migrate-from-wcs.md)\n")
		var without []string
		for _, p := range r.Properties {
			if p.Here == "" {
				without = append(without, p.Name)
				continue
			}
			fmt.Fprintf(&text, "  %s: %s\n", p.Name, p.Here)
		}
		if len(without) > 0 {
			fmt.Fprintf(&text, "  without counterpart: %s\n", strings.Join(without, ", "))
		}
	}
	if r.Transcripts > 0 {
		text.WriteString("\nDifferences between the responses of the WCS server and of this gateway\n")
		for _, d := range r.Differences {
			fmt.Fprintf(&text, "  %s: %s (%s)\n", d.Command, d.Text, times(d.Times))
		}
		if len(r.Differences) == 0 {
			text.WriteString("  none\n")
		}
	}
	fmt.Fprintf(&text, "\nA first gateway.yaml\n\n%s", r.Config)
	_, err := io.WriteString(printableWriter{w}, text.String())
	return err
}

func (r report) writeUsed(text *strings.Builder, of support, title string) {
	first := true
	for _, u := range r.Used {
		if u.Support != of {
			continue
		}
		if first {
			fmt.Fprintf(text, "\n%s\n", title)
			first = false
		}
		fmt.Fprintf(text, "  %s %s (%s", u.Kind, u.Name, times(u.Count))
		if len(u.Applications) > 0 {
			fmt.Fprintf(text, "; %s", strings.Join(u.Applications, ", "))
		}
		text.WriteString(")\n")
		if u.How != "" && of != full {
			fmt.Fprintf(text, "    here: %s (docs/%s)\n", u.How, u.Document)
		}
		if len(u.Fields) > 0 {
			fmt.Fprintf(text, "    with: %s\n", strings.Join(u.Fields, ", "))
		}
		if u.Configure != "" {
			fmt.Fprintf(text, "    configure: %s\n", u.Configure)
		}
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
