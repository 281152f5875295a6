package wcs

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	exact "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrAmbiguous is wrapped by errors about an object in which readers could find different values for a
// member.
var ErrAmbiguous = errors.New("ambiguous member")

// exactly are the options for types of which nothing is converted. checkNames finds names that are there
// twice; the decoder's own check costs 40 bytes for each byte of a message of short names.
var exactly = exact.JoinOptions(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))

// Unmarshal decodes JSON of clients and backends. Unlike encoding/json it matches names exactly, as the
// backends' decoders do, and rejects a text in which an object has two names that are equal when case is
// ignored. A member of type string takes numbers and booleans as their JSON text. Its errors are for FaultOf.
func Unmarshal(b []byte, v any) error { return unmarshalWith(b, v, leniently) }

// UnmarshalStrict is Unmarshal that rejects unknown members.
func UnmarshalStrict(b []byte, v any) error {
	return unmarshalWith(b, v, exact.JoinOptions(leniently, exact.RejectUnknownMembers(true)))
}

func unmarshalWith(b []byte, v any, o exact.Options) error {
	if err := exact.Unmarshal(b, v, o); err != nil {
		return err
	}
	return checkNames(b)
}

// maxMembers bounds the objects of which the gateway keeps each member: the argument of a command, a
// backend's answer and its settings. A member of a map costs a multiple of its text. Clients send about 30.
const maxMembers = 1000

// errMembers is the error about an object with more members than maxMembers.
var errMembers = fmt.Errorf("more than %d members", maxMembers)

// Object decodes an object as Unmarshal does, if it has at most maxMembers members. null is a nil map. Halves
// of surrogate pairs are replaced in its values, which go to others, too.
func Object(b []byte) (o map[string]json.RawMessage, err error) {
	b = wellFormed(b)
	if o, err = Members(b); err == nil {
		err = checkNames(b)
	}
	return o, err
}

// Members is Object for a part of a text that Object has checked.
func Members(b []byte) (o map[string]json.RawMessage, err error) {
	if moreMembers(b) {
		return nil, errMembers
	}
	err = exact.Unmarshal(b, (*rawObject)(&o), exactly)
	return o, err
}

// moreMembers reports whether a JSON text is an object with more than maxMembers members.
func moreMembers(text []byte) bool {
	depth, commas := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i += stringEnd(text[i+1:]) + 1
		case '{':
			depth++
		case '[':
			if depth++; depth == 1 {
				return false
			}
		case '}', ']':
			depth--
		case ',':
			if depth > 1 {
				continue
			}
			if commas++; commas == maxMembers {
				return true
			}
		}
	}
	return false
}

// unmarshal is Unmarshal for a part of a text that Decode or Unmarshal has checked.
func unmarshal(b []byte, v any) error { return exact.Unmarshal(b, v, leniently) }

// FaultOf describes an error of Unmarshal without repeating values: messages carry tokens and session
// descriptions.
func FaultOf(err error) string {
	var syntax *jsontext.SyntacticError
	var typ *exact.SemanticError
	switch {
	case errors.Is(err, exact.ErrUnknownName) && errors.As(err, &typ):
		return fmt.Sprintf("unknown member %q", shorten(typ.JSONPointer.LastToken()))
	case errors.As(err, &syntax):
		return fmt.Sprintf("not JSON (at byte %d)", syntax.ByteOffset+1)
	case errors.As(err, &typ) && errors.Is(typ.Err, errNumber):
		return strings.TrimSpace(shorten(dotted(typ.JSONPointer)) + " must not be a " + errNumber.Error())
	case errors.As(err, &typ) && isOwn(typ.Err):
		return typ.Err.Error()
	case errors.As(err, &typ):
		return strings.TrimSpace(shorten(dotted(typ.JSONPointer)) + " must not be a JSON " + kind(typ.JSONKind))
	case errors.Is(err, ErrAmbiguous), errors.Is(err, errMembers):
		return err.Error()
	}
	return "not JSON"
}

// isOwn reports whether err is that of a type which decodes itself.
func isOwn(err error) bool {
	var number *strconv.NumError
	return err != nil && !errors.As(err, &number)
}

// dotted returns the names of a path, without the indexes of arrays.
func dotted(p jsontext.Pointer) string {
	var names []string
	for token := range p.Tokens() {
		if _, err := strconv.Atoi(token); err != nil {
			names = append(names, token)
		}
	}
	return strings.Join(names, ".")
}

func kind(k jsontext.Kind) string {
	switch k {
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "bool"
	}
	return k.String()
}

// shorten bounds a client's name in an error.
func shorten(name string) string {
	const most = 64
	if len(name) > most {
		return strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}

var seed = maphash.MakeSeed()

// checkNames returns an error that wraps ErrAmbiguous if an object at any depth of a valid JSON text has two
// names that are equal when case is ignored. Decoders that ignore case and decoders that do not would read
// different values. It takes one pass, and 8 bytes a name.
func checkNames(text []byte) error {
	names := make([]uint64, 0, 32) // of all open objects
	starts := make([]int, 0, 8)    // for each open array and object: the start of its names; arrays have none
	folded := make([]byte, 0, 64)  // a name
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			starts = append(starts, len(names))
		case '}', ']':
			if len(starts) == 0 {
				return nil // not JSON
			}
			start := starts[len(starts)-1]
			starts = starts[:len(starts)-1]
			own := names[start:]
			if len(own) > 1 {
				slices.Sort(own)
				for j, h := range own[1:] {
					if h == own[j] {
						return fmt.Errorf("%w %q", ErrAmbiguous, shorten(lastName(text[:i], h)))
					}
				}
			}
			names = names[:start]
		case '"':
			end := i + 1 + stringEnd(text[i+1:])
			if isName(text, end) {
				folded = fold(folded[:0], text[i:end+1])
				names = append(names, maphash.Bytes(seed, folded))
			}
			i = end
		}
	}
	return nil
}

// isName reports whether the string that ends with the quote at end is the name of a member.
func isName(text []byte, end int) bool {
	for end++; end < len(text); end++ {
		switch text[end] {
		case ' ', '\t', '\r', '\n':
		default:
			return text[end] == ':'
		}
	}
	return false
}

// lastName returns the last name in text with a certain hash.
func lastName(text []byte, hash uint64) (name string) {
	for i := 0; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		end := i + 1 + stringEnd(text[i+1:])
		if isName(text, end) && maphash.Bytes(seed, fold(nil, text[i:end+1])) == hash {
			name = string(text[i+1 : end])
		}
		i = end
	}
	return name
}

// fold appends a JSON string without quotes, escapes and case.
func fold(to, quoted []byte) []byte {
	start := len(to)
	to, _ = jsontext.AppendUnquote(to, quoted) // what is not UTF-8 becomes U+FFFD, as in decoding
	raw := to[start:]
	to = to[:start]
	for i := 0; i < len(raw); { // a folded rune is never longer
		c := raw[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			to = append(to, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(raw[i:])
		to = utf8.AppendRune(to, foldRune(r))
		i += n
	}
	return to
}

// foldRune returns the smallest rune that equals r when case is ignored, in lower case if it is of ASCII.
func foldRune(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			if 'A' <= next && next <= 'Z' {
				next += 'a' - 'A'
			}
			return next
		}
		r = next
	}
}
