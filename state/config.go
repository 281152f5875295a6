package state

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config says which Redis to use and how. Zero durations mean the default.
type Config struct {
	// Addrs is host:port of the server; of some nodes of a Cluster; or of the Sentinels.
	Addrs []string
	// MasterName is the name under which the Sentinels know the server. Empty: no Sentinel.
	MasterName string
	// Cluster says that a single address is that of a Cluster. Several addresses without MasterName always are.
	Cluster bool

	Username, Password                 string
	SentinelUsername, SentinelPassword string
	DB                                 int         // not for a Cluster
	TLS                                *tls.Config // nil: none

	// Lease is for how long a pod lives on without renewing its lease (default 8 s, at least 1 s).
	Lease time.Duration
	// RecordTTL is after what time a record goes that nobody has released or taken over (default 24 h).
	RecordTTL time.Duration
	// DepartureTTL is how long a room remembers the logins that left it (default 2 min): as long as a member that is resumed may have
	// missed their events.
	DepartureTTL time.Duration
	// CallTimeout bounds connecting, sending and receiving, each (default 500 ms). A call to the store gives up after twice this.
	CallTimeout time.Duration
}

// Defaults and bounds of Config.
const (
	defaultLease        = 8 * time.Second
	defaultRecordTTL    = 24 * time.Hour
	defaultDepartureTTL = 2 * time.Minute
	defaultCallTimeout  = 500 * time.Millisecond
	minLease            = time.Second
)

// MaxCallTimeout is the longest Config.CallTimeout for a lease: it is renewed every quarter of it.
func MaxCallTimeout(lease time.Duration) time.Duration { return lease / 4 }

// MinRecordTTL is the shortest Config.RecordTTL for a lease: records must outlast a pod's end and the take-over of what it had.
func MinRecordTTL(lease time.Duration) time.Duration { return 10 * lease }

// Sizes and times that there is no reason to configure.
const (
	poolSize       = 32              // connections to each node
	bufferSize     = 8 << 10         // of each connection, each way
	topologyReload = 2 * time.Second // of a Cluster: bounds how long a failover goes unnoticed
)

func (c Config) withDefaults() Config {
	c.Lease = cmp.Or(c.Lease, defaultLease)
	c.RecordTTL = cmp.Or(c.RecordTTL, defaultRecordTTL)
	c.DepartureTTL = cmp.Or(c.DepartureTTL, defaultDepartureTTL)
	c.CallTimeout = cmp.Or(c.CallTimeout, defaultCallTimeout)
	return c
}

func (c Config) validate() error {
	var errs []error
	if len(c.Addrs) == 0 {
		errs = append(errs, errors.New("no address"))
	}
	for _, a := range c.Addrs {
		if _, _, err := net.SplitHostPort(a); err != nil {
			errs = append(errs, fmt.Errorf("address: %w", err))
		}
	}
	if c.MasterName != "" && c.Cluster {
		errs = append(errs, errors.New("sentinel master name and cluster exclude each other"))
	}
	if c.DB != 0 && c.isCluster() {
		errs = append(errs, errors.New("a cluster has only database 0"))
	}
	if c.Lease < minLease {
		errs = append(errs, fmt.Errorf("lease %v is below %v", c.Lease, minLease))
	}
	if c.CallTimeout <= 0 || c.CallTimeout > MaxCallTimeout(c.Lease) {
		errs = append(errs, fmt.Errorf("call timeout %v is not between 0 and a quarter of the lease", c.CallTimeout))
	}
	if c.RecordTTL < MinRecordTTL(c.Lease) {
		errs = append(errs, fmt.Errorf("record TTL %v is below ten leases", c.RecordTTL))
	}
	return errors.Join(errs...)
}

func (c Config) isCluster() bool {
	return c.MasterName == "" && (c.Cluster || len(c.Addrs) > 1)
}

// client makes the client, which connects when it is used. It does not repeat a command that failed; a Cluster client repeats some,
// which the scripts bear.
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
			EndpointType: maintnotifications.EndpointTypeNone, // otherwise the host's name is looked up when a client is made, disabled or not
		},
	}
	switch {
	case c.MasterName != "":
		failover := redis.NewFailoverClient(o.Failover())
		failover.AddHook(sentHook{})
		return failover
	case c.isCluster():
		cluster := o.Cluster()
		cluster.ClusterStateReloadInterval = topologyReload
		client := redis.NewClusterClient(cluster)
		client.OnNewNode(func(node *redis.Client) { node.AddHook(sentHook{}) })
		return client
	}
	client := redis.NewClient(o.Simple())
	client.AddHook(sentHook{})
	return client
}

// Pod says who uses the store.
type Pod struct {
	Deployment string // names the keys: deployments of different names may share a Redis
	ID         string // chosen by the process at its start, unique; 8 hex digits, also in LiveKit identities
	Host       string // for people who look into Redis
}

func (p Pod) validate() error {
	if p.Deployment == "" {
		return errors.New("no deployment")
	}
	if p.ID == "" || url.QueryEscape(p.ID) != p.ID {
		return fmt.Errorf("pod id %q is not of letters, digits and -_.~", p.ID)
	}
	return nil
}
