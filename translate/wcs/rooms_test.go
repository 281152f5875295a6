package wcs

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The payloads are those of SDK 2.0.276.
func TestRoomCommandsOfSDKAreParsed(t *testing.T) {
	for payload, want := range map[string]RoomCommand{
		`{"command":"join","options":{"name":"room1","record":false}}`:                                         {Command: RoomJoin, Room: "room1"},
		`{"command":"join","options":{"name":"room1"}}`:                                                        {Command: RoomJoin, Room: "room1"},
		`{"command":"join","options":{"name":42}}`:                                                             {Command: RoomJoin, Room: "42"},
		`{"command":"leave","options":{"name":"room1"}}`:                                                       {Command: RoomLeave, Room: "room1"},
		`{"command":"sendMessage","options":{"roomConfig":{"name":"room1"},"to":"bob","text":"yo"}}`:           {Command: RoomMessage, Room: "room1", To: "bob", Text: json.RawMessage(`"yo"`)},
		`{"command":"sendMessage","options":{"roomConfig":{"name":"room1"},"to":"bob","text":{"a":1},"x":[]}}`: {Command: RoomMessage, Room: "room1", To: "bob", Text: json.RawMessage(`{"a":1}`)},
		`{"command":"sendMessage","options":{"name":"room1","to":"bob"}}`:                                      {Command: RoomMessage, To: "bob"},
	} {
		got, ok, err := ParseRoomCommand(json.RawMessage(payload))
		if diff := cmp.Diff(want, got); diff != "" || !ok || err != nil {
			t.Errorf("%s: %v %v (-want +got):\n%s", payload, ok, err, diff)
		}
	}
	for _, payload := range []string{``, `null`, `1`, `"join"`, `[]`, `{}`, `{"command":"dance","options":{"name":"r"}}`, `{"command":1}`, `{"command":"JOIN"}`} {
		if _, ok, err := ParseRoomCommand(json.RawMessage(payload)); ok || err != nil {
			t.Errorf("%q is parsed as a command: %v", payload, err)
		}
	}
	for _, payload := range []string{`{"command":"join"}`, `{"command":"leave","options":"r"}`, `{"command":"join","options":{"name":[]}}`, `{"command":"sendMessage","options":{"to":{}}}`} {
		if _, ok, err := ParseRoomCommand(json.RawMessage(payload)); !ok || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v %v", payload, ok, err)
		}
	}
}

func TestInvalidLoginsAndRoomNamesAreEmpty(t *testing.T) {
	for connection, want := range map[string]string{
		`{"custom":{"login":"alice","token":"t"}}`: "alice", `{"custom":{"login":7}}`: "7", `{"custom":{"login":{}}}`: "", `{"custom":"alice"}`: "", `{"login":"sip","custom":{"login":"alice"}}`: "alice", `{"custom":null}`: "",
	} {
		var c Connection
		if err := json.Unmarshal([]byte(connection), &c); err != nil {
			t.Fatal(err)
		}
		if got := c.Login(); got != want {
			t.Errorf("login of %s is %q", connection, got)
		}
	}
	for stream, want := range map[string]string{
		`{"custom":{"name":"room1"}}`: "room1", `{"custom":"room1"}`: "", `{"name":"room1"}`: "", `{"custom":{"name":[]}}`: "", `{}`: "",
	} {
		if got := RoomOf(json.RawMessage(stream)); got != want {
			t.Errorf("room of %s is %q", stream, got)
		}
	}
}

func TestRoomEventHasMembersOfSDK(t *testing.T) {
	for want, got := range map[string][]byte{
		`{"message":"OnDataEvent","data":[{"operationId":"new","payload":{"roomName":"r","name":"STATE","info":[{"login":"a","name":"s"},"b"]}}]}`: RoomEvent("r", RoomState, []any{RoomStream{"a", "s"}, "b"}),
		`{"message":"OnDataEvent","data":[{"operationId":"new","payload":{"roomName":"r","name":"JOINED","info":"a"}}]}`:                           RoomEvent("r", RoomJoined, "a"),
		`{"message":"OnDataEvent","data":[{"operationId":"new","payload":{"roomName":"r","name":"MESSAGE","info":{"from":"a","text":"t"}}}]}`:      RoomEvent("r", RoomText, RoomMessageInfo{From: "a", Text: json.RawMessage(`"t"`)}),
	} {
		if got := withoutNewID(got); got != want {
			t.Errorf("event %s, want %s", got, want)
		}
	}
}
