package wcs

import (
	"encoding/json"
	"errors"
)

// MetricsDescription says what the values of the batches after it are (protocol.md §6.2). The client sends it when its stream
// is up and whenever the set of values has changed.
type MetricsDescription struct {
	MediaSessionID string `json:"mediaSessionId"`
	Compression    string `json:"compression"` // none, gzip or deflate
	Headers        string `json:"headers"`     // <type>.<report id>.<metric>,…
}

// MetricsBatch is rows of values, in one of the encodings of protocol.md §6.2.
type MetricsBatch struct {
	MediaSessionID string          `json:"mediaSessionId"`
	Metrics        json.RawMessage `json:"metrics"`
}

// What can be wrong with a client's metrics. Errors of ClientStats wrap one of these, and never repeat what the client sent.
var (
	ErrMetricsDescription = errors.New("unusable description of metrics")
	ErrMetricsUndescribed = errors.New("metrics without a usable description")
	ErrMetricsEncoding    = errors.New("metrics cannot be decoded")
	ErrMetricsRow         = errors.New("metrics do not fit their description")
	ErrMetricsTooLarge    = errors.New("too many metrics")
)

// Bounds of what is taken from a client. An SDK that does what clientMetrics asks for stays a factor of ten and more below.
const (
	maxMetricsHeaderBytes = 16 << 10  // of a description
	maxMetricsHeaders     = 256       // of a description
	maxMetricsReports     = 32        // kept of a stream: those described, and gone ones for the sums
	maxMetricsBatchBytes  = 64 << 10  // of a batch as it comes
	maxMetricsTextBytes   = 256 << 10 // of a batch when it is unpacked
	maxMetricsRows        = 120       // of a batch
)

// metricsRequest is the webRTCMetricsServerDescription of getUserData. It names no ingestPoint: any, even "", would send the
// metrics elsewhere than over the socket.
type metricsRequest struct {
	Collect     string       `json:"collect"`
	Sampling    int          `json:"sampling"`  // ms
	BatchSize   int          `json:"batchSize"` // rows
	Compression []string     `json:"compression"`
	Types       metricsTypes `json:"types"`
}

// metricsTypes is a struct because the order counts: it is the order of the columns.
type metricsTypes struct {
	Transport      metricsType `json:"transport"`
	OutboundRTP    metricsType `json:"outbound-rtp"`
	RemoteInbound  metricsType `json:"remote-inbound-rtp"`
	InboundRTP     metricsType `json:"inbound-rtp"`
	RemoteOutbound metricsType `json:"remote-outbound-rtp"`
}

type metricsType struct {
	Metrics  string              `json:"metrics"` // without blanks, which would become part of the names
	Contains map[string][]string `json:"contains,omitempty"`
}

// clientMetricsJSON is made once: every session is sent the same.
var clientMetricsJSON = json.RawMessage(mustMarshal(clientMetrics()))

// clientMetrics asks publishers and players for what ClientStats needs, and no more (protocol.md §6.1, §6.4):
//
//   - Every second, because clients are told their rates every second; in batches of one row, so that no figure is older.
//   - Not compressed: a row is some 150 bytes, of which gzip and base64 would make more.
//   - Of transport nothing is used. But it is there when nothing else is, without which players of 2.0.266 never start; and
//     with it the first column changes in each row, without which 2.0.266 spoils rows.
//   - Of outbound-rtp audio as well, for MediaBytes. It needs no kind: only video has frames.
//   - All are numbers, which need no quoting, and all counters stay once they are there, except the picture size of a video
//     that stands still.
func clientMetrics() metricsRequest {
	video := map[string][]string{"kind": {"video"}}
	return metricsRequest{
		Collect: "on", Sampling: 1000, BatchSize: 1, Compression: []string{compressionNone},
		Types: metricsTypes{
			Transport:      metricsType{Metrics: "timestamp"},
			OutboundRTP:    metricsType{Metrics: "timestamp,bytesSent,retransmittedBytesSent,framesEncoded,frameWidth,frameHeight,nackCount,pliCount"},
			RemoteInbound:  metricsType{Metrics: "timestamp,packetsLost,fractionLost", Contains: video},
			InboundRTP:     metricsType{Metrics: "timestamp,packetsLost,framesDecoded,frameWidth,frameHeight,nackCount,pliCount", Contains: video},
			RemoteOutbound: metricsType{Metrics: "remoteTimestamp,bytesSent", Contains: video},
		},
	}
}
