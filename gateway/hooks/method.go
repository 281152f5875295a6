package hooks

import (
	"fmt"
	"slices"
)

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

// Methods are all methods that the gateway calls. Do not change it.
var Methods = []Method{
	Connect, PublishStream, UnPublishStream, PlayStream, StopStream, OnDataEvent, Snapshot,
	ConnectionStatusEvent, StreamStatusEvent, StreamKeepAliveEvent, DataStatusEvent, ErrorEvent,
}

// ParseMethod returns the method with the given name. The error quotes the name if the gateway does not call
// it.
func ParseMethod(name string) (Method, error) {
	m := Method(name)
	if !slices.Contains(Methods, m) {
		return "", fmt.Errorf("%q is not a REST hook that the gateway calls", name)
	}
	return m, nil
}
