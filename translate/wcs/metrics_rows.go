package wcs

import (
	"encoding/json"
	"fmt"

	exact "github.com/go-json-experiment/json"
)

// compressionNone is the only value of MetricsDescription.Compression that the gateway asks for and accepts.
// Hand-written clients can omit it.
const compressionNone = "none"

// metricsRows unpacks the rows of a batch (docs/wcs-protocol.md#client-metrics): an array (2.0.266), or a
// string with the text of an array (2.0.276). Nothing beyond the limits is decoded.
func metricsRows(metrics json.RawMessage) ([]string, error) {
	if len(metrics) > maxMetricsBatchBytes {
		return nil, fmt.Errorf("%w: a batch of %d bytes, at most %d", ErrMetricsTooLarge, len(metrics), maxMetricsBatchBytes)
	}
	text := []byte(metrics)
	if len(text) == 0 || text[0] != '[' {
		var packed *string
		if err := exact.Unmarshal(metrics, &packed, exactly); err != nil {
			return nil, fmt.Errorf("%w: metrics: %s", ErrMetricsEncoding, FaultOf(err))
		}
		if packed == nil {
			return nil, fmt.Errorf("%w: no metrics", ErrMetricsEncoding)
		}
		text = []byte(*packed)
	}
	if moreElements(text, maxMetricsRows) {
		return nil, fmt.Errorf("%w: a batch of more than %d rows", ErrMetricsTooLarge, maxMetricsRows)
	}
	var rows []string
	if err := exact.Unmarshal(text, &rows, exactly); err != nil {
		return nil, fmt.Errorf("%w: rows: %s", ErrMetricsEncoding, FaultOf(err))
	}
	return rows, nil
}

// moreElements reports whether the text of an array has more than limit elements. It stops at the first one
// too many. Elements of nested arrays count as well.
func moreElements(array []byte, limit int) bool {
	commas := 0
	for i := 0; i < len(array); i++ {
		switch array[i] {
		case '"':
			i += stringEnd(array[i+1:]) + 1
		case ',':
			if commas++; commas >= limit {
				return true
			}
		}
	}
	return false
}
