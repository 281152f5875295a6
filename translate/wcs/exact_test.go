package wcs

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestNamesThatDecodersReadDifferentlyAreRejected(t *testing.T) {
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{`{}`, true}, {`{"a":{"a":[{"a":1},{"a":2}]},"b":"a"}`, true}, {`["a","a"]`, true}, {`{"a":"A","b":"a:"}`, true},
		{`{"i":1,"\u0130":2}`, true}, {`{"σ":1,"s":2}`, true}, {`{"a\"":1,"a":2}`, true}, {`{"a":"\"a\":"}`, true},
		{`{"a":1,"A":2}`, false}, {`{"a":1,"b":0,"a":2}`, false}, {`{"\u0061":1,"A" : 2}`, false}, {`{"x":[{"y":{"id":1,"ID":2}}]}`, false},
		{`{"k":1,"\u212a":2}`, false}, {`{"s":1,"ſ":2}`, false}, {`{"σ":1,"ς":2}`, false}, {`{"a":{"z":1},"q":[1],"A":0}`, false},
		{`{"a\\":1,"A\\":2}`, false}, {`{"a\u002f":1,"a/":2}`, false},
	} {
		if err := checkNames([]byte(tt.text)); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrAmbiguous) {
			t.Errorf("%s: %v", tt.text, err)
		}
	}
	err := checkNames([]byte(`{"x":{"Name":"s3cr3t","name":"s3cr3t"}}`))
	if err == nil || !strings.Contains(err.Error(), `"name"`) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v, want the name and no value", err)
	}
}

// A message of many names costs 8 bytes a name, and sorting them.
func TestCheckOfNamesAllocatesLittle(t *testing.T) {
	var text bytes.Buffer
	for i := range 50_000 {
		fmt.Fprintf(&text, `,"%x":0`, i)
	}
	text.Bytes()[0] = '{'
	text.WriteByte('}')
	got := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if err := checkNames(text.Bytes()); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if most := int64(6 * text.Len()); got > most {
		t.Errorf("%d bytes of names: %d allocated, want at most %d", text.Len(), got, most)
	}
}

// The decoder's own check for names that are there twice would allocate for each name.
func TestDecodingOfManyNamesAllocatesLittle(t *testing.T) {
	for _, format := range []string{`,"%x":0`, `,"\u0061%x":0`} {
		var names strings.Builder
		for i := range 10_000 {
			fmt.Fprintf(&names, format, i)
		}
		frame := []byte(`{"message":"sendData","data":[{"operationId":"1","payload":{` + names.String()[1:] + `}}]}`)
		got := testing.AllocsPerRun(3, func() {
			c, err := Decode(frame)
			if err == nil {
				err = c.Bind(&SendData{})
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		if got > 100 {
			t.Errorf("%s: %v allocations", format, got)
		}
	}
}

// The gateway keeps each member of an argument, which costs a multiple of its text. What an app nests is not
// bounded.
func TestArgumentsOfManyMembersAreRejected(t *testing.T) {
	members := func(n int) string {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, `,"%d":[0,{"a":"}","b":0}]`, i)
		}
		return "{" + text.String()[1:] + "}"
	}
	for name, tt := range map[string]struct {
		data string
		ok   bool
	}{
		"most":        {"[" + members(maxMembers) + "]", true},
		"one more":    {"[" + members(maxMembers+1) + "]", false},
		"no array":    {members(maxMembers + 1), false},
		"nested":      {`[{"payload":` + members(maxMembers+1) + "}]", true},
		"two of most": {"[" + members(maxMembers) + "," + members(maxMembers) + "]", true},
		"an array":    {"[[" + strings.Repeat("0,", maxMembers) + "0]]", true},
	} {
		_, err := Decode([]byte(`{"message":"connection","data":` + tt.data + `}`))
		if (err == nil) != tt.ok || err != nil && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "more than 1000 members")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A name costs more than 300 ns, so a message of 1 MB could keep a processor busy for 25 ms.
func TestMessagesOfManyNamesOrValuesAreRejectedAtTheBound(t *testing.T) {
	frame := func(payload string) []byte {
		return []byte(`{"message":"sendData","data":[{"operationId":"1","payload":` + payload + `}]}`)
	}
	names := func(format string, n int) string {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, format, i)
		}
		return "{" + text.String()[1:] + "}"
	}
	elements := func(n int) string { return "[" + strings.Repeat("0,", n-1) + "0]" }
	const ownNames, ownCommas = 4, 2 // of frame
	for name, tt := range map[string]struct {
		payload string
		ok      bool
	}{
		"most names":          {names(`,"%x":0`, maxNames-ownNames), true},
		"one name more":       {names(`,"%x":0`, maxNames-ownNames+1), false},
		"names of objects":    {"[" + strings.Repeat(`{"a":0},`, maxNames) + "{}]", false},
		"most elements":       {elements(maxElements - ownCommas + 1), true},
		"one element more":    {elements(maxElements - ownCommas + 2), false},
		"colons of a string":  {`"` + strings.Repeat(`:`, 4*maxNames) + `"`, true},
		"commas and a string": {`"` + strings.Repeat(`\",`, 4*maxElements) + `"`, true},
	} {
		_, err := Decode(frame(tt.payload))
		if (err == nil) != tt.ok || err != nil && (!errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "more than 16384 names or 65536 values")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	largest := frame(names(`,"%x":0`, 80_000))
	if n := testing.AllocsPerRun(10, func() { _, _ = Decode(largest) }); n > 10 {
		t.Errorf("a message with 80,000 names is rejected after %v allocations: it was decoded", n)
	}
}
