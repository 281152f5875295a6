package wcs

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDeeperCountsNestingOutsideStrings(t *testing.T) {
	for text, depth := range map[string]int{
		``: 0, `"[[["`: 0, `[]`: 1, `{"a":[1,{"b":[]}]}`: 4, `[[],[],[[]]]`: 3, `["\"[[["]`: 1, `["\\",[]]`: 2, `["\\\"[[[",[]]`: 2,
		`{"message":"x","data":[{"sdp":"a=x [[[[ \r\n {{{"}]}`: 3, `"unended [[[`: 0, `]]]]`: 0,
	} {
		if Deeper([]byte(text), depth) {
			t.Errorf("Deeper(%s, %d) = true", text, depth)
		}
		if depth > 0 && !Deeper([]byte(text), depth-1) {
			t.Errorf("Deeper(%s, %d) = false", text, depth-1)
		}
	}
}

// FuzzDeeper checks that the depth of valid JSON is exact.
func FuzzDeeper(f *testing.F) {
	for _, s := range []string{`{"a":["\"[",{"b":"\\"}]}`, `[[[]]]`, `"\u005b["`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			Deeper([]byte(text), 3)
			return
		}
		depth := depthOf(text)
		if Deeper([]byte(text), depth) || depth > 0 && !Deeper([]byte(text), depth-1) {
			t.Errorf("%s: the depth is %d", text, depth)
		}
	})
}

// depthOf counts with the help of the decoder.
func depthOf(text string) (deepest int) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber() // a number can be too large for any type
	for depth := 0; ; {
		token, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
			deepest = max(deepest, depth)
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
}

func BenchmarkDeeper(b *testing.B) {
	frame := []byte(`{"message":"publishStream","data":[{"mediaSessionId":"m","sdp":"` + strings.Repeat(`a=rtpmap:96 VP8/90000\r\n`, 350) + `","custom":{"a":1}}]}`)
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if Deeper(frame, 100) {
			b.Fatal("too deep")
		}
	}
}
