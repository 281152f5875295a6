// Package misread makes JSON documents that decoders could read differently, and reads them with JSON.parse
// in Node, as backends do. Tests compare what the gateway reads with it.
package misread

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Source makes documents. The same seed makes the same ones.
type Source struct{ *rand.Rand }

// New returns a Source.
func New(seed uint64) Source { return Source{rand.New(rand.NewPCG(15, seed))} }

// Text returns a value that the gateway takes for a text: a string, sometimes with an escape or half of a
// surrogate pair, a number or a boolean. It is sometimes null.
func (s Source) Text() string {
	n := s.IntN(1000)
	plain := fmt.Sprintf(`"t%d"`, n)
	return s.Pick(plain, plain, plain, plain, fmt.Sprintf(`"\u0074%d"`, n), fmt.Sprintf(`"%d\ud83d\ude00\n"`, n),
		fmt.Sprintf(`"\uD83D%d\ude00"`, n), fmt.Sprintf(`"%d\ud83d\ud83d\ude00\\ud83d"`, n), fmt.Sprintf("%d.5", n), strconv.Itoa(n), "true", "null")
}

// Flag returns a value of a boolean member.
func (s Source) Flag() string {
	return s.Pick("true", "false", `"true"`, `"tr\u0075e"`, `"false"`, "1", "null")
}

// Number returns a value of an integer member.
func (s Source) Number() string {
	n := s.IntN(4000)
	return s.Pick(strconv.Itoa(n), fmt.Sprintf(`"%d"`, n), fmt.Sprintf(`"\u003%d"`, n%10), fmt.Sprintf("-%d.75", n), "1e300", `"none"`, "null")
}

// Pick returns one of the values.
func (s Source) Pick(from ...string) string { return from[s.IntN(len(from))] }

// Object returns an object of some of the given names and values, in any order. Names are sometimes in
// another case, escaped or there twice.
func (s Source) Object(pairs ...string) string {
	var members []string
	for i := 0; i < len(pairs); i += 2 {
		if s.IntN(8) == 0 {
			continue
		}
		members = append(members, `"`+s.spelled(pairs[i])+`":`+pairs[i+1])
		if s.IntN(120) == 0 {
			members = append(members, `"`+s.spelled(pairs[i])+`":`+s.Text())
		}
	}
	s.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return "{" + strings.Join(members, s.Pick(",", " ,\n")) + "}"
}

// spelled returns a name, sometimes in another case or with an escape.
func (s Source) spelled(name string) string {
	switch at := s.IntN(len(name)); s.IntN(40) {
	case 0:
		return strings.ToUpper(name)
	case 1:
		return name[:at] + strings.ToUpper(name[at:at+1]) + name[at+1:]
	case 2:
		return fmt.Sprintf(`%s\u%04x%s`, name[:at], name[at], name[at+1:])
	case 3:
		return strings.NewReplacer("s", "ſ", "k", "\u212a").Replace(name)
	}
	return name
}

// Members are the members of a document on which a decision hangs, as text.
type Members map[string]string

// Compare makes documents and checks that the gateway and JSON.parse read the same members of each that the
// gateway accepts. reader is a JavaScript function from a parsed document to its Members. It can use text(v),
// flag(v) and number(v), which read a value as the gateway must. text replaces halves of surrogate pairs, as
// the gateway does in what it passes on.
func Compare(t *testing.T, document func(Source) string, gateway func(doc string) (m Members, accepted bool), reader string) {
	t.Helper()
	source, docs := New(2), make([]string, 6000)
	for i := range docs {
		docs[i] = document(source)
	}
	theirs := parse(t, reader, docs)
	accepted, rejected := 0, 0
	for i, doc := range docs {
		ours, ok := gateway(doc)
		switch {
		case !ok:
			rejected++
		case theirs[i] == nil:
			t.Errorf("a backend rejects %s", doc)
		case !maps.Equal(ours, theirs[i]):
			t.Errorf("%s\n%s", doc, difference(ours, theirs[i]))
		default:
			accepted++
		}
	}
	if accepted < len(docs)/10 || rejected < len(docs)/10 {
		t.Errorf("%d accepted, %d rejected of %d: the documents test too little", accepted, rejected, len(docs))
	}
	for _, name := range same(theirs) {
		t.Errorf("%s is the same in all documents", name)
	}
}

// prelude has what readers can use, and applies the reader to each document.
const prelude = `
const text = v => ['string', 'number', 'boolean'].includes(typeof v) ? String(v).toWellFormed() : '';
const flag = v => String(v === true || v === 'true');
const number = v => {
  const n = typeof v === 'number' || typeof v === 'string' && v !== '' ? Number(v) : 0;
  return String(Math.trunc(Math.max(-2147483647, Math.min(2147483647, Number.isNaN(n) ? 0 : n))) || 0);
};
const read = %s;
process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0, 'utf8')).map(doc => {
  try { return read(JSON.parse(doc)); } catch (e) { return null; }
})));`

func parse(t *testing.T, reader string, docs []string) (all []Members) {
	t.Helper()
	in, err := json.Marshal(docs)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", "-e", fmt.Sprintf(prelude, reader))
	node.Stdin = bytes.NewReader(in)
	var complaint strings.Builder
	node.Stderr = &complaint
	out, err := node.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, complaint.String())
	}
	if err := json.Unmarshal(out, &all); err != nil || len(all) != len(docs) {
		t.Fatalf("%d answers, %v", len(all), err)
	}
	return all
}

// difference lists the members that differ.
func difference(ours, theirs Members) string {
	var lines []string
	both := maps.Clone(ours)
	maps.Copy(both, theirs)
	for name := range both {
		if ours[name] != theirs[name] {
			lines = append(lines, fmt.Sprintf("%s: gateway %q, backend %q", name, ours[name], theirs[name]))
		}
	}
	return strings.Join(lines, "\n")
}

// same lists the members that have one value in all documents.
func same(all []Members) (names []string) {
	first := all[slices.IndexFunc(all, func(m Members) bool { return m != nil })]
	for name, value := range first {
		if !slices.ContainsFunc(all, func(m Members) bool { return m != nil && m[name] != value }) {
			names = append(names, name)
		}
	}
	return names
}
