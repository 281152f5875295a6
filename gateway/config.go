package gateway

import (
	"net/http"

	"wcsgateway/gateway/realip"
	"wcsgateway/gateway/session"
)

// Config configures a Gateway. cmd/internal/config validates it and documents every value.
type Config struct {
	session.Config
	Host  string // name of this machine or container, for operators
	Drain DrainConfig
	// Proxies are the trusted proxies, whose X-Forwarded-For headers are honoured.
	Proxies realip.Proxies
	// ProxyProtocol is set if the listener requires a PROXY header from those proxies. Until the header is read,
	// the address of a TCP connection is that of the proxy.
	ProxyProtocol bool
	LoadBalancer
	// Embed serves the player for frames at embed.Path. nil: there is none.
	Embed http.Handler
}
