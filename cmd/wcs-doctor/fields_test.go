package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"wcsgateway/docs"
	"wcsgateway/translate/transcript"
	"wcsgateway/translate/wcs"
)

func (k knowledge) wantField(t *testing.T, message, field string) {
	t.Helper()
	if _, ok := k.rows[what{kindField, message + "." + field}]; !ok {
		t.Errorf("%s.%s is in no table of fidelity.md", message, field)
	}
}

// Whatever this gateway reads of a command that it serves is a field in a table.
func TestFieldsOfServedCommandsAreInTables(t *testing.T) {
	k := learn()
	for command, arg := range map[wcs.Name]any{
		wcs.CmdPublishStream: wcs.StreamRequest{}, wcs.CmdPlayStream: wcs.StreamRequest{}, wcs.CmdSendStreamEvent: wcs.StreamEvent{},
		wcs.CmdUnPublishStream: wcs.StreamRef{}, wcs.CmdStopStream: wcs.StreamRef{}, wcs.CmdAvailableStream: wcs.StreamRef{}, wcs.CmdSnapshot: wcs.StreamRef{},
		wcs.CmdSendData: wcs.SendData{}, wcs.CmdPushLogs: wcs.PushLogs{}, wcs.CmdSessionDebug: wcs.SessionDebug{},
		wcs.CmdMetricsDesc: wcs.MetricsDescription{}, wcs.CmdMetricsBatch: wcs.MetricsBatch{},
	} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(arg)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if _, isRef := arg.(wcs.StreamRef); name != "" && (!isRef || name != "mediaProvider") { // which other commands have
				k.wantField(t, string(command), name)
			}
		}
	}
	withoutFields := []string{string(wcs.CmdPing), string(wcs.CmdPong), string(wcs.CmdSubmitBugReport)}
	fields := k.namesOf(kindField)
	for _, command := range k.namesOf(kindCommand) {
		hasFields := slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, command+".") })
		if k.rows[what{kindCommand, command}].support != none && !hasFields && !slices.Contains(withoutFields, command) {
			t.Errorf("no field of %s is in a table", command)
		}
	}
}

// Whatever this gateway sends is a field in a table.
func TestFieldsOfOwnMessagesAreInTables(t *testing.T) {
	k := learn()
	var own []transcript.Response
	if err := json.Unmarshal(reference, &own); err != nil {
		t.Fatal(err)
	}
	sent := make(map[string]map[string]any)
	for _, r := range own {
		for _, m := range r.Messages {
			name, _, _ := strings.Cut(m.Kind, " ")
			if arg, ok := first(m.Data).(map[string]any); ok {
				sent[name+" "+m.Kind] = arg
			}
		}
	}
	for _, f := range append(wcs.VideoFormat{}.Frames(true),
		wcs.ErrorEvent("x"), wcs.ConnectionFailed("x"), wcs.OnData("x", json.RawMessage("1")), wcs.SessionDebugStatus("x"), wcs.SnapshotFailed("m", "x"),
		wcs.VideoRate{}.Frame(), wcs.VideoRate{Published: true}.Frame(), wcs.DataStatus{Info: "x"}.Frame(), wcs.CallFinished("x", "y"),
	) {
		var m struct {
			Message string `json:"message"`
			Data    []any  `json:"data"`
		}
		if err := json.Unmarshal(f, &m); err != nil {
			t.Fatal(err)
		}
		sent[m.Message+" "+string(f)], _ = first(m.Data).(map[string]any)
	}
	if len(sent) < 20 {
		t.Fatalf("found only %d messages", len(sent))
	}
	for at, argument := range sent {
		message, _, _ := strings.Cut(at, " ")
		for field := range argument {
			if _, echoed := k.rows[what{kindField, "connection." + field}]; message != "getUserData" || !echoed {
				k.wantField(t, message, field)
			}
		}
	}
}

func first(data []any) any {
	if len(data) == 0 {
		return nil
	}
	return data[0]
}

// Fields are of messages that have a row.
func TestTablesOfFieldsNameMessages(t *testing.T) {
	k := learn()
	for _, heading := range fieldSections {
		if len(docs.Table("fidelity.md", heading)) == 0 {
			t.Errorf("no table under %q", heading)
		}
	}
	for _, field := range k.namesOf(kindField) {
		message, _, _ := strings.Cut(field, ".")
		_, isCommand := k.rows[what{kindCommand, message}]
		if _, isMessage := k.rows[what{kindMessage, message}]; !isCommand && !isMessage {
			t.Errorf("%s is of no command or message", field)
		}
	}
	for name, want := range map[string]support{
		"connection.own": full, "connection.sipLogin": none, "sendData.payload": full, "sendData.urgent": none, "DataStatusEvent.queue": none, "fail.id": none,
	} {
		if got := k.of(what{kindField, name}).support; got != want {
			t.Errorf("%s is served %q, want %q", name, got, want)
		}
	}
}
