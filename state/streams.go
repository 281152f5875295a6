package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// voidTTL is how long after its release a late or repeated claim is rejected.
const voidTTL = 10 * time.Minute

// ClaimStream claims the stream's name and its media id, or neither. Repeating it with the same Name, MediaID
// and Identity succeeds and writes the record again. It fails with ErrNameTaken, ErrMediaIDTaken, ErrAdopted,
// ErrLostOwnership if the claim was released before it arrived, ErrLeaseStale also if this pod was taken over
// (Handlers.Lost follows: another pod can have adopted the stream), or ErrUnavailable: then the name can be
// claimed, and ReleaseStream undoes that.
func (r *Redis) ClaimStream(ctx context.Context, s Stream) error {
	return r.change(ctx, "claim_stream", func(ctx context.Context, owner Owner) error {
		s.Owner = owner
		e := entryOfStream(s)
		status, _, media, err := r.claim(ctx, owner, e, s.Generation, func(b *batch, stamp string, listing []string) *run {
			return b.run(ctx, r.scripts.claimStream, append([]string{r.keys.record(s.Name), r.keys.void(e, owner)}, listing...),
				owner.String(), e.claim(), s.Generation, asJSON{s}, ms(r.cfg.RecordTTL), e.String(), stamp)
		})
		failure := media
		switch {
		case err != nil:
			return err
		case status == statusOK && media == nil:
			return nil
		case status == statusTaken:
			failure = ErrNameTaken
		case status == statusAdopted:
			failure = ErrAdopted
		case status == statusLost:
			failure = ErrLostOwnership
		}
		if _, err := r.release(ctx, owner, e, s.Generation, 0, ""); err != nil && !errors.Is(err, ErrLostOwnership) {
			return fmt.Errorf("%w; not undone: %w", ErrUnavailable, err) // ReleaseStream is needed
		}
		return failure
	})
}

// claim lists e in the index; then it claims e's media id and runs the script that add puts into the batch,
// together. Where one server has all keys, these scripts list e, with the further keys listing. It returns
// the script's reply; media is the error of the media id.
func (r *Redis) claim(ctx context.Context, owner Owner, e entry, generation int, add func(b *batch, stamp string, listing []string) *run) (status string, rest []string, media, err error) {
	stamp := r.stamp(generation)
	var listing []string
	if r.apart.Load() {
		switch err := r.enlist(ctx, owner, r.keys.index(owner), stamp, e.String()); {
		case errors.Is(err, ErrLostOwnership):
			return "", nil, nil, ErrLeaseStale
		case err != nil:
			return "", nil, nil, err
		}
	} else {
		listing = []string{r.keys.taken(owner), r.keys.index(owner)}
	}
	b := r.batch()
	claimed := r.addClaimMedia(ctx, b, owner, e, generation, stamp, listing...)
	added := add(b, stamp, listing)
	err = b.exec(ctx)
	if listing != nil && err != nil && redis.HasErrorPrefix(err, "CROSSSLOT") { // a Cluster, or a proxy of one, that is not configured as such
		r.apart.Store(true)
		return r.claim(ctx, owner, e, generation, add)
	}
	if err != nil {
		return "", nil, nil, err
	}
	of, _, err := claimed.reply()
	if err != nil {
		return "", nil, nil, err
	}
	status, rest, err = added.reply()
	switch {
	case err != nil:
		return "", nil, nil, err
	// Nothing is undone: the record is the taker's, or that of the pod that adopted it.
	case of == statusOver || status == statusOver:
		return "", nil, nil, ErrLeaseStale
	case of == statusTaken:
		media = ErrMediaIDTaken
	case of == statusAdopted:
		media = ErrAdopted
	}
	return status, rest, media, nil
}

func (r *Redis) addClaimMedia(ctx context.Context, b *batch, owner Owner, e entry, generation int, stamp string, listing ...string) *run {
	return b.run(ctx, r.scripts.claimMedia, append([]string{r.keys.media(e.media)}, listing...), owner.String(), e.String(), generation, ms(r.cfg.RecordTTL), stamp)
}

// A stamp orders the calls that add an entry to an index or remove it: by generation, then as their pod makes
// them. Texts of the same length are ordered as the numbers are.
const stampFormat = "%010d%015d"

// unstamped is earlier than all stamps: for entries that are not listed again after their removal.
const unstamped = "0"

func (r *Redis) stamp(generation int) string {
	return fmt.Sprintf(stampFormat, generation, r.stamps.Add(1))
}

// lastStamp is later than all stamps of a generation.
func lastStamp(generation int) string {
	return fmt.Sprintf(stampFormat, max(generation, 0), int64(999_999_999_999_999))
}

// enlist adds entries to an index of the owner.
func (r *Redis) enlist(ctx context.Context, owner Owner, index, stamp string, entries ...string) error {
	args := make([]any, 0, 2+len(entries))
	args = append(args, ms(r.cfg.RecordTTL), stamp)
	for _, e := range entries {
		args = append(args, e)
	}
	status, _, err := r.script(ctx, r.scripts.enlist, []string{r.keys.taken(owner), index}, args...)
	if err == nil && status == statusLost {
		err = ErrLostOwnership
	}
	return err
}

