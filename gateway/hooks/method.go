package hooks

import "fmt"

// Method is a hook's name, the last element of its URL. It is case-sensitive.
type Method string

// Methods that the gateway calls. WCS has more.
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

// Class determines the effect of a backend's refusal of a method.
type Class int

// Classes of methods. WCS has a fourth, for incoming calls.
const (
	ClassEvent   Class = iota // notification: a failure is at most reported to the client
	ClassDirect               // client request: a failure rejects it if restOnError is FAIL
	ClassConnect              // any failure rejects the connection
)

// String returns the class as a metric label.
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

// classes lists every known method with its class.
var classes = map[Method]Class{
	Connect:       ClassConnect,
	PublishStream: ClassDirect, UnPublishStream: ClassDirect, PlayStream: ClassDirect, StopStream: ClassDirect, OnDataEvent: ClassDirect,
	Snapshot:              ClassDirect,
	ConnectionStatusEvent: ClassEvent, StreamStatusEvent: ClassEvent, StreamKeepAliveEvent: ClassEvent,
	DataStatusEvent: ClassEvent, ErrorEvent: ClassEvent,
}

// Class returns the method's class. StreamKeepAliveEvent is an event although its refusal can end the stream.
// OnDataEvent is not an event despite its name: it carries data of the client, which the backend can refuse.
func (m Method) Class() Class { return classes[m] }

// ParseMethod returns the method with the given name. The error quotes the name if the gateway does not call
// it.
func ParseMethod(name string) (Method, error) {
	m := Method(name)
	if _, known := classes[m]; !known {
		return "", fmt.Errorf("%q is not a REST hook that the gateway calls", name)
	}
	return m, nil
}
