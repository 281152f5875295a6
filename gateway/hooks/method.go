package hooks

import "fmt"

// Method is a hook's name, which is the last part of the address it is called at. It is case-sensitive.
type Method string

// Methods that the gateway calls, of those in integration.md §1.3.
const (
	Connect               Method = "connect"
	PublishStream         Method = "publishStream"
	UnPublishStream       Method = "unPublishStream"
	PlayStream            Method = "playStream"
	StopStream            Method = "stopStream"
	OnDataEvent           Method = "OnDataEvent"
	Snapshot              Method = "snapshot"
	ConnectionStatusEvent Method = "ConnectionStatusEvent"
	StreamStatusEvent     Method = "StreamStatusEvent"
	StreamKeepAliveEvent  Method = "StreamKeepAliveEvent"
	DataStatusEvent       Method = "DataStatusEvent"
	ErrorEvent            Method = "ErrorEvent"
)

// Class says what a backend's refusal of a method does (integration.md §1.3, §1.5).
type Class int

// Classes of methods. WCS has a fourth, for incoming calls.
const (
	ClassEvent   Class = iota // a notification: at most the client is told that it failed
	ClassDirect               // what the client has asked for, refused if the backend wants its failures to count
	ClassConnect              // any failure turns the client away
)

// String is the class as a metric label.
func (c Class) String() string {
	switch c {
	case ClassConnect:
		return "connect"
	case ClassDirect:
		return "direct"
	default:
		return "event"
	}
}

// classes are the methods that there are.
var classes = map[Method]Class{
	Connect:       ClassConnect,
	PublishStream: ClassDirect, UnPublishStream: ClassDirect, PlayStream: ClassDirect, StopStream: ClassDirect, OnDataEvent: ClassDirect,
	Snapshot:              ClassDirect,
	ConnectionStatusEvent: ClassEvent, StreamStatusEvent: ClassEvent, StreamKeepAliveEvent: ClassEvent,
	DataStatusEvent: ClassEvent, ErrorEvent: ClassEvent,
}

// Class is the method's class. StreamKeepAliveEvent is an event whose refusal nevertheless may end the stream
// (integration.md §1.6); OnDataEvent is not an event, but the client's own data, which may be refused.
func (m Method) Class() Class { return classes[m] }

// ParseMethod gives the method of that name. The error names one that the gateway does not call.
func ParseMethod(name string) (Method, error) {
	m := Method(name)
	if _, known := classes[m]; !known {
		return "", fmt.Errorf("%q is no REST hook that the gateway calls", name)
	}
	return m, nil
}
