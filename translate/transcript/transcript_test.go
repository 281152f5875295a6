package transcript

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func writer() *Writer { return NewWriter(Transcript{App: "shop", Upstream: "old"}, []byte("key")) }

// described returns the description of one message as JSON.
func described(t *testing.T, message string) string {
	t.Helper()
	w := writer()
	w.Text(0, Client, []byte(message))
	text, err := json.Marshal(w.Finish(EndSession).Messages[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const offer = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\na=group:BUNDLE 0\r\na=my-own:secret\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=rtpmap:111 OPUS/48000/2\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:9 secret/8000\r\na=ice-pwd:secret\r\na=sendonly\r\n" +
	"m=secret 9 x\r\na=inactive\r\n"

func TestDescriptionsOfMessages(t *testing.T) {
	quoted, err := json.Marshal(offer)
	if err != nil {
		t.Fatal(err)
	}
	const sdp = `{"(sdp)":[{"kind":"session","attributes":["(other)","group"]},` +
		`{"kind":"audio","direction":"sendonly","codecs":["opus","PCMU","(other)"],"attributes":["ice-pwd","rtpmap"]},` +
		`{"kind":"(other)","direction":"inactive"}]}`
	for message, want := range map[string]string{
		`{"message":"ping","data":[]}`:                 `"message":"ping","bytes":28`,
		`{"message":"pong","data":[null]}`:             `"data":["null"]`,
		`{"message":"pong"}`:                           `"message":"pong","bytes":18}`,
		`{"message":"call","data":{"a":1.5,"b":0}}`:    `"data":[{"a":"number","b":"0"}]`,
		`{"message":"call","data":{"a4711":1}}`:        `"data":[{"(other)":{"integer":1}}]`,
		`{"message":"user-4711","data":[{"a4711":1}]}`: `"message":"(other)","bytes":44,"data":[{"(other)":{"integer":1}}]`,
		// A dictionary of users, and a message that the protocol does not have.
		`{"message":"connection","data":[{"members":{"alice":{},"bob":{},"carol":"","login":1}}]}`: `[{"members":{"(other)":{"empty":1,"object":2},"login":"integer"}}]`,
		`{"message":"getMembers","data":[{"alice":{"bob":1},"login":{"bob":1,"name":"a"}}]}`:       `"message":"getMembers","bytes":82,"data":[{"(other)":{"object":1},"login":{"(other)":{"integer":1},"name":"#780c3db4"}}]`,
		`{"message":"connection","data":[[{"alice":1}],{"alice":1}]}`:                              `"data":[[{"(other)":{"integer":1}}],{"(other)":{"integer":1}}]`,
		`not json`: `"message":"(invalid)"`,
		`[]`:       `"message":"(invalid)"`,
		`{"message":"connection","data":[{"mediaProviders":["WebRTC","mine"],"custom":{"login":"me"},"keepAlive":true,"sipLogin":""}]}`:           `{"custom":"object","keepAlive":"true","mediaProviders":["=WebRTC","string"],"sipLogin":"empty"}`,
		`{"message":"publishStream","data":[{"mediaSessionId":"a","name":"a","status":"PENDING","info":"my text","sdp":` + string(quoted) + `}]}`: `[{"info":"string","mediaSessionId":"#780c3db4","name":"#780c3db4","sdp":` + sdp + `,"status":"=PENDING"}]`,
		`{"message":"setRemoteSDP","data":["a",` + string(quoted) + `,true]}`:                                                                     `"data":["#780c3db4",` + sdp + `,"true"]`,
		`{"message":"notifyStreamEvent","data":[{"type":"data","payload":{"type":"data"}}]}`:                                                      `[{"payload":"object","type":"=data"}]`,
		`{"message":"pushLogs","data":[{"logs":"x"}]}`:                                                                                            `"data":["object"]`,
		`{"message":"call","data":[{"a":{"data":{"from":{"to":1}}},"l":[1,2,3,4,5,6]},1,2,3,4,5]}`:                                                `"data":[{"a":{"data":{"from":"object"}},"l":["integer","integer","integer","integer","(more)"]},"integer","integer","integer","(more)"]`,
	} {
		if got := described(t, message); !strings.Contains(got, want) {
			t.Errorf("%s:\n%s, want\n%s", message, got, want)
		}
	}
}

func TestHashesOfIdsDifferBetweenTranscripts(t *testing.T) {
	message := []byte(`{"message":"stopStream","data":[{"mediaSessionId":"a"}]}`)
	id := func(key string) any {
		w := NewWriter(Transcript{}, []byte(key))
		w.Text(0, Client, message)
		return w.Finish(EndSession).Messages[0].Data[0].(map[string]any)["mediaSessionId"]
	}
	if id("a") != id("a") || id("a") == id("b") {
		t.Errorf("ids %v, %v", id("a"), id("b"))
	}
}

// secrets generates documents whose texts, numbers and member names are all a client's own.
type secrets struct {
	r   *rand.Rand
	all []string
}

func (s *secrets) text() string {
	text := fmt.Sprintf("s3cret%016x", s.r.Uint64())
	s.all = append(s.all, text)
	return text
}

// letters returns a name that looks as one of the protocol.
func (s *secrets) letters() string {
	name := []byte("secretQ")
	for range 12 {
		name = append(name, byte('a'+s.r.IntN(26)))
	}
	s.all = append(s.all, string(name))
	return string(name)
}

// value returns a value at a depth. Only at depthArgument a name of letters is shown.
func (s *secrets) value(depth int) any {
	switch n := s.r.IntN(8); {
	case n < 4 || depth == 6:
		return s.text()
	case n == 4:
		number := 1_000_000_000 + s.r.IntN(1_000_000_000)
		s.all = append(s.all, fmt.Sprint(number))
		return number
	case n == 5:
		return "v=0\r\na=" + s.text() + ":" + s.text() + "\r\nm=audio " + s.text() + "\r\na=rtpmap:1 " + s.text() + "\r\na=fingerprint:" + s.text() + "\r\n" + s.text()
	case n == 6:
		list := make([]any, s.r.IntN(6))
		for i := range list {
			list[i] = s.value(depth + 1)
		}
		return list
	}
	return s.object(depth)
}

func (s *secrets) object(depth int) map[string]any {
	object := make(map[string]any)
	for range s.r.IntN(12) {
		names := []string{
			"authToken", "custom", "payload", "name", "mediaSessionId", "operationId", "callId", "id", "sdp", "info", "status",
			"sipLogin", "sipPassword", "type", "logs", "snapshot", "caller", "callee", "rtmpUrl", "recordName", "login", "data", "message",
		}
		name := names[s.r.IntN(len(names))]
		switch {
		case s.r.IntN(4) == 0 && depth > depthArgument:
			name = s.letters()
		case s.r.IntN(8) == 0:
			name = s.text()
		case s.r.IntN(4) == 0 && depth == depthArgument:
			name = "members" // is shown
		}
		object[name] = s.value(depth + 1)
	}
	return object
}

// message returns a message with the data of some client.
func (s *secrets) message(name string) map[string]any {
	depth := depthArgument
	if !knownMessages[name] {
		depth = depthBelow
	}
	var data any = s.value(depth)
	switch s.r.IntN(3) {
	case 0:
		data = []any{data}
	case 1:
		data = []any{s.object(depth), s.value(depthBelow)}
	default:
		if _, isList := data.([]any); isList {
			data = []any{data}
		}
	}
	return map[string]any{"message": name, "data": data, s.text(): s.text()}
}

// Whatever a client or server sends, a transcript has none of its values and unknown names.
func TestTranscriptHasNoContents(t *testing.T) {
	s := &secrets{r: rand.New(rand.NewPCG(1, 2))}
	names := []string{"connection", "getUserData", "setRemoteSDP", "notifyAudioCodec", "publishStream", "sendData", "pushLogs", "call", "fail", "notifyStreamStatusEvent", "unknown"}
	for range 400 {
		w := writer()
		s.all = nil
		for range 10 {
			name := names[s.r.IntN(len(names))]
			if s.r.IntN(10) == 0 {
				name = s.text()
			}
			text, err := json.Marshal(s.message(name))
			if err != nil {
				t.Fatal(err)
			}
			w.Text(time.Second, Server, text)
		}
		text, err := json.Marshal(w.Finish(EndSession))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range s.all {
			if strings.Contains(string(text), secret) {
				t.Fatalf("%q is in %s", secret, text)
			}
		}
	}
}

func TestTranscriptIsBounded(t *testing.T) {
	wide := strings.Repeat(`"`+strings.Repeat("w", 39)+`%c%d":{"a":{"b":{"c":"d"}}},`, 1)
	var members strings.Builder
	for i := range 500 {
		fmt.Fprintf(&members, wide, rune('a'+i%26), i%10)
	}
	known := slices.Sorted(maps.Keys(knownMessages))
	for name, message := range map[string]func(i int) string{
		"names":       func(i int) string { return fmt.Sprintf(`{"message":"%s","data":[{}]}`, letters(i)) },
		"one message": func(int) string { return `{"message":"ping","data":[]}` },
		"members": func(i int) string {
			return fmt.Sprintf(`{"message":"%s","data":[{%s"x":1}]}`, known[i%len(known)], members.String())
		},
		"nesting": func(i int) string {
			return fmt.Sprintf(`{"message":"%s","data":[%s%s]}`, letters(i), strings.Repeat(`{"a":[`, 2000), strings.Repeat(`]}`, 2000))
		},
		"deepest": func(int) string { return strings.Repeat("[", 100_000) },
		"m-lines": func(i int) string {
			return fmt.Sprintf(`{"message":"%s","data":[{"sdp":"%s"}]}`, letters(i), strings.Repeat(`m=audio\na=sendrecv\n`, 5000))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := writer()
			n := 0
			for w.Text(0, Client, []byte(message(n))) {
				if n++; n > maxSeen {
					t.Fatal("it does not end")
				}
			}
			text, err := json.Marshal(w.Finish(EndFull))
			if err != nil || len(text) > MaxBytes+8<<10 {
				t.Errorf("%d bytes after %d messages, %v", len(text), n, err)
			}
		})
	}
}

// letters returns a name without digits for each number.
func letters(i int) string { return fmt.Sprintf("n%c%c%c", 'a'+i%26, 'a'+i/26%26, 'a'+i/676%26) }

func FuzzDescribe(f *testing.F) {
	f.Add([]byte(`{"message":"setRemoteSDP","data":["a","v=0\r\nm=audio\r\na=mid","b"]}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		w := writer()
		w.Text(0, Client, message)
		if _, err := json.Marshal(w.Finish(EndSession)); err != nil {
			t.Error(err)
		}
	})
}
