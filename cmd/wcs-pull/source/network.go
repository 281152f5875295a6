package source

import (
	"wcsgateway/cmd/wcs-pull/guard"
	"wcsgateway/translate/pull"
)

// network returns the connections of a source. One that a pattern for every host allows is on public networks
// only: those that the operator named are for other applications.
func (r *Runner) network(s pull.Source) *guard.Network {
	if s.Rights().PublicOnly {
		return guard.New(nil).Network(s.Host())
	}
	return r.guard.Network(s.Host())
}
