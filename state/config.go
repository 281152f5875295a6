package state

import (
	"cmp"
	"crypto/tls"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config selects the Redis and its parameters, which are valid: cmd/internal/config checks them. Zero
// durations mean the default.
type Config struct {
	// Addrs are host:port of the server, of some nodes of a Cluster, or of the Sentinels.
	Addrs []string
	// MasterName is the Sentinels' name of the server. Empty: no Sentinel.
	MasterName string
	// Cluster marks a single address as that of a Cluster. Several addresses without MasterName always are.
	Cluster bool

	Username, Password                 string
	SentinelUsername, SentinelPassword string
	DB                                 int         // 0 for a Cluster
	TLS                                *tls.Config // nil: none

	// Lease is how long a pod that no longer renews its lease is considered alive (default 8 s).
	Lease time.Duration
	// RecordTTL is the lifetime of a record that is neither released nor taken over (default 24 h).
	RecordTTL time.Duration
	// DepartureTTL is how long a room keeps the logins that left it (default 2 min): as long as a resumed
	// member can have missed their events.
	DepartureTTL time.Duration
	// CallTimeout bounds connecting, sending and receiving, each (default 500 ms). A call to the store fails
	// after this time if a client waits for it, other calls after twice this time.
	CallTimeout time.Duration
}

// Defaults of Config.
const (
	defaultLease        = 8 * time.Second
	defaultRecordTTL    = 24 * time.Hour
	defaultDepartureTTL = 2 * time.Minute
	defaultCallTimeout  = 500 * time.Millisecond
)

// MaxCallTimeout returns the longest Config.CallTimeout for a lease, which is renewed every quarter of it.
func MaxCallTimeout(lease time.Duration) time.Duration { return lease / 4 }

// MinRecordTTL returns the shortest Config.RecordTTL for a lease: records must outlast a pod's end and the
// take-over.
func MinRecordTTL(lease time.Duration) time.Duration { return 10 * lease }

// Sizes and times that are not configurable.
const (
	poolSize       = 32              // connections per node
	bufferSize     = 8 << 10         // per connection and direction
	topologyReload = 2 * time.Second // of a Cluster: the longest time until a failover is noticed
)

func (c Config) withDefaults() Config {
	c.Lease = cmp.Or(c.Lease, defaultLease)
	c.RecordTTL = cmp.Or(c.RecordTTL, defaultRecordTTL)
	c.DepartureTTL = cmp.Or(c.DepartureTTL, defaultDepartureTTL)
	c.CallTimeout = cmp.Or(c.CallTimeout, defaultCallTimeout)
	return c
}

func (c Config) isCluster() bool {
	return c.MasterName == "" && (c.Cluster || len(c.Addrs) > 1)
}

// client returns a client, which connects on first use. It does not retry failed commands. A Cluster client
// retries some, which the scripts tolerate.
func (c Config) client() redis.UniversalClient {
	o := &redis.UniversalOptions{
		Addrs:                 c.Addrs,
		MasterName:            c.MasterName,
		Username:              c.Username,
		Password:              c.Password,
		SentinelUsername:      c.SentinelUsername,
		SentinelPassword:      c.SentinelPassword,
		DB:                    c.DB,
		TLSConfig:             c.TLS,
		DialTimeout:           c.CallTimeout,
		ReadTimeout:           c.CallTimeout,
		WriteTimeout:          c.CallTimeout,
		PoolTimeout:           c.CallTimeout,
		ContextTimeoutEnabled: true,
		DialerRetries:         1,
		MaxRetries:            -1,
		PoolSize:              poolSize,
		ReadBufferSize:        bufferSize,
		WriteBufferSize:       bufferSize,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode:         maintnotifications.ModeDisabled,
			EndpointType: maintnotifications.EndpointTypeNone, // otherwise New looks up the host's name, even if disabled
		},
	}
	switch {
	case c.MasterName != "":
		return redis.NewFailoverClient(o.Failover())
	case c.isCluster():
		cluster := o.Cluster()
		cluster.ClusterStateReloadInterval = topologyReload
		return redis.NewClusterClient(cluster)
	}
	return redis.NewClient(o.Simple())
}

// Pod identifies the user of the store.
type Pod struct {
	Deployment string // part of the keys: deployments with different names can share a Redis
	ID         string // unique, chosen at the process's start; 8 hex digits, also in LiveKit identities
	Host       string // for operators who inspect Redis
}
