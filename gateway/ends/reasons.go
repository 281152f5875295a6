// Package ends owns why streams end: the closed set of reasons, the party that causes each, the metric that
// counts them, the failures of the last hour, and what operators are shown of the last published streams:
// their quality, hooks and ends. It knows no session. Packages gateway and session record; packages admin and
// console read.
package ends

import (
	"slices"

	"github.com/rs/zerolog"

	"wcsgateway/translate"
	"wcsgateway/translate/wcs"
)

// Class is the party that caused an outcome, for metrics and log levels.
type Class string

const (
	OK       Class = "ok"
	Client   Class = "client"
	Upstream Class = "upstream" // LiveKit, Redis or a backend
	Internal Class = "internal" // a bug
	Operator Class = "operator" // also a backend that uses LiveKit's API
)

// Level returns the level of log lines about outcomes of the class.
func (c Class) Level() zerolog.Level {
	if c == Upstream || c == Internal {
		return zerolog.ErrorLevel
	}
	return zerolog.InfoLevel
}

// Reason is why a stream ended, or why one was not started (docs/metrics.md#reasons). The empty reason is
// that of a success.
type Reason string

// Ends that are no failures.
const (
	Stopped        Reason = "stopped"
	PublisherEnded Reason = "publisher_ended"
	HandedOver     Reason = "handed_over"
	Disconnected   Reason = "disconnected"
	Terminated     Reason = "terminated"
)

// Failures.
const (
	ICETimeout      Reason = "ice_timeout"
	ICEKeepAlive    Reason = "ice_keep_alive"
	RTPActivity     Reason = "rtp_activity"
	BadOffer        Reason = "bad_offer"
	NoCodec         Reason = "no_codec"
	BadRequest      Reason = "bad_request"
	Limit           Reason = "limit"
	NameTaken       Reason = "name_taken"
	NotFound        Reason = "not_found"
	Forbidden       Reason = "forbidden"
	BackendRejected Reason = "backend_rejected"
	RTMPFailed      Reason = "rtmp_failed" // the address is the client's
	Removed         Reason = "removed"
	BackendFailed   Reason = "backend_failed"
	LiveKitFailed   Reason = "livekit_failed"
	LiveKitShutdown Reason = "livekit_shutdown"
	LiveKitLost     Reason = "livekit_lost"
	RedisFailed     Reason = "redis_failed"
	NameLost        Reason = "name_lost"
	PodLost         Reason = "pod_lost"
	Overloaded      Reason = "overloaded"
	SourceFailed    Reason = "source_failed" // a camera, server or file outside the deployment
	Fault           Reason = "fault"
)

// Class returns the party that caused the end. The network of a client and what it sends are the client's.
func (r Reason) Class() Class {
	switch r {
	case "", Stopped, PublisherEnded, HandedOver:
		return OK
	case Terminated, Removed:
		return Operator
	case BackendFailed, LiveKitFailed, LiveKitShutdown, LiveKitLost, RedisFailed, NameLost, Overloaded:
		return Upstream
	case PodLost, Fault:
		return Internal
	default:
		return Client
	}
}

// Failed reports whether the client got less than it requested.
func (r Reason) Failed() bool {
	return !slices.Contains([]Reason{"", Stopped, PublisherEnded, HandedOver, Disconnected, Terminated}, r)
}

// mediaFailures are the reasons for which the client's network and LiveKit's addresses matter.
var mediaFailures = []Reason{ICETimeout, ICEKeepAlive, RTPActivity}

// Media reports whether the media did not arrive or was lost.
func (r Reason) Media() bool { return slices.Contains(mediaFailures, r) }

// ByLiveKit returns the reason and the info text of the FAILED status for a client whose participant LiveKit
// removed (docs/wcs-protocol.md#texts). wasUp reports whether its ICE and DTLS had been up.
//
//   - EndTimeout is LiveKit's PeerConnectionDisconnected: the media path was lost, which WCS calls the ICE
//     keep-alive, or was never established.
//   - EndMedia is its MEDIA_FAILURE, "media stream failure or media timeout". livekit-server 1.13 uses it for
//     SIP participants only; a failed DTLS handshake is a timeout. So the text is that of missing media.
//   - EndShutdown: the node stops. Neither the client nor its network is at fault.
//   - EndRemoved and EndRoomClosed: an operator or backend ended it through LiveKit's API.
//   - A duplicate identity, a leave by the client (WCS clients cannot request one from LiveKit), an absent
//     participant, and other reasons carry no information for a client.
func ByLiveKit(r translate.EndReason, wasUp bool) (Reason, string) {
	switch r {
	case translate.EndTimeout:
		if wasUp {
			return ICEKeepAlive, wcs.InfoFailedByKeepAlive
		}
		return ICETimeout, wcs.InfoFailedByICETimeout
	case translate.EndMedia:
		return RTPActivity, wcs.InfoFailedByRTPActivity
	case translate.EndShutdown:
		return LiveKitShutdown, wcs.InfoStreamFailed
	case translate.EndRemoved, translate.EndRoomClosed:
		return Removed, wcs.InfoRequestedStreamShutdown
	case translate.EndReplaced, translate.EndClient, translate.EndAbsent, translate.EndUnknown:
	}
	return LiveKitLost, wcs.InfoFailedByError
}
