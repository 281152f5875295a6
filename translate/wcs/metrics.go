package wcs

import (
	"encoding/json"
	"errors"
)

// MetricsDescription names the columns of the batches that follow it (docs/wcs-protocol.md#webrtcmetrics). A
// client sends it when its stream is up, and whenever the set of columns changes.
type MetricsDescription struct {
	MediaSessionID string `json:"mediaSessionId"`
	Compression    string `json:"compression"` // none is asked for
	Headers        string `json:"headers"`     // <type>.<report id>.<metric>,…
}

// MetricsBatch carries rows of values in one of the encodings of docs/wcs-protocol.md#client-metrics.
type MetricsBatch struct {
	MediaSessionID string          `json:"mediaSessionId"`
	Metrics        json.RawMessage `json:"metrics"`
}

// Kinds of faults in a client's metrics. Errors of ClientStats wrap one of these, and never repeat client
// data.
var (
	ErrMetricsDescription = errors.New("unusable description of metrics")
	ErrMetricsUndescribed = errors.New("metrics without a usable description")
	ErrMetricsEncoding    = errors.New("metrics cannot be decoded")
	ErrMetricsRow         = errors.New("metrics do not fit their description")
	ErrMetricsTooLarge    = errors.New("too many metrics")
	ErrMetricsIgnored     = errors.New("metrics of a stream with too many faults in a row")
)

// Limits of what is accepted from a client. An SDK that follows clientMetrics stays at least a factor of ten
// below.
const (
	maxMetricsHeaderBytes = 16 << 10 // per description
	maxMetricsHeaders     = 256      // per description
	maxMetricsReports     = 32       // per stream: the described ones, and past ones for the sums
	maxMetricsBatchBytes  = 16 << 10 // per batch
	maxMetricsRows        = 120      // per batch
	maxMetricsFaults      = 10       // in a row
)

// metricsRequest is the webRTCMetricsServerDescription of getUserData. It has no ingestPoint: any value, even
// "", would divert the metrics from the socket.
type metricsRequest struct {
	Collect     string       `json:"collect"`
	Sampling    int          `json:"sampling"`  // ms
	BatchSize   int          `json:"batchSize"` // rows
	Compression []string     `json:"compression"`
	Types       metricsTypes `json:"types"`
}

// metricsTypes is a struct, not a map, because its order is the order of the columns.
type metricsTypes struct {
	Transport      metricsType `json:"transport"`
	OutboundRTP    metricsType `json:"outbound-rtp"`
	RemoteInbound  metricsType `json:"remote-inbound-rtp"`
	InboundRTP     metricsType `json:"inbound-rtp"`
	RemoteOutbound metricsType `json:"remote-outbound-rtp"`
}

type metricsType struct {
	Metrics  string              `json:"metrics"` // no blanks: they would become part of the names
	Contains map[string][]string `json:"contains,omitempty"`
}

// clientMetricsJSON is encoded once; every session is sent the same.
var clientMetricsJSON = json.RawMessage(mustMarshal(clientMetrics()))

// clientMetrics requests from publishers and players what ClientStats needs
// (docs/wcs-protocol.md#client-metrics):
//
//   - Every second, because clients receive their rates every second; in batches of one row, so that no
//     figure is older.
//   - Uncompressed: a row has some 150 bytes, which gzip and base64 would enlarge.
//   - No value of transport is used. But it is present when no other report is, and players of 2.0.266 never
//     start without a report. It also changes the first column of each row; otherwise 2.0.266 corrupts rows.
//   - outbound-rtp of audio as well, for MediaBytes. It needs no kind: only video has frames.
//   - All values are numbers, which need no quotes. A counter stays once it exists, except the picture size
//     of a video that stands still.
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
