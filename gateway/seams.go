package gateway

import (
	"net/http"

	"wcsgateway/translate"
)

// Webhooks verifies what LiveKit sends. ok is false for a genuine event that does not concern streams.
type Webhooks interface {
	Webhook(w http.ResponseWriter, r *http.Request) (e translate.Event, ok bool, err error)
}
