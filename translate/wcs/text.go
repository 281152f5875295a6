package wcs

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strconv"

	exact "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// leniently takes a number or a boolean as its JSON text where a string is wanted. Apps pass numbers as
// names, logins and ids, and WCS and the mobile SDKs take them.
var leniently = exact.JoinOptions(exactly, exact.WithUnmarshalers(exact.UnmarshalFromFunc(func(d *jsontext.Decoder, s *string) error {
	switch kind := d.PeekKind(); kind {
	case '0', 't', 'f':
		v, err := d.ReadValue()
		if err == nil && kind == '0' && !plain(string(v)) {
			return &exact.SemanticError{JSONKind: kind, Err: errNumber}
		}
		*s = string(v)
		return err
	}
	return exact.SkipFunc
})))

// errNumber is the error about a number where a string is wanted.
var errNumber = errors.New("number that is not written in full")

// plain reports whether every reader of a number writes it as it was sent: whole numbers and short fractions,
// as JavaScript writes them. JSON.parse reads 1e2 as 100, 1.0 as 1 and 9007199254740993 as 9007199254740992,
// and others keep the text.
func plain(number string) bool {
	f, err := strconv.ParseFloat(number, 64)
	size := math.Abs(f)
	return err == nil && strconv.FormatFloat(f, 'f', -1, 64) == number && number != "-0" &&
		(f == math.Trunc(f) && size < 1<<63 || 1e-3 <= size && size < 1e7)
}

// wellFormed returns text with the escape of U+FFFD for each half of a surrogate pair. JSON.parse keeps such
// halves apart, and Go reads U+FFFD for all of them. A text without any is returned as it is, and another one
// is not changed. It need not be JSON.
func wellFormed(text []byte) []byte {
	own := text
	for i := 0; i < len(text); {
		next := bytes.IndexByte(text[i:], '\\')
		if next < 0 {
			break
		}
		i += next
		half := surrogate(text[i:])
		switch {
		case half == 0:
			i += 2 // another escape
			continue
		case half < 0xdc00 && surrogate(text[i+6:]) >= 0xdc00:
			i += 12
			continue
		}
		if &own[0] == &text[0] {
			own = bytes.Clone(text)
		}
		copy(own[i:], `\ufffd`)
		i += 6
	}
	return own
}

// surrogate returns the half of a surrogate pair whose escape text begins with, or 0.
func surrogate(text []byte) uint16 {
	if len(text) < 6 || text[1] != 'u' || text[2]|0x20 != 'd' {
		return 0
	}
	var half [2]byte
	if _, err := hex.Decode(half[:], text[2:6]); err != nil || half[0] < 0xd8 {
		return 0
	}
	return binary.BigEndian.Uint16(half[:])
}
