package state

import "context"

// PlayerPods gives the pods that have players of a stream, as far as Redis knows: none for a stream that is not there. It fails
// with ErrUnavailable.
func (r *Redis) PlayerPods(ctx context.Context, name string) (pods []string, err error) {
	err = r.read(ctx, "player_pods", func(ctx context.Context) error {
		owners, err := r.client.SMembers(ctx, r.keys.players(name)).Result()
		if err != nil {
			return err
		}
		pods, err = podsOf(owners)
		return err
	})
	return pods, err
}
