package wcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
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

// seen are the members on which the gateway or a backend decides, as one of them reads a message.
type seen struct {
	Message, AppKey, KeepAlive, AuthToken, Login, ID, Name, Type, Room, Operation, Command, Join, To, SendTo string
}

// read returns what the gateway takes from a message. ok is false if it rejects the message.
func read(text string) (got seen, ok bool) {
	c, err := Decode([]byte(text))
	if err != nil {
		return got, false
	}
	got.Message = string(c.Name)
	var conn Connection
	var req StreamRequest
	var ref StreamRef
	var event StreamEvent
	var data SendData
	for _, v := range []any{&conn, &req, &ref, &event, &data} {
		if c.Bind(v) != nil {
			return got, false
		}
	}
	if ref.Name != req.Name || ref.MediaSessionID != req.MediaSessionID || event.MediaSessionID != req.MediaSessionID {
		return seen{}, true
	}
	got.AppKey, got.KeepAlive, got.AuthToken, got.Login = conn.AppKey, fmt.Sprint(bool(conn.KeepAlive)), conn.AuthToken, conn.Login()
	got.ID, got.Name, got.Type, got.Room, got.Operation = req.MediaSessionID, req.Name, string(event.Type), RoomOf(c.Arg), data.OperationID
	command, is, err := ParseRoomCommand(data.Payload)
	if err != nil {
		return got, false
	}
	if is {
		got.Command, got.To = command.Command, command.To
		if command.Command == RoomMessage {
			got.SendTo = command.Room
		} else {
			got.Join = command.Room
		}
	}
	return got, true
}

// reader is what a backend with JSON.parse takes from the same messages.
const reader = `
const text = v => ['string', 'number', 'boolean'].includes(typeof v) ? String(v) : '';
const rooms = ['join', 'leave', 'sendMessage'];
process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0, 'utf8')).map(doc => {
  let m; try { m = JSON.parse(doc); } catch (e) { return null; }
  const d = m.data[0] || {}, custom = d.custom || {}, payload = d.payload || {}, options = payload.options || {};
  const is = rooms.includes(payload.command), send = payload.command === 'sendMessage';
  return {Message: text(m.message), AppKey: text(d.appKey), KeepAlive: String(d.keepAlive === true), AuthToken: text(d.authToken),
    Login: text(custom.login) || text(d.login) || text(d.sipLogin), ID: text(d.mediaSessionId), Name: text(d.name), Type: text(d.type), Room: text(custom.name),
    Operation: text(d.operationId), Command: is ? payload.command : '', Join: is && !send ? text(options.name) : '',
    To: is ? text(options.to) : '', SendTo: send ? text((options.roomConfig || {}).name) : ''};
})));`

// Documents with names in other cases, twice, escaped and nested are decoded by the gateway and by Node.
func TestGatewayAndJSONParseReadTheSameMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Node")
	}
	r := rand.New(rand.NewPCG(15, 2))
	docs := make([]string, 6000)
	for i := range docs {
		docs[i] = document(r)
	}
	in, err := json.Marshal(docs)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", "-e", reader)
	node.Stdin = bytes.NewReader(in)
	out, err := node.Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs []*seen
	if err := json.Unmarshal(out, &theirs); err != nil || len(theirs) != len(docs) {
		t.Fatalf("%d answers, %v", len(theirs), err)
	}
	accepted, rejected := 0, 0
	for i, doc := range docs {
		got, ok := read(doc)
		switch {
		case !ok:
			rejected++
		case theirs[i] == nil:
			t.Errorf("JSON.parse rejects %s", doc)
		case got != *theirs[i]:
			t.Errorf("%s\ngateway %+v\nbackend %+v", doc, got, *theirs[i])
		default:
			accepted++
		}
	}
	if accepted < len(docs)/10 || rejected < len(docs)/10 {
		t.Errorf("%d accepted, %d rejected of %d: the documents test too little", accepted, rejected, len(docs))
	}
}

// document returns a message whose members are sometimes in another case, twice or escaped.
func document(r *rand.Rand) string {
	options := object(r, "name", text(r), "to", text(r), "roomConfig", object(r, "name", text(r)))
	payload := object(r, "command", pick(r, `"join"`, `"leave"`, `"sendMessage"`, text(r)), "options", options)
	custom := object(r, "login", text(r), "name", text(r))
	arg := object(r, "appKey", text(r), "keepAlive", pick(r, "true", "false"), "authToken", text(r), "login", text(r), "sipLogin", text(r),
		"mediaSessionId", text(r), "name", text(r), "type", text(r), "operationId", text(r), "custom", custom, "payload", payload)
	return `{"message":"publishStream","data":[` + arg + `]}`
}

func text(r *rand.Rand) string {
	n := r.IntN(1000)
	return pick(r, fmt.Sprintf(`"t%d"`, n), fmt.Sprintf(`"t%d"`, n), fmt.Sprintf(`"t%d"`, n), strconv.Itoa(n), "true")
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// object returns an object of some of the given names and values, in any order.
func object(r *rand.Rand, pairs ...string) string {
	var members []string
	for i := 0; i < len(pairs); i += 2 {
		if r.IntN(8) == 0 {
			continue
		}
		members = append(members, `"`+spelled(r, pairs[i])+`":`+pairs[i+1])
		if r.IntN(60) == 0 {
			members = append(members, `"`+spelled(r, pairs[i])+`":`+text(r))
		}
	}
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return "{" + strings.Join(members, pick(r, ",", " ,\n")) + "}"
}

// spelled returns a name, sometimes in another case or with an escape.
func spelled(r *rand.Rand, name string) string {
	switch at := r.IntN(len(name)); r.IntN(40) {
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