// unlist removes entries from an index of an owner, unless they are listed again under a later stamp or the
// owner was taken over.
func (r *Redis) unlist(ctx context.Context, owner Owner, index, stamp string, entries ...string) error {
	args := make([]any, 0, 1+len(entries))
	args = append(args, stamp)
	for _, e := range entries {
		args = append(args, e)
	}
	_, _, err := r.script(ctx, r.scripts.unlist, []string{r.keys.taken(owner), index}, args...)
	return err
}

// unlistEntry removes a stream or player.
func (r *Redis) unlistEntry(ctx context.Context, owner Owner, e entry, stamp string) error {
	return r.unlist(ctx, owner, r.keys.index(owner), stamp, e.String())
}

// PutStream replaces the record of a claimed stream and returns the pods that have players of it. It fails
// with ErrNotFound if there is no record, ErrLostOwnership if it is another owner's, ErrLeaseStale or
// ErrUnavailable.
func (r *Redis) PutStream(ctx context.Context, s Stream) (pods []string, err error) {
	err = r.change(ctx, "put_stream", func(ctx context.Context, owner Owner) error {
		s.Owner = owner
		status, owners, err := r.script(ctx, r.scripts.putStream, []string{r.keys.record(s.Name), r.keys.players(s.Name)},
			owner.String(), entryOfStream(s).claim(), asJSON{s}, ms(r.cfg.RecordTTL))
		switch {
		case err != nil:
			return err
		case status == statusNone:
			return ErrNotFound
		case status != statusOK:
			return ErrLostOwnership
		}
		pods, err = podsOf(owners)
		return err
	})
	return pods, err
}

// ReleaseStream releases name and media id and returns the pods that have players. Name, MediaID, Identity
// and Generation must be those of the claim. It can be repeated, and succeeds if the name is not claimed; a
// claim that arrives later is rejected. It fails with ErrLostOwnership if another owner has the name,
// ErrLeaseStale or ErrUnavailable.
func (r *Redis) ReleaseStream(ctx context.Context, s Stream) (pods []string, err error) {
	err = r.write(ctx, "release_stream", func(ctx context.Context, owner Owner) (err error) {
		pods, err = r.release(ctx, owner, entryOfStream(s), s.Generation, voidTTL, "")
		return err
	})
	return pods, err
}

// DisplaceStream releases a stream of another owner, given as FindStream returned it, whose publisher is gone
// and whose pod does not answer or does not know it. Later writes of that owner for the stream are rejected.
// It returns the pods that have players, also when it is repeated, and fails like ReleaseStream.
func (r *Redis) DisplaceStream(ctx context.Context, s Stream) (pods []string, err error) {
	err = r.change(ctx, "displace_stream", func(ctx context.Context, _ Owner) (err error) {
		pods, err = r.release(ctx, s.Owner, entryOfStream(s), s.Generation, voidTTL, keepRecord)
		return err
	})
	return pods, err
}

// release undoes a stream's claim: record and media id, and then the entry in the index. It returns the pods
// that have players. For the time void, the same claim is rejected, whether it arrived before or not. keep is
// keepRecord or "".
func (r *Redis) release(ctx context.Context, owner Owner, e entry, generation int, void time.Duration, keep string) (pods []string, err error) {
	b := r.batch()
	released := r.addRelease(ctx, b, owner, e, void, keep)
	r.addReleaseMedia(ctx, b, owner, e)
	if err := b.exec(ctx); err != nil {
		return nil, err
	}
	if err := r.unlistEntry(ctx, owner, e, r.stamp(generation)); err != nil {
		return nil, err
	}
	status, rest, err := released.reply()
	if err != nil {
		return nil, err
	}
	if status == statusLost {
		return nil, ErrLostOwnership
	}
	return podsOf(rest[1:]) // after the record
}

// keepRecord makes a release in place of another pod keep the record in its mark, so that a repetition
// returns it as well: the first reply can be lost, also to a client library that repeats the call unasked.
const keepRecord = "1"

// keepForTaker is keepRecord for a take-over: late calls of the dead owner do not remove the record from the
// mark of a stream, as this pod can die before it hands it over.
const keepForTaker = "2"

func (r *Redis) addRelease(ctx context.Context, b *batch, owner Owner, e entry, void time.Duration, keep string) *run {
	return b.run(ctx, r.scripts.releaseStream, []string{r.keys.record(e.stream), r.keys.void(e, owner), r.keys.players(e.stream)},
		owner.String(), e.claim(), ms(void), keep)
}

func (r *Redis) addReleaseMedia(ctx context.Context, b *batch, owner Owner, e entry) *run {
	return b.run(ctx, r.scripts.deleteOwned, []string{r.keys.media(e.media)}, owner.String()+" "+e.String()+" ")
}

// FindStream returns the record of a name, or ErrNotFound.
func (r *Redis) FindStream(ctx context.Context, name string) (s Stream, err error) {
	err = r.query(ctx, "find_stream", func(ctx context.Context) error {
		record, err := r.client.HGet(ctx, r.keys.record(name), "json").Bytes()
		if err != nil {
			return err
		}
		return json.Unmarshal(record, &s)
	})
	return s, err
}

// podsOf returns the pods of owners, each once.
func podsOf(owners []string) ([]string, error) {
	pods := make([]string, 0, len(owners))
	for _, o := range owners {
		pod, _, ok := strings.Cut(o, "/")
		if !ok {
			return nil, fmt.Errorf("%q is not an owner", o)
		}
		if !slices.Contains(pods, pod) {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}
