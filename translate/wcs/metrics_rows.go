package wcs

import (
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	exact "github.com/go-json-experiment/json"
)

// Values of MetricsDescription.Compression. Hand-written clients can omit it.
const (
	compressionNone    = "none"
	compressionGzip    = "gzip"
	compressionDeflate = "deflate" // the browsers' name for the zlib format
)

// metricsRows unpacks the rows of a batch (docs/wcs-protocol.md#client-metrics): an array (2.0.266), a string
// with the text of an array (2.0.276), or a string with that text compressed and in base64.
func metricsRows(metrics json.RawMessage, compression string) ([]string, error) {
	if len(metrics) > maxMetricsBatchBytes {
		return nil, fmt.Errorf("%w: a batch of %d bytes, at most %d", ErrMetricsTooLarge, len(metrics), maxMetricsBatchBytes)
	}
	text := []byte(metrics)
	if len(text) == 0 || text[0] != '[' {
		var err error
		if text, err = metricsText(metrics, compression); err != nil {
			return nil, err
		}
	}
	var rows []string
	if err := exact.Unmarshal(text, &rows, exactly); err != nil {
		return nil, fmt.Errorf("%w: rows: %s", ErrMetricsEncoding, FaultOf(err))
	}
	if len(rows) > maxMetricsRows {
		return nil, fmt.Errorf("%w: a batch of %d rows, at most %d", ErrMetricsTooLarge, len(rows), maxMetricsRows)
	}
	return rows, nil
}

// metricsText unpacks a batch that is a JSON string.
func metricsText(metrics json.RawMessage, compression string) ([]byte, error) {
	var packed *string
	if err := exact.Unmarshal(metrics, &packed, exactly); err != nil {
		return nil, fmt.Errorf("%w: metrics: %s", ErrMetricsEncoding, FaultOf(err))
	}
	if packed == nil {
		return nil, fmt.Errorf("%w: no metrics", ErrMetricsEncoding)
	}
	base64ed := base64.NewDecoder(base64.StdEncoding, strings.NewReader(*packed))
	var unpacked io.Reader
	var err error
	switch compression {
	case compressionGzip:
		unpacked, err = gzip.NewReader(base64ed)
	case compressionDeflate:
		unpacked, err = zlib.NewReader(base64ed)
	default:
		return []byte(*packed), nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMetricsEncoding, compression, err)
	}
	text, err := io.ReadAll(io.LimitReader(unpacked, maxMetricsTextBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMetricsEncoding, compression, err)
	}
	if len(text) > maxMetricsTextBytes {
		return nil, fmt.Errorf("%w: a batch of more than %d bytes when unpacked", ErrMetricsTooLarge, maxMetricsTextBytes)
	}
	return text, nil
}
