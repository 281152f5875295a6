package ends

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"wcsgateway/translate/wcs"
)

// MaxEnded is the number of ended streams that a Recorder keeps, about 300 KB. The oldest is dropped first.
const MaxEnded = 1000

// Stream names a stream. Clients choose media ids, which are unique in their session.
type Stream struct {
	Session string `json:"session"`
	MediaID string `json:"mediaId"`
}

// Ended is how a stream ended.
type Ended struct {
	Status wcs.Status `json:"status"` // the last one that the client was sent
	Info   string     `json:"info"`
	Reason Reason     `json:"reason"`
	Class  Class      `json:"class"`
	At     time.Time  `json:"at"`
}

type endedStreams = lru.Cache[Stream, Ended]

func newEndedStreams() *endedStreams {
	c, err := lru.New[Stream, Ended](MaxEnded)
	if err != nil {
		return nil // the size is positive
	}
	return c
}
