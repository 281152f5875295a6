package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"wcsgateway/e2e/rig"
)

// The mobile SDKs decode messages into classes: Gson on Android fails at a value of another type and makes an
// unknown enum value null, at which apps fail; JSONModel on iOS drops an object without a required member.
// These are the classes as far as public code shows them: the Android SDK of 2018, headers of the iOS SDK of
// 2016, and the vendor's samples. Both ignore unknown members.
type (
	streamBean struct {
		MediaSessionID, Name, Status                          *string // required
		Published, HasVideo, HasAudio, Record                 bool
		Width, Height, Bitrate, MinBitrate, MaxBitrate        int32
		Quality                                               int32
		Info, MediaProvider, RecordName, RemoteMediaElementID string
	}
	streamEventBean struct {
		MediaSessionID, Type *string // required
		Payload              map[string]any
	}
	dataBean struct {
		OperationID *string // required
		Payload     map[string]any
		Status      string
		Info        string
	}
	connectionBean struct {
		AppKey, AuthToken, Status *string // required
		MediaProviders            []string
		ClientVersion             string
		KeepAlive                 bool
		Custom                    map[string]any
	}
	videoFormatBean struct {
		MediaSessionID, Status                  *string // required
		PlayerVideoWidth, PlayerVideoHeight     int32
		StreamerVideoWidth, StreamerVideoHeight int32
	}
)

// Values of the enums. An unknown one is null for an app.
var (
	streamStatuses = []string{"NEW", "PENDING", "PUBLISHING", "PLAYING", "PAUSED", "UNPUBLISHED", "STOPPED", "FAILED", "SNAPSHOT_COMPLETE", "NOT_ENOUGH_BANDWIDTH", "RESIZE"}
	eventTypes     = []string{"audioMuted", "audioUnmuted", "videoMuted", "videoUnmuted", "data"}
)

// strict decodes every message that a client gets as a mobile SDK does.
type strict struct {
	mu     sync.Mutex
	names  map[string]int
	faults []string
}

func (s *strict) take(m rig.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[m.Name]++
	if err := decodeStrictly(m); err != nil {
		s.faults = append(s.faults, fmt.Sprintf("%v: %s", err, m.Raw))
	}
}

func decodeStrictly(m rig.Message) error {
	first := func(v any) error {
		if len(m.Data) == 0 {
			return fmt.Errorf("no argument")
		}
		return json.Unmarshal(m.Data[0], v)
	}
	required := func(err error, members ...*string) error {
		if err == nil && slices.Contains(members, nil) {
			err = fmt.Errorf("a required member is missing")
		}
		return err
	}
	switch m.Name {
	case "notifyStreamStatusEvent":
		var b streamBean
		if err := required(first(&b), b.MediaSessionID, b.Name, b.Status); err != nil {
			return err
		}
		return knownValue(*b.Status, streamStatuses)
	case "notifyStreamEvent":
		var b streamEventBean
		if err := required(first(&b), b.MediaSessionID, b.Type); err != nil {
			return err
		}
		return knownValue(*b.Type, eventTypes)
	case "notifyVideoFormat":
		var b videoFormatBean
		return required(first(&b), b.MediaSessionID, b.Status)
	case "OnDataEvent", "DataStatusEvent":
		var b dataBean
		return required(first(&b), b.OperationID)
	case "getUserData":
		var b connectionBean
		return required(first(&b), b.AppKey, b.AuthToken, b.Status)
	case "setRemoteSDP": // id, SDP, whether it is an answer: a method of three parameters
		var (
			id, sdp string
			answer  bool
		)
		if len(m.Data) != 3 {
			return fmt.Errorf("%d arguments, want 3", len(m.Data))
		}
		for i, v := range []any{&id, &sdp, &answer} {
			if err := json.Unmarshal(m.Data[i], v); err != nil || bytes.Equal(m.Data[i], []byte("null")) {
				return fmt.Errorf("argument %d: %w", i, err)
			}
		}
		return nil
	}
	return nil
}

func knownValue(value string, known []string) error {
	if !slices.Contains(known, value) {
		return fmt.Errorf("unknown value %q", value)
	}
	return nil
}

// TestMobileSDKsCanDecodeEveryMessage lets two members of a room with a client such as the mobile SDKs
// publish, play, mute, send data and end.
func TestMobileSDKsCanDecodeEveryMessage(t *testing.T) {
	s := newStage(t)
	seen := &strict{names: map[string]int{}}
	enter := func(login string) *rig.RoomUser {
		c := rig.Dial(t, s.Gateway.URL)
		c.Observe(seen.take)
		return rig.LoginAs(c, "roomApp", login)
	}
	anna, ben := enter("anna"), enter("ben")
	anna.Join("room")
	ben.Join("room", "anna")
	publisher := rig.NewPublisher(t, rig.PeerOptions{})
	anna.Publish("pub", "strict", publisher)
	player := rig.NewPlayer(t, rig.PeerOptions{})
	ben.Play("play", "strict", player)
	ben.Await("notifyVideoFormat")
	anna.Send("sendStreamEvent", map[string]any{"mediaSessionId": "pub", "type": "audioMuted"})
	anna.Send("sendStreamEvent", map[string]any{"mediaSessionId": "pub", "type": "data", "payload": map[string]any{"n": 1}})
	ben.AwaitMatch("data", func(m rig.Message) bool {
		return m.Name == "notifyStreamEvent" && bytes.Contains([]byte(m.Raw), []byte(`"data"`))
	})
	anna.Say("room", "", "hello")
	ben.Send("playStream", rig.StreamRequest("absent", "absent", rig.NewPlayer(t, rig.PeerOptions{}).Offer(), false, nil))
	ben.AwaitStatus("absent")
	anna.Unpublish("pub", "strict")
	anna.WantStatus("pub", "UNPUBLISHED", "Stopped by publisher stop")
	ben.AwaitStatus("play")
	anna.Leave("room")
	s.WantClean(t)

	seen.mu.Lock()
	defer seen.mu.Unlock()
	for _, fault := range seen.faults {
		t.Error(fault)
	}
	for _, name := range []string{
		"getUserData", "notifyStreamStatusEvent", "setRemoteSDP", "notifyVideoFormat", "notifyStreamEvent", "OnDataEvent", "DataStatusEvent",
	} {
		if seen.names[name] == 0 {
			t.Errorf("no %s among %v", name, seen.names)
		}
	}
}
