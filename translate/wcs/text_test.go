package wcs

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// Go reads U+FFFD for each half of a surrogate pair, JavaScript and Java keep them apart. So two users for a
// backend would be one for the gateway, unless both are given the same text.
func TestHalvesOfSurrogatePairsAreReplacedForAllReaders(t *testing.T) {
	for sent, want := range map[string]string{
		`a\ud800b`: `a\ufffdb`, `\uDBFF`: `\ufffd`, `\udc00\ud800`: `\ufffd\ufffd`, `\ud800\ud800\udc00`: `\ufffd\ud800\udc00`,
		`\ud83d\ude00`: `\ud83d\ude00`, `\\ud800`: `\\ud800`, `\\\ud800`: `\\\ufffd`, `\ud7ff\ue000`: `\ud7ff\ue000`, `\ud800\n`: `\ufffd\n`,
	} {
		frame := `{"message":"connection","data":[{"custom":{"login":"` + sent + `"}}]}`
		c, err := Decode([]byte(frame))
		if want := `{"custom":{"login":"` + want + `"}}`; err != nil || string(c.Arg) != want {
			t.Errorf("%s: passed on as %s, want %s: %v", sent, c.Arg, want, err)
			continue
		}
		var conn Connection
		var login string
		if err := errors.Join(c.Bind(&conn), json.Unmarshal([]byte(`"`+want+`"`), &login)); err != nil || conn.Login() != login {
			t.Errorf("%s: login %q, want %q: %v", sent, conn.Login(), login, err)
		}
		o, err := Object([]byte(`{"custom":"` + sent + `"}`))
		if err != nil || string(o["custom"]) != `"`+want+`"` {
			t.Errorf("answer %s: %s, want %s: %v", sent, o["custom"], want, err)
		}
	}
	frame := []byte(`{"message":"x\ud800"}`)
	if _, err := Decode(frame); err != nil || !strings.Contains(string(frame), `\ud800`) {
		t.Errorf("the frame itself is now %s: %v", frame, err)
	}
	for _, cut := range []string{`\`, `\ud`, `\ud800\`, `\ud800\udc0`, `"\ud8zz"`} {
		if got := wellFormed([]byte(cut)); json.Valid(got) {
			t.Errorf("%q is no JSON, and becomes %q", cut, got)
		}
	}
}

// Text of which much is replaced costs one copy.
func TestReplacingHalvesOfPairsCostsOneCopy(t *testing.T) {
	for _, unit := range []string{`\ud800`, `\udfff\n`, `\udzzz`, `\\`} {
		text := []byte(strings.Repeat(unit, 10_000))
		if n := testing.AllocsPerRun(5, func() { _ = wellFormed(text) }); n > 1 || len(wellFormed(text)) != len(text) {
			t.Errorf("%s: %v allocations, %d bytes become %d", unit, n, len(text), len(wellFormed(text)))
		}
	}
}

func TestMessageThatIsNotUTF8IsRejected(t *testing.T) {
	_, err := Decode([]byte("{\"message\":\"connection\",\"data\":[{\"custom\":{\"login\":\"\xff\"}}]}"))
	if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("got %v", err)
	}
}

// A number is a name only if all readers write it the same way: JSON.parse makes 100 of 1e2.
func TestNumbersThatReadersWriteDifferentlyAreNoNames(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "7": true, "-12": true, "1.5": true, "-0.25": true, "9007199254740991": true, "100000000000": true,
		"-0": false, "1e2": false, "1E0": false, "1.0": false, "1.50": false, "9007199254740992": true, "9007199254740993": false,
		"1234567890123456800": true, "1234567890123456789": false,
		"12345678901234567890": false, "0.0001": false, "12345678.5": false, "0.1000000000000000055": false, "1e999": false,
	} {
		var req StreamRequest
		err := Command{Name: CmdPublishStream, Arg: json.RawMessage(`{"name":` + text + `}`)}.Bind(&req)
		if (err == nil) != want || want && req.Name != text {
			t.Errorf("%s: name %q, %v", text, req.Name, err)
		}
		if err != nil && !strings.Contains(err.Error(), "publishStream: name must not be a number that is not written in full") {
			t.Errorf("%s: %v", text, err)
		}
		for _, sent := range []string{`{"custom":{"login":` + text + `},"login":"other"}`, `{"login":` + text + `,"sipLogin":"other"}`} {
			var c Connection
			if err := c.UnmarshalJSON([]byte(sent)); err != nil || want && c.Login() != text || !want && c.Login() != "" {
				t.Errorf("%s: login %q, %v", sent, c.Login(), err)
			}
		}
	}
}
