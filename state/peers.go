package state

import "encoding/json"

// Peer is what a pod tells others of itself whenever it renews its lease, in the lease.
type Peer struct {
	Host string `json:"host"` // of the process, for people
	// Server, WS and WSS are the host name and the ports where clients reach this very pod. An empty Server: they cannot tell pods apart.
	Server   string `json:"server,omitempty"`
	WS       string `json:"ws,omitempty"`
	WSS      string `json:"wss,omitempty"`
	Sessions int    `json:"sessions"`
	Ready    bool   `json:"ready"` // clients may be sent there
}

// Peers are the pods that are alive, this one included, as they were some seconds ago at most. They are known from the sweeps: nobody asks
// Redis. While Redis is away there are none.
func (r *Redis) Peers() []Peer {
	peers := r.peers.Load()
	if peers == nil {
		return nil
	}
	return *peers
}

// leaseValue is what the lease says.
func (r *Redis) leaseValue() ([]byte, error) {
	var p Peer
	if r.handlers.Describe != nil {
		p = r.handlers.Describe()
	}
	p.Host = r.pod.Host
	return json.Marshal(p)
}

// readLease gives the pod that a lease is of; ok is false for a lease of another version.
func readLease(value string) (p Peer, ok bool) {
	err := json.Unmarshal([]byte(value), &p)
	return p, err == nil
}

// notePeers keeps who was seen alive.
func (r *Redis) notePeers(seen []sighting) {
	peers := make([]Peer, 0, len(seen))
	for _, s := range seen {
		if p, ok := readLease(s.lease); ok && s.leased {
			peers = append(peers, p)
		}
	}
	r.peers.Store(&peers)
}
