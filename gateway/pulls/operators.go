package pulls

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"wcsgateway/state"
	"wcsgateway/translate"
	"wcsgateway/translate/pull"
)

// Errors of the methods of this file, besides those of the store.
var (
	ErrBadAddress = errors.New("no application is allowed to play this address (pull.allow)")
	ErrExists     = errors.New("the address is pulled already, until it is terminated")
	ErrNoWorker   = errors.New("no worker is alive that can take another pull")
	ErrLimit      = errors.New("pull.max is reached")
	errNoKeys     = errors.New("pull.secret is not set")
)

// Operators' holds have no end: a pull that an operator starts goes on until it is terminated, or its source
// ends or is lost.
const operator = "rest"

// Listed is a pull as operators see it.
type Listed struct {
	ID      string
	Address string // without credentials and query; if it had some, with # and digits that identify it
	State   pull.State
	Kept    bool // an operator started it
}

// Start pulls a source that an application is allowed to play, until Stop.
func (s *Service) Start(ctx context.Context, address string) error {
	p, err := s.anyones(address)
	if err != nil {
		return err
	}
	st, err := s.status(ctx, p.record.ID)
	switch {
	case err != nil && !errors.Is(err, state.ErrNotFound):
		return err
	case err == nil && !failed(st) && kept(st):
		return ErrExists
	}
	if err := s.admit(ctx, p.record); err != nil {
		return operatorError(err)
	}
	_, err = s.deps.Store.WantPull(ctx, p.record, state.PullWant{Holder: operator, Start: true, Max: s.deps.Max})
	return operatorError(err)
}

// kept reports whether an operator holds a pull.
func kept(st state.PullStatus) bool { return slices.Contains(st.Holders, operator) }

// anyones returns the source of an address that any application is allowed to play. It counts for none.
func (s *Service) anyones(address string) (*Pull, error) {
	cause := fmt.Errorf("%w: it has none of the schemes of sources, or there is no list", ErrBadAddress)
	var found *Pull
	for _, app := range s.deps.Settings() {
		p, err := s.Of("", app, address)
		var f *Failure
		switch {
		case p != nil && (found == nil || more(p.rights, found.rights) || p.rights == found.rights && p.record.UDP):
			found = p
		case errors.As(err, &f) && f.fault() == pull.BadURL:
			return nil, fmt.Errorf("%w: %w", ErrBadAddress, f)
		case err != nil:
			cause = ErrBadAddress
		}
	}
	if found != nil {
		return found, nil
	}
	return nil, cause
}

// more reports whether rights allow more than others: an operator's pull has the most that any application
// has.
func more(a, b pull.Rights) bool {
	if a.PublicOnly != b.PublicOnly {
		return !a.PublicOnly
	}
	return a.Transcode && !b.Transcode
}

func operatorError(err error) error {
	var f *Failure
	switch {
	case errors.Is(err, state.ErrFull):
		return ErrLimit
	case errors.As(err, &f):
		return ErrNoWorker
	}
	return err
}

// List returns the pulls that have not ended: all, or those of an address as a client or List writes it.
func (s *Service) List(ctx context.Context, address string) (all []Listed, err error) {
	pulls, err := wanted(ctx, s.deps.Store)
	ids := s.idsOf(address)
	for _, st := range pulls {
		l := Listed{ID: st.Pull.ID, Address: s.Shown(st.Pull.Public), State: pull.State(st.State), Kept: kept(st)}
		if address == "" || slices.Contains(ids, l.ID) || address == l.Address || address == st.Pull.Public {
			all = append(all, l)
		}
	}
	return all, err
}

// idsOf returns the ids of the sources with an address, with all rights.
func (s *Service) idsOf(address string) []string {
	src, err := pull.Parse(address)
	if err != nil {
		return nil
	}
	return s.ids(src)
}

func (s *Service) ids(src pull.Source) (ids []string) {
	if s.deps.Keys == nil {
		return nil
	}
	for _, v := range src.Variants() {
		ids = append(ids, s.deps.Keys.ID(v))
	}
	return ids
}

// Stop ends the pulls of an address, with their players. The error is state.ErrNotFound without any.
func (s *Service) Stop(ctx context.Context, address string) error {
	all, err := s.List(ctx, address)
	if err == nil && (len(all) == 0 || address == "") {
		err = state.ErrNotFound
	}
	for _, l := range all {
		if err == nil {
			err = s.deps.Store.EndPull(ctx, l.ID, string(pull.Terminated))
		}
	}
	return err
}

// Stored returns the names under which records and lists have the players of what a client calls name: of a
// source one for each combination of rights that applications have.
func (s *Service) Stored(name string) (names []string) {
	for _, app := range s.deps.Settings() {
		if p, err := s.Of("", app, name); err == nil && p != nil && !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return []string{name}
	}
	return names
}

// Shown returns a stored name for operators: a source's address if nothing of it is hidden.
func (s *Service) Shown(name string) string {
	at := strings.LastIndexByte(name, '#')
	if at < 0 || !pull.IsName(name) {
		return name
	}
	src, err := pull.Parse(name[:at])
	if err == nil && slices.ContainsFunc(s.ids(src), func(id string) bool { return src.Public(id) == name }) {
		return name[:at]
	}
	return name
}

// Available returns nil if the source is pulled, or could be: it is not connected to.
func (s *Service) Available(ctx context.Context, p *Pull) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	st, err := s.status(ctx, p.record.ID)
	if err == nil && failed(st) && st.Age < failureShown {
		return failureOf(st)
	}
	return s.admit(ctx, p.record)
}

// failureShown is how long availableStream returns the last failure of a source.
const failureShown = 10 * time.Second

// Find returns the room and the publisher of a source that is pulled, by its address or public name, for
// operators. The publisher is empty if there is none.
func (s *Service) Find(ctx context.Context, name string) (room translate.RoomName, publisher translate.Identity, err error) {
	if s.deps.Keys == nil || !pull.IsName(name) {
		return "", "", nil
	}
	ids := s.idsOf(name)
	if strings.Contains(name, "#") { // a public name
		all, err := s.List(ctx, name)
		if err != nil {
			return "", "", err
		}
		for _, l := range all {
			ids = append(ids, l.ID)
		}
	}
	return s.publisherOf(ctx, ids...)
}

// Publisher is Find for a source of a client.
func (s *Service) Publisher(ctx context.Context, p *Pull) (room translate.RoomName, publisher translate.Identity, err error) {
	return s.publisherOf(ctx, p.record.ID)
}

// publisherOf returns the room and the publisher of the first of some pulls that runs.
func (s *Service) publisherOf(ctx context.Context, ids ...string) (room translate.RoomName, publisher translate.Identity, err error) {
	if len(ids) == 0 {
		return "", "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := s.deps.Store.FindPulls(ctx, ids...)
	if err != nil {
		return "", "", err
	}
	for _, id := range ids {
		if st := found[id]; st.State == string(pull.Running) || st.State == string(pull.Interrupted) {
			return translate.RoomName(st.Pull.Room), translate.Identity(pull.Identity(id, st.Generation)), nil
		}
	}
	return "", "", nil
}

// schemeOf returns the scheme of a source.
func schemeOf(p state.Pull) string {
	scheme, _, _ := strings.Cut(p.Public, "://")
	return scheme
}
