package state

import "encoding/json"

// Peer is a pod's description of itself for other pods. It is the value of its lease.
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

// leaseValue returns the value of the lease.
func (r *Redis) leaseValue() ([]byte, error) {
	var p Peer
	if r.handlers.Describe != nil {
		p = r.handlers.Describe()
	}
	p.Host = r.pod.Host
	return encode(p)
}

// readLease parses the value of a lease; ok is false for a lease of another version.
func readLease(value string) (p Peer, ok bool) {
	err := json.Unmarshal([]byte(value), &p)
	return p, err == nil
}

// notePeers stores the pods that were alive.
func (r *Redis) notePeers(seen []leaseObservation) {
	peers := make([]Peer, 0, len(seen))
	for _, s := range seen {
		if p, ok := readLease(s.lease); ok && s.leased {
			peers = append(peers, p)
		}
	}
	r.peers.Store(&peers)
}
