package state

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Peer is a pod's description of itself for other pods. It is a part of the pod's entry in the list of pods.
type Peer struct {
	Host string `json:"host"` // of the process, for operators
	// Server, WS and WSS are the host name and the ports at which clients reach this pod itself. Empty
	// Server: clients cannot address single pods.
	Server   string `json:"server,omitempty"`
	WS       string `json:"ws,omitempty"`
	WSS      string `json:"wss,omitempty"`
	Sessions int    `json:"sessions"`
	Ready    bool   `json:"ready"` // the pod accepts clients
}

// Peers returns the pods that are alive, including this one, as of the last sweep some seconds ago. It makes
// no call. While Redis is unreachable it returns none.
func (r *Redis) Peers() []Peer {
	peers := r.peers.Load()
	if peers == nil {
		return nil
	}
	return *peers
}

// leftEntry is the entry of an owner that has left and whose records other pods have to take over.
const leftEntry = "-"

// podEntry returns the pod's entry in the list of pods.
func (r *Redis) podEntry(renewed time.Time) (string, error) {
	var p Peer
	if r.handlers.Describe != nil {
		p = r.handlers.Describe()
	}
	p.Host = r.pod.Host
	description, err := encode(p)
	return strconv.FormatInt(renewed.UnixMilli(), 10) + " " + string(description), err
}

// readEntry parses an entry of the list of pods; ok is false for an owner that left, and for an entry of
// another version.
func readEntry(entry string) (p Peer, ok bool) {
	_, description, _ := strings.Cut(entry, " ")
	err := json.Unmarshal([]byte(description), &p)
	return p, err == nil
}

// notePeers stores the pods that were alive.
func (r *Redis) notePeers(alive []string) {
	peers := make([]Peer, 0, len(alive))
	for _, entry := range alive {
		if p, ok := readEntry(entry); ok {
			peers = append(peers, p)
		}
	}
	r.peers.Store(&peers)
}
