package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// voidTTL is for how long a claim may be on its way and still be refused after its release, whether it was made once or again.
const voidTTL = 10 * time.Minute

// ClaimStream claims the stream's name and its media id, or nothing. Repeating it with the same Name, MediaID and Identity succeeds and writes the
// record again. It fails with ErrNameTaken, ErrMediaIDTaken, ErrAdopted, ErrLostOwnership when the claim was released before it came or this
// pod was taken over, ErrLeaseStale, or ErrUnavailable: then the name may be claimed, and ReleaseStream undoes that, unless it is ErrNotSent.
func (r *Redis) ClaimStream(ctx context.Context, s Stream) error {
	return r.write(ctx, "claim_stream", func(ctx context.Context, owner Owner) error {
		s.Owner = owner
		record, err := json.Marshal(s)
		if err != nil {
			return err
		}
		e := entryOfStream(s)
		claimed, media, err := r.claim(ctx, owner, e, s.Era, func(b *batch) *run {
			return b.run(ctx, r.scripts.claimStream, []string{r.keys.record(s.Name), r.keys.void(e, owner)},
				owner.String(), e.claim(), s.Era, record, ms(r.cfg.RecordTTL))
		})
		if err != nil {
			return err
		}
		failure := media
		switch status, _, err := claimed.reply(); {
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
		if _, err := r.release(ctx, owner, e, 0); err != nil && !errors.Is(err, ErrLostOwnership) {
			return fmt.Errorf("%w; not undone: %w", ErrUnavailable, err) // ReleaseStream is needed
		}
		return failure
	})
}

// claim names e in the index and then, together, claims its media id and runs the script that add puts into the batch. media tells what is
// wrong with the media id.
func (r *Redis) claim(ctx context.Context, owner Owner, e entry, era int, add func(*batch) *run) (added *run, media, err error) {
	enlist, sent := watchSent(ctx)
	if err := r.enlist(enlist, owner, r.keys.index(owner), e.String()); err != nil {
		if !sent.Load() {
			err = fmt.Errorf("%w: %w", ErrNotSent, err)
		}
		return nil, nil, err
	}
	b := r.batch()
	claimed := r.addClaimMedia(ctx, b, owner, e, era)
	added = add(b)
	if err := b.exec(ctx); err != nil {
		return nil, nil, err
	}
	switch status, _, err := claimed.reply(); {
	case err != nil:
		return nil, nil, err
	case status == statusTaken:
		media = ErrMediaIDTaken
	case status == statusAdopted:
		media = ErrAdopted
	}
	return added, media, nil
}

func (r *Redis) addClaimMedia(ctx context.Context, b *batch, owner Owner, e entry, era int) *run {
	return b.run(ctx, r.scripts.claimMedia, []string{r.keys.media(e.media)}, owner.String(), e.String(), era, ms(r.cfg.RecordTTL))
}

// enlist adds entries to an index of the owner.
func (r *Redis) enlist(ctx context.Context, owner Owner, index string, entries ...string) error {
	args := make([]any, 0, 1+len(entries))
	args = append(args, ms(r.cfg.RecordTTL))
	for _, e := range entries {
		args = append(args, e)
	}
	status, _, err := r.script(ctx, r.scripts.enlist, []string{r.keys.taken(owner), index}, args...)
	if err == nil && status == statusLost {
		err = ErrLostOwnership
	}
	return err
}

// PutStream replaces the record of a claimed stream and gives the pods that have players of it. It fails with ErrNotFound when there
// is no record, ErrLostOwnership when it is somebody else's, ErrLeaseStale or ErrUnavailable.
func (r *Redis) PutStream(ctx context.Context, s Stream) (pods []string, err error) {
	err = r.write(ctx, "put_stream", func(ctx context.Context, owner Owner) error {
		s.Owner = owner
		record, err := json.Marshal(s)
		if err != nil {
			return err
		}
		status, owners, err := r.script(ctx, r.scripts.putStream, []string{r.keys.record(s.Name), r.keys.players(s.Name)},
			owner.String(), entryOfStream(s).claim(), record, ms(r.cfg.RecordTTL))
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

// ReleaseStream gives name and media id free and tells which pods have players. Name, MediaID and Identity must be those of the claim. It may be
// repeated, and succeeds when nobody holds the name; a claim that is still on its way is refused when it comes.
// It fails with ErrLostOwnership when somebody else holds the name, ErrLeaseStale or ErrUnavailable.
func (r *Redis) ReleaseStream(ctx context.Context, s Stream) (pods []string, err error) {
	err = r.write(ctx, "release_stream", func(ctx context.Context, owner Owner) error {
		owners, err := r.release(ctx, owner, entryOfStream(s), voidTTL)
		if err != nil {
			return err
		}
		pods, err = podsOf(owners)
		return err
	})
	return pods, err
}

// DisplaceStream releases a stream that another owner has claimed, as FindStream gave it: its publisher is not there any more, and its
// pod does not answer or does not know it. What the owner still writes of it is refused from then on. It gives the pods that have
// players, and fails like ReleaseStream.
func (r *Redis) DisplaceStream(ctx context.Context, s Stream) (pods []string, err error) {
	err = r.write(ctx, "displace_stream", func(ctx context.Context, _ Owner) error {
		owners, err := r.release(ctx, s.Owner, entryOfStream(s), voidTTL)
		if err != nil {
			return err
		}
		pods, err = podsOf(owners)
		return err
	})
	return pods, err
}

// release takes a stream's claim back: record and media id, and then the entry in the index. For the time void the same claim is
// refused, whether it had come before or not.
func (r *Redis) release(ctx context.Context, owner Owner, e entry, void time.Duration) (players []string, err error) {
	b := r.batch()
	released := r.addRelease(ctx, b, owner, e, void)
	r.addReleaseMedia(ctx, b, owner, e)
	if err := b.exec(ctx); err != nil {
		return nil, err
	}
	if err := r.client.SRem(ctx, r.keys.index(owner), e.String()).Err(); err != nil {
		return nil, err
	}
	status, rest, err := released.reply()
	if err != nil {
		return nil, err
	}
	if status == statusLost {
		return nil, ErrLostOwnership
	}
	return rest[1:], nil // after the record
}

func (r *Redis) addRelease(ctx context.Context, b *batch, owner Owner, e entry, void time.Duration) *run {
	return b.run(ctx, r.scripts.releaseStream, []string{r.keys.record(e.stream), r.keys.void(e, owner), r.keys.players(e.stream)},
		owner.String(), e.claim(), ms(void))
}

func (r *Redis) addReleaseMedia(ctx context.Context, b *batch, owner Owner, e entry) *run {
	return b.run(ctx, r.scripts.deleteOwned, []string{r.keys.media(e.media)}, owner.String()+" "+e.String()+" ")
}

// FindStream gives the record of a name, or ErrNotFound.
func (r *Redis) FindStream(ctx context.Context, name string) (s Stream, err error) {
	err = r.read(ctx, "find_stream", func(ctx context.Context) error {
		record, err := r.client.HGet(ctx, r.keys.record(name), "json").Bytes()
		if errors.Is(err, redis.Nil) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(record, &s)
	})
	return s, err
}

// podsOf gives the pods of owners, each once.
func podsOf(owners []string) ([]string, error) {
	pods := make([]string, 0, len(owners))
	seen := make(map[string]bool, len(owners))
	for _, o := range owners {
		pod, _, ok := strings.Cut(o, "/")
		if !ok {
			return nil, fmt.Errorf("%q is no owner", o)
		}
		if !seen[pod] {
			seen[pod] = true
			pods = append(pods, pod)
		}
	}
	return pods, nil
}
