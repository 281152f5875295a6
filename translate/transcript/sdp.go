package transcript

import (
	"slices"
	"strings"
)

// Media describes an m-line with its attributes. Kind is "session" for what is before the first.
type Media struct {
	Kind       string   `json:"kind"`
	Direction  string   `json:"direction,omitempty"`
	Codecs     []string `json:"codecs,omitempty"`     // in the order of the description
	Attributes []string `json:"attributes,omitempty"` // names, sorted
}

const maxMedia = 16

// describeSDP describes a session description. Addresses, ids, keys and fingerprints are not part of it.
func describeSDP(sdp string) any {
	all := []*Media{{Kind: "session"}}
	for line := range strings.Lines(sdp) {
		now := all[len(all)-1]
		kind, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch kind {
		case "m":
			if len(all) > maxMedia {
				return sdpOf(all)
			}
			name, _, _ := strings.Cut(value, " ")
			all = append(all, &Media{Kind: known(sdpKinds, name)})
		case "a":
			now.attribute(value)
		}
	}
	return sdpOf(all)
}

func sdpOf(all []*Media) any {
	for _, m := range all {
		slices.Sort(m.Attributes)
	}
	return map[string]any{"(sdp)": all}
}

func (m *Media) attribute(text string) {
	name, value, _ := strings.Cut(text, ":")
	if slices.Contains(sdpDirections, name) {
		m.Direction = name
		return
	}
	add(&m.Attributes, known(sdpAttributes, name))
	if name == "rtpmap" {
		_, codec, _ := strings.Cut(value, " ")
		codec, _, _ = strings.Cut(codec, "/")
		add(&m.Codecs, known(sdpCodecs, codec))
	}
}

func add(all *[]string, one string) {
	if !slices.Contains(*all, one) {
		*all = append(*all, one)
	}
}

// known returns the member of a list that equals name, whatever its case, or NameOther.
func known(list []string, name string) string {
	i := slices.IndexFunc(list, func(one string) bool { return strings.EqualFold(one, name) })
	if i < 0 {
		return NameOther
	}
	return list[i]
}
