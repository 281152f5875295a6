package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"wcsgateway/cmd/wcs-pull/guard"
	"wcsgateway/translate/pull"
)

func statusDetail(protocol string, status int) string {
	return fmt.Sprintf("%s status %d", protocol, status)
}

func rtspStatus(err error) (base.StatusCode, bool) {
	var status liberrors.ErrClientBadStatusCode
	if errors.As(err, &status) {
		return status.Code, true
	}
	var setup liberrors.ErrClientAuthSetup
	if errors.As(err, &setup) {
		return base.StatusUnauthorized, true
	}
	return 0, false
}

// connectionFault classifies the error of a connection. Details contain nothing of the source: errors of
// libraries can quote its URL.
func connectionFault(err error) *pull.Error {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.Is(err, guard.ErrForbidden), errors.Is(err, guard.ErrTooMany):
		return &pull.Error{Fault: pull.Forbidden, Detail: "the address must not be connected to"}
	case errors.As(err, &dns):
		return &pull.Error{Fault: pull.Unreachable, Detail: "the name has no address"}
	case errors.As(err, &certificate):
		return &pull.Error{Fault: pull.Unreachable, Detail: "the certificate is not valid"}
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.As(err, new(liberrors.ErrClientRequestTimedOut)):
		return &pull.Error{Fault: pull.Unreachable, Detail: "no answer in time"}
	case isMalformed(err):
		return &pull.Error{Fault: pull.NoMedia, Detail: "the description of the source cannot be read"}
	}
	return &pull.Error{Fault: pull.Unreachable, Detail: "no connection"}
}

func isMalformed(err error) bool {
	return errors.As(err, new(liberrors.ErrClientSDPInvalid)) || errors.As(err, new(liberrors.ErrClientContentTypeMissing)) ||
		errors.As(err, new(liberrors.ErrClientContentTypeUnsupported))
}

// httpFault classifies what the proxy noted.
func httpFault(err error) *pull.Error {
	var status guard.StatusError
	if errors.Is(err, guard.ErrPlaylist) {
		return &pull.Error{Fault: pull.NoMedia, Detail: "the playlist must not be read"}
	}
	if !errors.As(err, &status) {
		return connectionFault(err)
	}
	detail := statusDetail("HTTP", int(status))
	switch status {
	case 401, 403, 407:
		return &pull.Error{Fault: pull.Unauthorized, Detail: detail}
	case 404, 410:
		return &pull.Error{Fault: pull.NotFound, Detail: detail}
	}
	return &pull.Error{Fault: pull.Unreachable, Detail: detail}
}

// detailOf is the detail of a loss, for the fault that follows when the source does not return.
func detailOf(err error) string {
	_, detail := pull.FaultOf(err)
	return strings.TrimSpace(detail)
}
